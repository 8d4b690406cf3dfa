"""Networks for rows of a table: numbers first, then one number for each category that is to be embedded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from netwright.architectures.activations import activations
from netwright.architectures.attention import Added, attention_blocks
from netwright.architectures.options import check_dropout, check_whole
from netwright.errors import NetworkError


def embedding_width(cardinality: int) -> int:
    """Returns how many numbers stand for a category of so many values: 1.6 n^0.56, at most 50.

    The rule of thumb of fastai's tabular learner (`emb_sz_rule`), at most 600 there.

    >>> embedding_width(3), embedding_width(100), embedding_width(100_000)
    (3, 21, 50)
    """
    return min(50, round(1.6 * cardinality**0.56))


# `eject` prints these classes as they stand: they may name nothing but nn and torch.
class Embeddings(nn.Module):
    """Takes (N, numbers + categories) float, the last ones whole, and gives (N, numbers + widths) float.

    The first two values of each category, a gap and what training never saw, begin as zeros, and stay so unless trained.
    """

    def __init__(self, cardinalities, widths):  # type: ignore[no-untyped-def]
        super().__init__()
        self.cardinalities, self.widths = list(cardinalities), list(widths)
        tables = [nn.Embedding(count, width) for count, width in zip(cardinalities, widths, strict=True)]
        for table in tables:
            nn.init.normal_(table.weight, std=table.embedding_dim**-0.5)
            nn.init.zeros_(table.weight.data[:2])
        self.tables = nn.ModuleList(tables)

    def forward(self, x):  # type: ignore[no-untyped-def]
        numbers, codes = x.tensor_split([x.shape[1] - len(self.tables)], dim=1)
        codes = codes.long()
        return torch.cat([numbers, *(table(codes[:, at]) for at, table in enumerate(self.tables))], dim=1)


class ColumnTokens(nn.Module):
    """Takes rows as `Embeddings` does and gives (N, 1 + columns, width) float: a token for the row, then one for each column.

    A number becomes number * weight + bias, weight and bias its own (Gorishniy et al. 2021, section 3.3).
    """

    def __init__(self, numbers, cardinalities, width):  # type: ignore[no-untyped-def]
        super().__init__()
        self.numbers, self.cardinalities, self.width = numbers, list(cardinalities), width
        self.row = nn.Parameter(torch.empty(1, width))
        self.weight = nn.Parameter(torch.empty(numbers, width))
        self.bias = nn.Parameter(torch.empty(numbers + len(cardinalities), width))
        tables = [nn.Embedding(count, width) for count in cardinalities]
        for values in (self.row, self.weight, self.bias, *(table.weight for table in tables)):
            nn.init.uniform_(values, -(width**-0.5), width**-0.5)
        for table in tables:
            nn.init.zeros_(table.weight.data[:2])
        self.tables = nn.ModuleList(tables)

    def forward(self, x):  # type: ignore[no-untyped-def]
        numbers, codes = x.tensor_split([x.shape[1] - len(self.tables)], dim=1)
        codes = codes.long()
        tokens = [numbers.unsqueeze(2) * self.weight]
        tokens += [table(codes[:, at : at + 1]) for at, table in enumerate(self.tables)]
        row = self.row.expand(x.shape[0], 1, -1)
        return torch.cat([row, torch.cat(tokens, dim=1) + self.bias], dim=1)


class FirstToken(nn.Module):
    """Takes (N, T, width) and gives the first token of each, (N, width)."""

    def forward(self, x):  # type: ignore[no-untyped-def]
        return x[:, 0]


def table_resnet(
    input_shape: Sequence[int],
    num_outputs: int,
    *,
    width: int = 192,
    blocks: int = 3,
    factor: float = 2.0,
    dropout: float = 0.1,
    activation: str = "relu",
    cardinalities: Sequence[int] = (),
) -> nn.Sequential:
    """Returns a residual network for rows: Linear, then blocks of x + (BatchNorm1d Linear activation Dropout Linear), then a head.

    It takes (N, D) float and gives (N, num_outputs) float, logits or values (Gorishniy et al. 2021, section 3.2). `width` is
    that of the row between blocks, `factor` times as wide the inside of a block. `cardinalities` follow from the data: the
    last columns, whole numbers below them, are embedded. Raises NetworkError.
    """
    numbers = _check_row("table-resnet", input_shape, cardinalities)
    check_whole(width, "width")
    check_whole(blocks, "blocks")
    check_dropout(dropout)
    inner = check_whole(int(width * factor), "factor x width")
    widths = [embedding_width(count) for count in cardinalities]
    layers: list[nn.Module] = [Embeddings(cardinalities, widths)] if cardinalities else []
    # No biases where a norm, in the next block or before the head, takes every constant away again.
    layers.append(nn.Linear(numbers + sum(widths), width, bias=False))
    for _ in range(blocks):
        dropped = [nn.Dropout(dropout)] if dropout else []
        layers.append(
            Added(
                nn.BatchNorm1d(width),
                nn.Linear(width, inner),
                activations[activation](),
                *dropped,
                nn.Linear(inner, width, bias=False),
            )
        )
    return nn.Sequential(
        *layers, nn.BatchNorm1d(width), activations[activation](), nn.Linear(width, num_outputs)
    )


def table_transformer(
    input_shape: Sequence[int],
    num_outputs: int,
    *,
    width: int = 64,
    blocks: int = 3,
    heads: int = 4,
    factor: float = 2.0,
    dropout: float = 0.1,
    activation: str = "gelu",
    cardinalities: Sequence[int] = (),
) -> nn.Sequential:
    """Returns a transformer over columns: a token for each column and one for the row, from which the head reads.

    It takes (N, D) float and gives (N, num_outputs) float, logits or values: FT-Transformer (Gorishniy et al. 2021), with
    layer norm before attention and feed-forward. `factor` times `width` is the inside of a feed-forward. `cardinalities`
    follow from the data: the last columns, whole numbers below them, are embedded. Raises NetworkError.
    """
    numbers = _check_row("table-transformer", input_shape, cardinalities)
    check_whole(width, "width")
    tokens = ColumnTokens(numbers, tuple(cardinalities), width)
    # The row's token meets the others as it is: without the first norm it trains better (same source).
    layers = attention_blocks(
        width, blocks, heads, factor=factor, dropout=dropout, activation=activation, first_norm=False
    )
    return nn.Sequential(
        tokens,
        *layers,
        FirstToken(),
        nn.LayerNorm(width),
        activations["relu"](),
        nn.Linear(width, num_outputs),
    )


def _check_row(name: str, input_shape: Sequence[int], cardinalities: Any) -> int:
    """Returns how many of a row's columns are numbers; raises NetworkError for what is no row."""
    if len(input_shape) != 1:
        raise NetworkError(
            f"network {name!r} expects rows of a table, (columns,), but one example has the shape {tuple(input_shape)}.\n"
            "Use network 'mlp', which takes any shape."
        )
    return int(input_shape[0]) - len(cardinalities)
