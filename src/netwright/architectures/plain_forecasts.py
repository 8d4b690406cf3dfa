"""Forecasts that need no training, or one solve: what a network must beat. (N, window, columns) float in, (N, horizon, targets) out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

# The ridge of the linear forecast, as a share of the mean square of its inputs: enough that rows which are nearly alike do not
# cancel each other, too little to matter otherwise.
RIDGE = 1e-3


class LastValue(nn.Module):
    """Every row ahead is as the last one."""

    def __init__(self, horizon: int, places: Sequence[int]) -> None:
        super().__init__()
        self.horizon, self.places = horizon, list(places)

    def forward(self, x: Tensor) -> Tensor:
        return x[:, -1:, self.places].expand(-1, self.horizon, -1)


class SeasonalNaive(nn.Module):
    """Every row ahead is as the one a season (or as many seasons as it takes to be in the window) before."""

    def __init__(self, horizon: int, places: Sequence[int], season: int) -> None:
        super().__init__()
        self.horizon, self.places, self.season = horizon, list(places), season

    def forward(self, x: Tensor) -> Tensor:
        last = x[:, -self.season :, self.places]
        return last[:, torch.arange(self.horizon, device=x.device) % self.season]


class LeastSquares(nn.Module):
    """A linear function of a column's own past for each row ahead, the same for all columns; of differences to the last row."""

    weight: Tensor
    bias: Tensor

    def __init__(self, places: Sequence[int], weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.places = list(places)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        last = x[:, -1:, self.places]
        past = (x[:, :, self.places] - last).transpose(1, 2)
        return (past @ self.weight + self.bias).transpose(1, 2) + last


def fit_least_squares(
    batches: Iterable[tuple[Tensor, Tensor]], places: Sequence[int], *, ridge: float = RIDGE
) -> LeastSquares:
    """Returns the linear forecast that is fitted by ridge regression to batches of (N, window, columns) and (N, horizon, targets).

    `ridge` times the mean square of the inputs, times their number, is the penalty. Solved in double from sums over the batches, so that no
    more than a batch is held.
    """
    squares = products = inputs = outputs = torch.zeros(())
    count = 0
    for x, y in batches:
        last = x[:, -1:, list(places)]
        past = (x[:, :, list(places)] - last).transpose(1, 2).flatten(0, 1).double()
        ahead = (y - last).transpose(1, 2).flatten(0, 1).double()
        squares, products = squares + past.T @ past, products + past.T @ ahead
        inputs, outputs, count = inputs + past.sum(0), outputs + ahead.sum(0), count + len(past)
    centre, level = inputs / count, outputs / count
    squares = squares - count * torch.outer(centre, centre)
    products = products - count * torch.outer(centre, level)
    penalty = ridge * squares.diagonal().mean().clamp(min=1e-12)
    weight = torch.linalg.solve(squares + penalty * torch.eye(len(squares), dtype=squares.dtype), products)
    return LeastSquares(places, weight.float(), (level - centre @ weight).float())
