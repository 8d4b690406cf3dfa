"""Networks for series: (N, window, columns) float, scaled, in; (N, horizon, targets) float, or logits (N, classes), out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from netwright.architectures.options import check_dropout, check_heads, check_switch, check_whole
from netwright.errors import NetworkError

# (horizon, places of the columns to forecast among the inputs), as `Preparation.facts` has it; None: the windows have classes.
Forecast = tuple[int, tuple[int, ...]] | None


class Levelled(nn.Module):
    """Takes each window's own level (and scale) from it, and puts them back on the forecast of a network (Kim et al., ICLR 2022).

    `level` "last": the last row is taken from all; "mean": the window's mean, and its standard deviation divided by. `places`: the
    columns of the input that are forecast.
    """

    def __init__(self, network: nn.Module, level: str, places: Sequence[int]) -> None:
        super().__init__()
        self.network, self.level, self.places = network, level, list(places)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.level == "last":
            centre = x[:, -1:].detach()
            return self.network(x - centre) + centre[:, :, self.places]
        centre = x.mean(1, keepdim=True).detach()
        # As the paper has it, in the square root: a window that does not vary stays finite.
        spread = (x.var(1, keepdim=True, correction=0) + 1e-5).sqrt().detach()
        return self.network((x - centre) / spread) * spread[:, :, self.places] + centre[:, :, self.places]


class DecomposedLinear(nn.Module):
    """DLinear (Zeng et al., arXiv:2205.13504): a moving average and what is left of it, each through one linear layer over time.

    The layers are shared by all columns, or, `apart`, each column has its own. (N, window, C) float to (N, horizon, targets). `kernel` rows are averaged, the
    first and the last row standing in for what lies outside; 1: one layer on the rows as they are (the paper's Linear).
    """

    def __init__(
        self, window: int, horizon: int, places: Sequence[int], kernel: int = 25, apart: bool = False
    ) -> None:
        super().__init__()
        self.window, self.horizon, self.places = window, horizon, list(places)
        self.kernel, self.apart = kernel, apart
        copies = len(self.places) if apart else 1
        self.season = nn.ModuleList(nn.Linear(window, horizon) for _ in range(copies))
        self.trend = nn.ModuleList(nn.Linear(window, horizon) for _ in range(copies if kernel > 1 else 0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x[:, :, self.places].transpose(1, 2)
        if self.kernel == 1:
            return self._through(self.season, rows).transpose(1, 2)
        before = rows[:, :, :1].expand(-1, -1, (self.kernel - 1) // 2)
        behind = rows[:, :, -1:].expand(-1, -1, self.kernel // 2)
        trend = nn.functional.avg_pool1d(torch.cat([before, rows, behind], 2), self.kernel, stride=1)
        return (self._through(self.season, rows - trend) + self._through(self.trend, trend)).transpose(1, 2)

    def _through(self, layers: nn.ModuleList, rows: torch.Tensor) -> torch.Tensor:
        if not self.apart:
            return layers[0](rows)
        return torch.stack([layer(rows[:, place]) for place, layer in enumerate(layers)], 1)


class CausalBlock(nn.Module):
    """Two dilated causal convolutions with weight norm, ReLU and dropout, added to what came (Bai et al., arXiv:1803.01271, figure 1)."""

    def __init__(self, inward: int, outward: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.before = (kernel - 1) * dilation
        normed = nn.utils.parametrizations.weight_norm
        self.first = normed(nn.Conv1d(inward, outward, kernel, dilation=dilation))
        self.second = normed(nn.Conv1d(outward, outward, kernel, dilation=dilation))
        self.drop = nn.Dropout(dropout)
        self.past = nn.Conv1d(inward, outward, 1) if inward != outward else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = x
        for layer in (self.first, self.second):
            # Padded before the first row alone: no output sees a row behind its own.
            found = self.drop(layer(nn.functional.pad(found, (self.before, 0))).relu())
        return (self.past(x) + found).relu()


class TemporalConvolution(nn.Module):
    """Causal blocks whose dilation doubles, and the last row of what they give through a linear layer: (N, window, C) float to
    (N, *output_shape)."""

    def __init__(
        self,
        columns: int,
        output_shape: Sequence[int],
        channels: int,
        kernel: int,
        blocks: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.output_shape = tuple(output_shape)
        widths = [columns] + [channels] * blocks
        self.blocks = nn.Sequential(
            *(CausalBlock(a, b, kernel, 2**place, dropout) for place, (a, b) in enumerate(pairwise(widths)))
        )
        self.head = nn.Linear(channels, _numbers(output_shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        last = self.blocks(x.transpose(1, 2))[:, :, -1]
        return self.head(last).unflatten(1, self.output_shape)


class SeriesRecurrence(nn.Module):
    """An LSTM or GRU over the rows, and its last output (of each direction) through a linear layer: (N, window, C) float to (N, *output_shape)."""

    def __init__(
        self,
        columns: int,
        output_shape: Sequence[int],
        hidden: int,
        layers: int,
        bidirectional: bool,
        cell: str,
        dropout: float,
    ) -> None:
        super().__init__()
        self.output_shape = tuple(output_shape)
        kind = nn.LSTM if cell == "lstm" else nn.GRU
        between = dropout if layers > 1 else 0.0
        self.recurrence = kind(
            columns, hidden, layers, batch_first=True, dropout=between, bidirectional=bidirectional
        )
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(hidden * (2 if bidirectional else 1), _numbers(output_shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = self.recurrence(x)[1]
        states = state[0] if isinstance(state, tuple) else state
        last = torch.cat([states[-2], states[-1]], 1) if self.recurrence.bidirectional else states[-1]
        return self.head(self.drop(last)).unflatten(1, self.output_shape)


class PatchTransformer(nn.Module):
    """A Transformer encoder over patches of a window (PatchTST; Nie et al., arXiv:2211.14730): (N, window, C) float to (N, *output_shape).

    A patch is `patch` rows, one beginning every `stride`; as in the paper the last row is repeated `stride` times, so that every row is in one. With `places` each of these columns is read
    by itself with the same weights, and forecast; without, a patch holds all columns. Norms are of layers, where the paper has them of batches.
    """

    def __init__(
        self,
        window: int,
        columns: int,
        output_shape: Sequence[int],
        places: Sequence[int] | None,
        patch: int,
        stride: int,
        width: int,
        heads: int,
        layers: int,
        hidden: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.output_shape = tuple(output_shape)
        self.places = None if places is None else list(places)
        self.patch, self.stride = patch, stride
        tokens = (window - patch) // stride + 2
        own = patch if places is not None else patch * columns
        self.inward = nn.Linear(own, width)
        self.positions = nn.Parameter(torch.empty(tokens, width).uniform_(-0.02, 0.02))
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, hidden, dropout, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        outputs = output_shape[0] if places is not None else _numbers(output_shape)
        self.head = nn.Linear(tokens * width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count = x.shape[0]
        x = torch.cat([x, x[:, -1:].expand(-1, self.stride, -1)], 1)
        if self.places is None:
            patches = x.unfold(1, self.patch, self.stride).flatten(2)
        else:
            apart = x[:, :, self.places].transpose(1, 2).flatten(0, 1)
            patches = apart.unfold(1, self.patch, self.stride)
        tokens = self.drop(self.inward(patches) + self.positions)
        for block in self.blocks:
            tokens = block(tokens)
        found = self.head(self.drop(self.norm(tokens).flatten(1)))
        if self.places is None:
            return found.unflatten(1, self.output_shape)
        return found.view(count, len(self.places), -1).transpose(1, 2)


def dlinear(
    input_shape: Sequence[int],
    num_outputs: int,
    *,
    forecast: Forecast = None,
    kernel: int = 25,
    apart: bool = False,
    level: str = "none",
) -> nn.Module:
    """Returns a `DecomposedLinear`: (N, window, columns) float to (N, horizon, targets) float.

    `kernel` rows are averaged; `apart` gives each column layers of its own; `level` "last" or "mean" takes each window's own level
    from it (`Levelled`). Raises NetworkError for data that is no series to forecast, and for sizes that cannot be.

    >>> tuple(dlinear((48, 3), 24, forecast=(12, (0, 2)))(torch.zeros(5, 48, 3)).shape)
    (5, 12, 2)
    """
    window, _ = _sides("dlinear", input_shape)
    if forecast is None:
        raise NetworkError(
            "network 'dlinear' forecasts, and this data has classes or other targets.\nUse tcn, lstm, gru or series-transformer."
        )
    check_whole(kernel, "kernel")
    check_switch(apart, "apart")
    return _levelled(DecomposedLinear(window, *forecast, kernel, apart), level, forecast)


def tcn(
    input_shape: Sequence[int],
    num_outputs: int,
    *,
    forecast: Forecast = None,
    channels: int = 64,
    kernel: int = 3,
    blocks: int | None = None,
    dropout: float = 0.2,
    level: str | None = None,
) -> nn.Module:
    """Returns a `TemporalConvolution`: (N, window, columns) float to (N, horizon, targets) float, or logits (N, num_outputs).

    `blocks` None: as many as it takes for the last row to see the whole window. `level`: as of `dlinear`, for forecasts "mean".

    >>> tuple(tcn((48, 3), 24, forecast=(12, (0, 2)))(torch.zeros(5, 48, 3)).shape)
    (5, 12, 2)
    """
    window, columns = _sides("tcn", input_shape)
    for option, value in (("channels", channels), ("kernel", kernel)):
        check_whole(value, option)
    check_dropout(dropout)
    blocks = _blocks(window, kernel) if blocks is None else check_whole(blocks, "blocks")
    shape = _output_shape(num_outputs, forecast)
    return _levelled(TemporalConvolution(columns, shape, channels, kernel, blocks, dropout), level, forecast)


def series_transformer(
    input_shape: Sequence[int],
    num_outputs: int,
    *,
    forecast: Forecast = None,
    patch: int = 16,
    stride: int = 8,
    width: int = 16,
    heads: int = 4,
    layers: int = 3,
    hidden: int = 128,
    dropout: float = 0.3,
    apart: bool | None = None,
    level: str | None = None,
) -> nn.Module:
    """Returns a `PatchTransformer`: (N, window, columns) float to (N, horizon, targets) float, or logits (N, num_outputs).

    The sizes are those that the paper takes for ETTh1. `apart`: whether each column is read by itself (for forecasts so; for
    classes all are read together). `level`: as of `dlinear`, for forecasts "mean".

    >>> tuple(series_transformer((48, 3), 24, forecast=(12, (0, 2)))(torch.zeros(5, 48, 3)).shape)
    (5, 12, 2)
    """
    window, columns = _sides("series-transformer", input_shape)
    sizes = {
        "patch": patch,
        "stride": stride,
        "width": width,
        "heads": heads,
        "layers": layers,
        "hidden": hidden,
    }
    for option, value in sizes.items():
        check_whole(value, option)
    check_dropout(dropout)
    check_heads(width, heads)
    apart = forecast is not None if apart is None else apart
    check_switch(apart, "apart")
    if apart and forecast is None:
        raise NetworkError("`apart` goes with forecasts: a class is of all columns together")
    places = forecast[1] if apart and forecast is not None else None
    made = PatchTransformer(
        window,
        columns,
        _output_shape(num_outputs, forecast),
        places,
        min(patch, window),
        stride,
        width,
        heads,
        layers,
        hidden,
        dropout,
    )
    return _levelled(made, level, forecast)


def series_recurrence(
    cell: str,
    input_shape: Sequence[int],
    num_outputs: int,
    *,
    forecast: Forecast,
    hidden: int,
    layers: int,
    bidirectional: bool,
    dropout: float,
    level: str | None,
) -> nn.Module:
    """Returns a `SeriesRecurrence` of "lstm" or "gru" cells; raises NetworkError for sizes that cannot be."""
    _, columns = _sides(cell, input_shape)
    for option, value in (("hidden", hidden), ("layers", layers)):
        check_whole(value, option)
    check_dropout(dropout)
    check_switch(bidirectional, "bidirectional")
    shape = _output_shape(num_outputs, forecast)
    made = SeriesRecurrence(columns, shape, hidden, layers, bidirectional, cell, dropout)
    return _levelled(made, level, forecast)


def _levelled(network: nn.Module, level: str | None, forecast: Forecast) -> nn.Module:
    if level not in (None, "none", "last", "mean"):
        raise NetworkError(f"`level` expects none, last or mean; got {level!r}")
    if forecast is None and level in ("last", "mean"):
        raise NetworkError("`level` goes with forecasts: the level of a window may tell its class")
    chosen = level or ("none" if forecast is None else "mean")
    return network if forecast is None or chosen == "none" else Levelled(network, chosen, forecast[1])


def _sides(name: str, input_shape: Sequence[int]) -> tuple[int, int]:
    if len(input_shape) != 2:
        raise NetworkError(
            f"network {name!r} expects windows (rows, columns), but one example has the shape {tuple(input_shape)}"
        )
    return input_shape[0], input_shape[1]


def _output_shape(num_outputs: int, forecast: Forecast) -> tuple[int, ...]:
    return (num_outputs,) if forecast is None else (forecast[0], len(forecast[1]))


def _numbers(shape: Sequence[int]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count


def _blocks(window: int, kernel: int) -> int:
    """Returns how many blocks it takes until the last row sees the first: each sees 2 (kernel - 1) dilation rows more."""
    blocks, seen = 1, 1 + 2 * (kernel - 1)
    while seen < window and kernel > 1:
        seen += 2 * (kernel - 1) * 2**blocks
        blocks += 1
    return blocks
