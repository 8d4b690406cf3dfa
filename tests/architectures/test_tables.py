"""Networks for tables against PyTorch's own layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from netwright.architectures import network
from netwright.architectures.attention import SelfAttention
from netwright.architectures.tables import (
    ColumnTokens,
    Embeddings,
    embedding_width,
    table_resnet,
    table_transformer,
)
from netwright.errors import NetworkError, UnknownNameError

ROWS = torch.tensor([[0.5, -1.0, 0, 3], [1.5, 2.0, 2, 0], [0.0, 0.0, 1, 4]])
CARDINALITIES = (3, 5)


def test_embeddings_are_rows_of_their_tables():
    layer = Embeddings(CARDINALITIES, [2, 3])
    with torch.no_grad():
        for table in layer.tables:
            table.weight.copy_(torch.arange(table.weight.numel()).view_as(table.weight))
    out = layer(ROWS)
    assert out[0].tolist() == [0.5, -1.0, 0, 1, 9, 10, 11]
    assert out[1].tolist() == [1.5, 2.0, 4, 5, 0, 1, 2]


def test_gaps_and_unseen_categories_begin_at_zero():
    for layer in (Embeddings((6,), [4]), ColumnTokens(1, (6,), 4)):
        weight = layer.tables[0].weight
        assert not weight[:2].any() and bool((weight[2:] != 0).all())


def test_width_is_that_of_fastai():
    assert [embedding_width(count) for count in (2, 10, 1000, 10**6)] == [2, 6, 50, 50]


def test_tokens_of_numbers_and_categories():
    layer = ColumnTokens(2, CARDINALITIES, 4)
    with torch.no_grad():
        layer.bias.normal_()
    out = layer(ROWS)
    assert out.shape == (3, 5, 4)
    assert torch.equal(out[:, 0], layer.row.expand(3, -1))
    assert torch.allclose(out[1, 2], 2.0 * layer.weight[1] + layer.bias[1])
    assert torch.allclose(out[2, 4], layer.tables[1].weight[4] + layer.bias[3])


def test_attention_is_pytorch_s():
    torch.manual_seed(0)
    ours, theirs = SelfAttention(8, 2), nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.inward.weight)
        theirs.in_proj_bias.copy_(ours.inward.bias)
        theirs.out_proj.weight.copy_(ours.outward.weight)
        theirs.out_proj.bias.copy_(ours.outward.bias)
    x = torch.randn(3, 5, 8)
    assert torch.allclose(ours(x), theirs(x, x, x)[0], atol=1e-6)


@pytest.mark.parametrize("name", ["mlp", "table-resnet", "table-transformer"])
@pytest.mark.parametrize("cardinalities", [(), CARDINALITIES])
def test_every_part_learns(name, cardinalities):
    torch.manual_seed(0)
    built = network(name, input_shape=(4,), num_outputs=2, facts={"cardinalities": cardinalities})
    rows = ROWS.repeat(4, 1)
    nn.functional.cross_entropy(built(rows), torch.arange(12) % 2).backward()
    assert all(parameter.grad is not None for parameter in built.parameters())
    assert built(rows).shape == (12, 2)


def test_a_row_s_answer_does_not_depend_on_the_others():
    torch.manual_seed(0)
    for build in (table_resnet, table_transformer):
        built = build((4,), 3, cardinalities=CARDINALITIES).eval()
        assert torch.allclose(built(ROWS)[1:2], built(ROWS[1:2]), atol=1e-6)


def test_dropout_and_options():
    assert sum(isinstance(m, nn.Dropout) for m in table_resnet((4,), 2, blocks=2).modules()) == 2
    assert not any(isinstance(m, nn.Dropout) for m in table_resnet((4,), 2, dropout=0.0).modules())
    assert (
        len([m for m in table_transformer((4,), 2, blocks=2).modules() if isinstance(m, SelfAttention)]) == 2
    )


@pytest.mark.parametrize("name", ["table-resnet", "table-transformer"])
@pytest.mark.parametrize(
    "options, said",
    [
        ({"blocks": 0}, "`blocks` expects a whole number from 1 on; got 0"),
        ({"width": "wide"}, "`width` expects a whole number"),
        ({"dropout": 1.0}, "`dropout` expects a share"),
        ({"activation": "rellu"}, "did you mean 'relu'"),
        ({"cardinalities": [3]}, "unknown"),
    ],
)
def test_refusals(name, options, said):
    with pytest.raises((NetworkError, UnknownNameError)) as caught:
        network(name, input_shape=(4,), num_outputs=2, facts={"cardinalities": ()}, **options)
    assert said in str(caught.value)


def test_heads_that_do_not_divide():
    with pytest.raises(NetworkError, match="multiple of `heads`"):
        table_transformer((4,), 2, width=30, heads=4)


def test_images_are_no_rows():
    with pytest.raises(NetworkError, match="expects rows of a table"):
        network("table-resnet", input_shape=(1, 28, 28), num_outputs=10)
