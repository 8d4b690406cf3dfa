"""The networks for texts: token ids (N, L) int64, padded with 0 at the end, in; what padding there is changes no output."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from netwright.architectures.options import check_dropout, check_heads, check_switch, check_whole
from netwright.architectures.series import Forecast, series_recurrence
from netwright.errors import NetworkError

# `eject` prints these classes as they stand: they may name nothing but torch and nn, and keep their arguments.
# Vectors of tokens begin at 0.1 times a normal number, because at nn.Embedding's 1.0 the noise of rare tokens outweighs what
# is learned in the first steps.


class TokenBag(nn.Module):
    """The mean of the tokens' vectors, and of those of their pairs, through a linear layer (Joulin et al., arXiv:1607.01759).

    A pair of neighbours has the vector of one of `pairs` places, by a hash; 0: tokens alone.
    """

    def __init__(self, vocabulary: int, num_outputs: int, width: int, pairs: int, dropout: float) -> None:
        super().__init__()
        self.vocabulary, self.num_outputs, self.width = vocabulary, num_outputs, width
        self.pairs, self.dropout = pairs, dropout
        self.tokens = nn.EmbeddingBag(vocabulary, width, mode="mean", padding_idx=0)
        self.neighbours = nn.EmbeddingBag(pairs, width, mode="mean", padding_idx=0) if pairs else None
        for table in (self.tokens, self.neighbours):
            if table is not None:
                nn.init.normal_(table.weight, std=0.1)
                nn.init.zeros_(table.weight[0])
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(width, num_outputs)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        features = self.tokens(ids)
        if self.neighbours is not None:
            second = nn.functional.pad(ids[:, 1:], (0, 1))
            places = (ids * 1_000_003 + second) % (self.pairs - 1) + 1
            features = features + self.neighbours(places * (second != 0))
        return self.head(self.drop(features))


class TextRecurrence(nn.Module):
    """An LSTM or GRU over the tokens, and the largest value of each of its outputs over the text, through a linear layer."""

    def __init__(
        self,
        vocabulary: int,
        num_outputs: int,
        width: int,
        hidden: int,
        layers: int,
        bidirectional: bool,
        cell: str,
        dropout: float,
    ) -> None:
        super().__init__()
        self.vocabulary, self.num_outputs, self.width, self.hidden = vocabulary, num_outputs, width, hidden
        self.layers, self.bidirectional, self.cell, self.dropout = layers, bidirectional, cell, dropout
        self.tokens = nn.Embedding(vocabulary, width, padding_idx=0)
        nn.init.normal_(self.tokens.weight, std=0.1)
        nn.init.zeros_(self.tokens.weight[0])
        kind = nn.LSTM if cell == "lstm" else nn.GRU
        self.recurrence = kind(width, hidden, layers, batch_first=True, bidirectional=bidirectional)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(hidden * (2 if bidirectional else 1), num_outputs)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        # Packed, so that the backward direction begins at a text's last token and not in its padding.
        lengths = (ids != 0).sum(1).clamp(min=1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(
            self.drop(self.tokens(ids)), lengths, batch_first=True, enforce_sorted=False
        )
        outputs, _ = nn.utils.rnn.pad_packed_sequence(
            self.recurrence(packed)[0], batch_first=True, padding_value=float("-inf")
        )
        return self.head(self.drop(outputs.amax(1)))


class TextConvolution(nn.Module):
    """Filters over runs of tokens, the largest value of each over the text, through a linear layer (Kim, arXiv:1408.5882)."""

    def __init__(
        self, vocabulary: int, num_outputs: int, width: int, channels: int, kernels: list[int], dropout: float
    ) -> None:
        super().__init__()
        self.vocabulary, self.num_outputs, self.width = vocabulary, num_outputs, width
        self.channels, self.kernels, self.dropout = channels, kernels, dropout
        self.tokens = nn.Embedding(vocabulary, width, padding_idx=0)
        nn.init.normal_(self.tokens.weight, std=0.1)
        nn.init.zeros_(self.tokens.weight[0])
        # Padded so that a run may begin before the text and end behind it: there is one in the shortest text too.
        self.filters = nn.ModuleList(nn.Conv1d(width, channels, size, padding=size - 1) for size in kernels)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(channels * len(kernels), num_outputs)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        vectors = self.drop(self.tokens(ids)).transpose(1, 2)
        lengths = (ids != 0).sum(1).clamp(min=1)[:, None, None]
        found = []
        for size, layer in zip(self.kernels, self.filters):
            values = layer(vectors).relu()
            outside = torch.arange(values.shape[2], device=ids.device) >= lengths + size - 1
            found.append(values.masked_fill(outside, 0).amax(2))
        return self.head(self.drop(torch.cat(found, 1)))


class TextAttention(nn.Module):
    """A Transformer encoder over at most `length` tokens (Vaswani et al., arXiv:1706.03762, norms first), and the mean of its
    outputs over the text through a linear layer."""

    def __init__(
        self,
        vocabulary: int,
        num_outputs: int,
        length: int,
        width: int,
        heads: int,
        layers: int,
        hidden: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.vocabulary, self.num_outputs, self.length, self.width = vocabulary, num_outputs, length, width
        self.heads, self.layers, self.hidden, self.dropout = heads, layers, hidden, dropout
        self.tokens = nn.Embedding(vocabulary, width, padding_idx=0)
        self.places = nn.Embedding(length, width)
        nn.init.normal_(self.tokens.weight, std=0.1)
        nn.init.zeros_(self.tokens.weight[0])
        nn.init.normal_(self.places.weight, std=0.02)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, hidden, dropout, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_outputs)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        there = ids != 0
        ignored = ~there
        ignored[:, 0] = False  # a text without tokens attends to something all the same
        x = self.drop(self.tokens(ids) + self.places.weight[: ids.shape[1]])
        for block in self.blocks:
            x = block(x, src_key_padding_mask=ignored)
        share = there.unsqueeze(2).to(x.dtype)
        return self.head((self.norm(x) * share).sum(1) / share.sum(1).clamp(min=1))


class WritingRecurrence(nn.Module):
    """An LSTM or GRU that predicts after each token the next: (N, L) int64 ids to (N, vocabulary, L) float, logits."""

    def __init__(
        self, vocabulary: int, width: int, hidden: int, layers: int, cell: str, dropout: float
    ) -> None:
        super().__init__()
        self.vocabulary, self.width, self.hidden = vocabulary, width, hidden
        self.layers, self.cell, self.dropout = layers, cell, dropout
        self.tokens = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.tokens.weight, std=0.1)
        kind = nn.LSTM if cell == "lstm" else nn.GRU
        between = dropout if layers > 1 else 0.0
        self.recurrence = kind(width, hidden, layers, batch_first=True, dropout=between)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, vocabulary)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        outputs, _ = self.recurrence(self.drop(self.tokens(ids)))
        return self.head(self.drop(outputs)).transpose(1, 2)


class GPTBlock(nn.Module):
    """Attention to the tokens before, then two linear layers, each on what a norm gives and added to what came."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.mixed = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.inner, self.outer = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count, length, width = x.shape
        parts = self.attention(self.norm1(x)).view(count, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        share = self.dropout if self.training else 0.0
        seen = nn.functional.scaled_dot_product_attention(query, key, value, dropout_p=share, is_causal=True)
        x = x + self.drop(self.mixed(seen.transpose(1, 2).reshape(count, length, width)))
        return x + self.drop(self.outer(nn.functional.gelu(self.inner(self.norm2(x)))))


class GPT(nn.Module):
    """A Transformer that predicts after each token the next, from at most `length` (Radford et al. 2019): (N, L) int64 ids to
    (N, vocabulary, L) float, logits. The table of tokens is the last layer's weight too."""

    def __init__(
        self, vocabulary: int, length: int, width: int, heads: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.vocabulary, self.length, self.width = vocabulary, length, width
        self.heads, self.layers, self.dropout = heads, layers, dropout
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(GPTBlock(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        # As GPT-2: what is added up over the layers begins the smaller, the more of them there are.
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                added = name.endswith(("mixed.weight", "outer.weight"))
                nn.init.normal_(weight, std=0.02 / (2 * layers) ** 0.5 if added else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.drop(self.tokens(ids) + self.places.weight[: ids.shape[1]])
        for block in self.blocks:
            x = block(x)
        return nn.functional.linear(self.norm(x), self.tokens.weight).transpose(1, 2)


def embedding_bag(
    input_shape: Sequence[int],
    num_outputs: int,
    *,
    vocabulary: int | None = None,
    width: int = 64,
    pairs: int = 0,
    dropout: float = 0.5,
) -> nn.Module:
    """Returns a bag of tokens (`TokenBag`): (N, L) int64 token ids to (N, num_outputs) float, logits.

    `width` numbers a token; `pairs` places for pairs of neighbours, at least 2, or 0 for none; `dropout` the share of
    features set to 0 in training. Raises NetworkError for data that is no text and sizes that cannot be.

    >>> tuple(embedding_bag((9,), 2, vocabulary=100)(torch.tensor([[5, 7, 0]])).shape)
    (1, 2)
    """
    known = _check_text("embedding-bag", vocabulary)
    check_whole(width, "width")
    check_dropout(dropout)
    if isinstance(pairs, bool) or not isinstance(pairs, int) or pairs < 0 or pairs == 1:
        raise NetworkError(f"`pairs` expects 0 or a whole number from 2 on; got {pairs!r}")
    return TokenBag(known, num_outputs, width, pairs, float(dropout))


def lstm(
    input_shape: Sequence[int],
    num_outputs: int,
    *,
    vocabulary: int | None = None,
    every_token: bool = False,
    forecast: Forecast = None,
    width: int = 128,
    hidden: int | None = None,
    layers: int = 1,
    bidirectional: bool | None = None,
    dropout: float | None = None,
    level: str | None = None,
) -> nn.Module:
    """Returns LSTM cells (Hochreiter & Schmidhuber 1997) over tokens: a `TextRecurrence`, or for a corpus a `WritingRecurrence`.

    Over the rows of windows (N, rows, columns) of numbers it is a `SeriesRecurrence`; `level` goes with these (as of `dlinear`, "mean"), `width`
    with tokens.

    `width` numbers a token, `hidden` a direction and layer (128; for a corpus 256). `bidirectional` by default for texts; for a
    corpus it cannot be. `dropout` 0.5, for a corpus 0. Raises NetworkError as `embedding_bag` does.

    >>> tuple(lstm((9,), 2, vocabulary=100)(torch.tensor([[5, 7, 0]])).shape)
    (1, 2)
    """
    if vocabulary is None and len(input_shape) == 2:
        return _of_rows(
            "lstm", input_shape, num_outputs, forecast, hidden, layers, bidirectional, dropout, level
        )
    return _recurrence(
        "lstm", num_outputs, vocabulary, every_token, width, hidden, layers, bidirectional, dropout
    )


def gru(
    input_shape: Sequence[int],
    num_outputs: int,
    *,
    vocabulary: int | None = None,
    every_token: bool = False,
    forecast: Forecast = None,
    width: int = 128,
    hidden: int | None = None,
    layers: int = 1,
    bidirectional: bool | None = None,
    dropout: float | None = None,
    level: str | None = None,
) -> nn.Module:
    """Returns the network of `lstm` with GRU cells (Cho et al., arXiv:1406.1078)."""
    if vocabulary is None and len(input_shape) == 2:
        return _of_rows(
            "gru", input_shape, num_outputs, forecast, hidden, layers, bidirectional, dropout, level
        )
    return _recurrence(
        "gru", num_outputs, vocabulary, every_token, width, hidden, layers, bidirectional, dropout
    )


def _of_rows(
    cell: str,
    input_shape: Sequence[int],
    num_outputs: int,
    forecast: Forecast,
    hidden: int | None,
    layers: int,
    bidirectional: bool | None,
    dropout: float | None,
    level: str | None,
) -> nn.Module:
    return series_recurrence(
        cell,
        input_shape,
        num_outputs,
        forecast=forecast,
        hidden=128 if hidden is None else hidden,
        layers=layers,
        bidirectional=False if bidirectional is None else bidirectional,
        dropout=0.0 if dropout is None else dropout,
        level=level,
    )


def _recurrence(
    cell: str,
    num_outputs: int,
    vocabulary: int | None,
    every_token: bool,
    width: int,
    hidden: int | None,
    layers: int,
    bidirectional: bool | None,
    dropout: float | None,
) -> nn.Module:
    known = _check_text(cell, vocabulary)
    hidden = (256 if every_token else 128) if hidden is None else hidden
    share = (0.0 if every_token else 0.5) if dropout is None else dropout
    both = not every_token if bidirectional is None else bidirectional
    for option, value in (("width", width), ("hidden", hidden), ("layers", layers)):
        check_whole(value, option)
    check_dropout(share)
    check_switch(both, "bidirectional")
    if not every_token:
        return TextRecurrence(known, num_outputs, width, hidden, layers, both, cell, float(share))
    if both:
        raise NetworkError("`bidirectional`: a language model may not see the tokens that it predicts")
    return WritingRecurrence(known, width, hidden, layers, cell, float(share))


def gpt(
    input_shape: Sequence[int],
    num_outputs: int,
    *,
    vocabulary: int | None = None,
    every_token: bool = False,
    width: int = 128,
    heads: int = 4,
    layers: int = 4,
    dropout: float = 0.0,
) -> nn.Module:
    """Returns a `GPT`: (N, L) int64 token ids to (N, vocabulary, L) float, logits of the token behind each.

    `width` numbers a token, a multiple of `heads`. Raises NetworkError for data that is no corpus and sizes that cannot be.

    >>> tuple(gpt((9,), 50, vocabulary=50, every_token=True)(torch.tensor([[5, 7, 4]])).shape)
    (1, 50, 3)
    """
    known = _check_text("gpt", vocabulary)
    if not every_token:
        raise NetworkError(
            "network 'gpt' predicts each next token of a corpus; these texts have targets of their own.\n"
            "Use transformer, lstm, gru, text-cnn or embedding-bag."
        )
    for option, value in (("width", width), ("heads", heads), ("layers", layers)):
        check_whole(value, option)
    check_dropout(dropout)
    check_heads(width, heads)
    return GPT(known, int(input_shape[0]), width, heads, layers, float(dropout))


def text_cnn(
    input_shape: Sequence[int],
    num_outputs: int,
    *,
    vocabulary: int | None = None,
    width: int = 128,
    channels: int = 100,
    kernels: int | Sequence[int] = (3, 4, 5),
    dropout: float = 0.5,
) -> nn.Module:
    """Returns a `TextConvolution`: (N, L) int64 token ids to (N, num_outputs) float, logits.

    `channels` filters of each of the lengths `kernels`, in tokens. Raises NetworkError as `embedding_bag` does.

    >>> tuple(text_cnn((9,), 2, vocabulary=100)(torch.tensor([[5, 7, 0]])).shape)
    (1, 2)
    """
    known = _check_text("text-cnn", vocabulary)
    sizes = [kernels] if isinstance(kernels, int) else list(kernels)
    for option, value in (("width", width), ("channels", channels)):
        check_whole(value, option)
    for size in sizes or [0]:
        check_whole(size, "kernels")
    check_dropout(dropout)
    return TextConvolution(known, num_outputs, width, channels, sizes, float(dropout))


def transformer(
    input_shape: Sequence[int],
    num_outputs: int,
    *,
    vocabulary: int | None = None,
    width: int = 128,
    heads: int = 4,
    layers: int = 2,
    hidden: int | None = None,
    dropout: float = 0.2,
) -> nn.Module:
    """Returns a `TextAttention`: (N, L) int64 token ids to (N, num_outputs) float, logits.

    `width` numbers a token, a multiple of `heads`; `hidden` in the layers between (default: 4 times the width). Raises
    NetworkError as `embedding_bag` does.

    >>> tuple(transformer((9,), 2, vocabulary=100)(torch.tensor([[5, 7, 0]])).shape)
    (1, 2)
    """
    known = _check_text("transformer", vocabulary)
    hidden = 4 * width if hidden is None else hidden
    for option, value in (("width", width), ("heads", heads), ("layers", layers), ("hidden", hidden)):
        check_whole(value, option)
    check_dropout(dropout)
    check_heads(width, heads)
    return TextAttention(
        known, num_outputs, int(input_shape[0]), width, heads, layers, hidden, float(dropout)
    )


def _check_text(name: str, vocabulary: int | None) -> int:
    if vocabulary is None:
        raise NetworkError(
            f"network {name!r} expects texts, as token ids; this data is numbers.\n"
            "Use network 'mlp', which takes any shape, or 'cnn' for images."
        )
    return vocabulary
