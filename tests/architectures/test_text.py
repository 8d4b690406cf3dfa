"""The networks for texts: padding changes nothing, and each gives what PyTorch's own modules give."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from netwright.architectures import network
from netwright.errors import NetworkError, UnknownNameError
from netwright.source import layers_source

VOCABULARY, LENGTH = 50, 24
NETWORKS = {
    "embedding-bag": {},
    "embedding-bag with pairs": {"pairs": 31},
    "lstm": {"hidden": 12, "width": 8},
    "lstm one way": {"hidden": 12, "width": 8, "bidirectional": False, "layers": 2},
    "gru": {"hidden": 12, "width": 8},
    "text-cnn": {"width": 8, "channels": 6},
    "text-cnn of long filters": {"width": 8, "channels": 6, "kernels": [1, 9, 30]},
    "transformer": {"width": 16, "heads": 2},
}


def build(name: str, **options: object) -> nn.Module:
    torch.manual_seed(0)
    facts = {"vocabulary": VOCABULARY, "padding": 0}
    return network(name.split(" ")[0], input_shape=(LENGTH,), num_outputs=3, facts=facts, **options)


def some_texts(*lengths: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(1, VOCABULARY, (length,), generator=generator) for length in lengths]


def padded(texts: list[torch.Tensor]) -> torch.Tensor:
    return nn.utils.rnn.pad_sequence(texts, batch_first=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_padding_changes_no_output(name):
    net = build(name, **NETWORKS[name]).eval()
    texts = some_texts(3, LENGTH, 1, 7, 2)
    with torch.no_grad():
        together = net(padded(texts))
        alone = torch.cat([net(text[None]) for text in texts])
    assert together.shape == (5, 3)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(alone[0], alone[1], atol=1e-3), "outputs depend on the text"


@pytest.mark.parametrize("name", NETWORKS)
def test_padding_learns_nothing_and_every_weight_learns(name):
    net = build(name, **{**NETWORKS[name], "dropout": 0.0})
    ids = padded(some_texts(3, LENGTH, 8, 7, 11) + some_texts(LENGTH, LENGTH, LENGTH))
    nn.functional.cross_entropy(net(ids), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])).backward()
    for key, weight in net.named_parameters():
        assert weight.grad is not None and weight.grad.abs().max() > 0, key
    tables = [part for part in net.modules() if isinstance(part, (nn.Embedding, nn.EmbeddingBag))]
    for table in tables:
        if table.padding_idx is not None:
            assert not table.weight.grad[0].any() and not table.weight[0].any()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_text_without_tokens_gives_numbers(name):
    net = build(name, **NETWORKS[name])
    ids = torch.zeros(2, 5, dtype=torch.int64)
    ids[1, :2] = 4
    outputs = net(ids)
    assert outputs.isfinite().all()
    outputs.sum().backward()
    assert all(weight.grad.isfinite().all() for weight in net.parameters() if weight.grad is not None)


def test_a_bag_is_the_mean_of_its_tokens():
    net = build("embedding-bag", pairs=31).eval()
    (text,) = some_texts(9)
    pairs = [(a * 1_000_003 + b) % 30 + 1 for a, b in zip(text[:-1].tolist(), text[1:].tolist(), strict=True)]
    features = net.tokens.weight[text].mean(0) + net.neighbours.weight[torch.tensor(pairs)].mean(0)
    torch.testing.assert_close(net(padded([text, *some_texts(12)]))[0], net.head(features))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_recurrence_is_that_of_torch_over_each_text_alone(cell):
    net = build(cell, hidden=12, width=8, layers=2).eval()
    kind = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
    reference = kind(8, 12, 2, batch_first=True, bidirectional=True)
    reference.load_state_dict(net.recurrence.state_dict())
    texts = some_texts(5, 9, 2)
    expected = [net.head(reference(net.tokens(text[None]))[0][0].max(0).values) for text in texts]
    torch.testing.assert_close(net(padded(texts)), torch.stack(expected))


def test_a_convolution_is_each_filter_laid_on_each_run():
    net = build("text-cnn", width=8, channels=6, kernels=[2, 4]).eval()
    (text,) = some_texts(5)
    found = []
    for size, layer in zip([2, 4], net.filters, strict=True):
        around = torch.cat([torch.zeros(size - 1, 8), net.tokens.weight[text], torch.zeros(size - 1, 8)])
        runs = torch.stack([around[begin : begin + size] for begin in range(len(around) - size + 1)])
        values = torch.einsum("rtc,oct->ro", runs, layer.weight) + layer.bias
        found.append(values.relu().max(0).values)
    torch.testing.assert_close(net(padded([text, *some_texts(12)]))[0], net.head(torch.cat(found)))


def test_attention_is_that_of_torchs_encoder():
    net = build("transformer", width=16, heads=2, layers=3, hidden=20).eval()
    layer = nn.TransformerEncoderLayer(
        16, 2, 20, activation="gelu", batch_first=True, norm_first=True, dropout=0.2
    )
    reference = nn.TransformerEncoder(layer, 3, nn.LayerNorm(16), enable_nested_tensor=False).eval()
    weights = {f"layers.{key}": value for key, value in net.blocks.state_dict().items()}
    reference.load_state_dict(
        weights | {f"norm.{key}": value for key, value in net.norm.state_dict().items()}
    )
    for text in some_texts(5, 12):
        outputs = reference((net.tokens(text) + net.places.weight[: len(text)])[None])[0]
        torch.testing.assert_close(net(text[None])[0], net.head(outputs.mean(0)))


@pytest.mark.parametrize("name", NETWORKS)
def test_it_can_be_printed_and_made_again(name):
    net = build(name, **NETWORKS[name])
    code = layers_source(net)
    torch.manual_seed(0)
    again = eval(code, {"nn": nn, "torch": torch, type(net).__name__: type(net)})
    for (key, weight), other in zip(net.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(weight, other), key


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        (
            "transformer",
            {"width": 30, "heads": 4},
            "a multiple of `heads`, so that each head has as much; got 30 and 4",
        ),
        ("transformer", {"layers": 0}, "`layers` expects a whole number from 1 on; got 0"),
        ("embedding-bag", {"pairs": 1}, "`pairs` expects 0 or a whole number from 2 on; got 1"),
        ("embedding-bag", {"width": 2.5}, "`width` expects a whole number from 1 on; got 2.5"),
        ("text-cnn", {"kernels": []}, "`kernels` expects a whole number from 1 on"),
        ("lstm", {"dropout": 1}, "`dropout` expects a share"),
        ("gru", {"bidirectional": "yes"}, "`bidirectional` expects true or false; got 'yes'"),
    ],
)
def test_sizes_that_cannot_be(name, options, words):
    with pytest.raises(NetworkError, match=words):
        build(name, **options)


def test_an_option_that_is_not_known():
    with pytest.raises(UnknownNameError, match="did you mean 'hidden'"):
        build("lstm", hiden=3)


@pytest.mark.parametrize("name", ["embedding-bag", "lstm", "gru", "text-cnn", "transformer"])
def test_numbers_are_no_texts(name):
    with pytest.raises(NetworkError, match="expects texts, as token ids; this data is numbers"):
        network(name, input_shape=(4,), num_outputs=2)


def test_texts_are_no_numbers():
    with pytest.raises(
        NetworkError, match=r"takes numbers, and this data is texts.*\nUse one of embedding-bag, lstm"
    ):
        build("mlp")


# ---------------------------------------------------------------------------------------- networks that write

WRITING = {
    "gpt": {"width": 16, "heads": 2, "layers": 2},
    "lstm": {"width": 8, "hidden": 12, "layers": 2},
    "gru": {"width": 8, "hidden": 12},
}


def build_writing(name: str, **options: object) -> nn.Module:
    torch.manual_seed(0)
    facts = {"vocabulary": VOCABULARY, "every_token": True}
    return network(name, input_shape=(LENGTH,), num_outputs=VOCABULARY, facts=facts, **options)


@pytest.mark.parametrize("name", WRITING)
def test_no_token_sees_those_behind_it(name):
    net = build_writing(name, **WRITING[name]).eval()
    (text,) = some_texts(LENGTH)
    with torch.no_grad():
        outputs = net(text[None])
        assert outputs.shape == (1, VOCABULARY, LENGTH)
        for place in (1, 9, LENGTH - 1):
            changed = text.clone()
            changed[place:] = changed[place:] % (VOCABULARY - 1) + 1
            other = net(changed[None])
            torch.testing.assert_close(outputs[..., :place], other[..., :place], rtol=1e-5, atol=1e-6)
            assert not torch.allclose(outputs[..., place], other[..., place], atol=1e-4)
            torch.testing.assert_close(
                net(text[None, :place])[0], outputs[0, :, :place], rtol=1e-5, atol=1e-6
            )


def test_a_gpt_is_torchs_encoder_with_a_causal_mask():
    net = build_writing("gpt", **WRITING["gpt"]).eval()
    (text,) = some_texts(9)
    x = (net.tokens(text) + net.places.weight[:9])[None]
    mask = nn.Transformer.generate_square_subsequent_mask(9)
    for block in net.blocks:
        layer = nn.TransformerEncoderLayer(
            16, 2, 64, activation="gelu", batch_first=True, norm_first=True
        ).eval()
        names = {
            "self_attn.in_proj_": block.attention, "self_attn.out_proj.": block.mixed, "linear1.": block.inner,
            "linear2.": block.outer, "norm1.": block.norm1, "norm2.": block.norm2,
        }  # fmt: skip
        layer.load_state_dict(
            {
                f"{place}{kind}": getattr(part, kind)
                for place, part in names.items()
                for kind in ("weight", "bias")
            }
        )
        x = layer(x, src_mask=mask, is_causal=True)
    expected = net.norm(x) @ net.tokens.weight.T
    torch.testing.assert_close(net(text[None]), expected.transpose(1, 2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", WRITING)
def test_a_network_that_writes_can_be_printed_and_made_again(name):
    from netwright.source import foreign

    net = build_writing(name, **WRITING[name])
    torch.manual_seed(0)
    kinds = {kind.__name__: kind for kind in foreign(net)}
    again = eval(layers_source(net), {"nn": nn, "torch": torch, **kinds})
    for (key, weight), other in zip(net.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(weight, other), key


def test_a_corpus_needs_a_network_that_predicts_each_token():
    with pytest.raises(NetworkError, match=r"does not predict each next token.*\nUse one of gpt, lstm, gru"):
        build_writing("transformer")
    with pytest.raises(NetworkError, match="may not see the tokens that it predicts"):
        build_writing("lstm", bidirectional=True)
    with pytest.raises(NetworkError, match="predicts each next token of a corpus"):
        build("gpt")
    with pytest.raises(NetworkError, match="a multiple of `heads`"):
        build_writing("gpt", heads=3)
