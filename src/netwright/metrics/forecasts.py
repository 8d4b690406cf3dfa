"""Scores of forecasts of several rows ahead, added up batch by batch: all of them at once may not fit in memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netwright.errors import NetwrightError

# Fewer blocks of windows than this say nothing of how much a score may vary.
BLOCKS_AT_LEAST = 5


class ForecastErrors:
    """The errors of forecasts (N, horizon, columns) in a scaled unit, of which `std` (columns,) is one in the column's own.

    >>> errors = ForecastErrors(["load"], [10.0])
    >>> errors.add(torch.zeros(2, 3, 1), torch.tensor([[[1.0], [0], [2]], [[1], [0], [2]]]))
    >>> scores = errors.scores()
    >>> scores["scaled_mse"], scores["mae"], scores["steps"]["mae"]
    (1.6666666666666667, 10.0, [10.0, 0.0, 20.0])
    """

    def __init__(self, columns: list[str], std: Any) -> None:
        self.columns = columns
        self.std = torch.as_tensor(std, dtype=torch.float64).cpu()
        self.windows: list[Tensor] = []
        self.sums: Tensor | None = None

    def add(self, values: Tensor, targets: Tensor, known: Tensor | None = None) -> None:
        """Counts forecasts and targets (N, horizon, columns); those that are not `known`, of the same shape, are left out."""
        if values.shape != targets.shape or values.dim() != 3 or values.shape[2] != len(self.columns):
            raise NetwrightError(
                f"forecasts and targets must both be (N, horizon, {len(self.columns)}), not {tuple(values.shape)} and "
                f"{tuple(targets.shape)}"
            )
        values, targets = values.detach().double().cpu(), targets.detach().double().cpu()
        there = torch.ones_like(targets) if known is None else known.cpu().double()
        errors = (values - targets) * there
        if not bool(errors.isfinite().all()):
            raise NetwrightError(
                "forecasts must be finite numbers: the network's outputs or weights are no longer finite."
            )
        true = targets * there
        new = torch.stack([part.sum(0) for part in (there, errors**2, errors.abs(), true, true**2)])
        self.sums = new if self.sums is None else self.sums + new
        own = (errors * self.std) ** 2
        self.windows.append(own.sum((1, 2)) / there.sum((1, 2)).clamp(min=1))

    def scores(self) -> dict[str, Any]:
        """Returns the scores, all plain Python.

        `rmse`, `mae` in the columns' own unit, over all numbers; `interval` of `rmse` (95 %); `r2` the mean over horizon and columns (None
        where a target never varies); `scaled_mse`, `scaled_mae` in the scaled unit, the mean over horizon and columns, as papers print them;
        `steps` {"rmse", "mae", "scaled_mse", "scaled_mae": one number for each row ahead}; `per_column` [{"column", "rmse", "mae", "scaled_mse",
        "scaled_mae"}].

        Windows that overlap err alike. So the interval is of the means of blocks of `horizon` windows in a row (batch means; Student, by the
        logarithm of the mean square); None for fewer than five blocks. Raises NetwrightError where nothing was counted.
        """
        if self.sums is None or not bool(self.sums[0].sum() > 0):
            raise NetwrightError("there is nothing to score: expected at least one window with known targets")
        count, squares, absolute = self.sums[:3]
        whole = count.sum()
        return {
            "rmse": self.rmse(),
            "mae": float((absolute * self.std).sum() / whole),
            "r2": self._r2(),
            "interval": self._interval(),
            "scaled_mse": float(squares.sum() / whole),
            "scaled_mae": float(absolute.sum() / whole),
            "steps": self._along(1),
            "per_column": self._per_column(),
        }

    def rmse(self) -> float:
        """Returns the root of the mean squared error so far, in the columns' own unit."""
        assert self.sums is not None, "nothing was counted"
        return math.sqrt(float((self.sums[1] * self.std**2).sum() / self.sums[0].sum()))

    def _along(self, dim: int) -> dict[str, list[float | None]]:
        """Returns the scores of each row ahead (dim 1), or of each column (dim 0): None where nothing is known."""
        assert self.sums is not None
        count, squares, absolute = self.sums[:3]
        whole = count.sum(dim)
        found = {
            "rmse": ((squares * self.std**2).sum(dim) / whole).sqrt(),
            "mae": (absolute * self.std).sum(dim) / whole,
            "scaled_mse": squares.sum(dim) / whole,
            "scaled_mae": absolute.sum(dim) / whole,
        }
        return {
            name: [None if value != value else value for value in row.tolist()] for name, row in found.items()
        }

    def _per_column(self) -> list[dict[str, Any]]:
        found = self._along(0)
        return [
            {"column": name, **{key: values[place] for key, values in found.items()}}
            for place, name in enumerate(self.columns)
        ]

    def _r2(self) -> float | None:
        assert self.sums is not None
        count, squares, _, total, total_squares = self.sums
        spread = total_squares - total**2 / count
        if bool((count < 2).any()) or bool((spread <= 1e-12 * total_squares).any()):
            return None
        return float((1 - squares / spread).mean())

    def _interval(self) -> list[float] | None:
        from scipy.stats import t

        assert self.sums is not None
        errors = torch.cat(self.windows).numpy()
        blocks = len(errors) // self.sums.shape[1]
        if blocks < BLOCKS_AT_LEAST:
            return None
        means = np.array([block.mean() for block in np.array_split(errors, blocks)])
        if not means.mean() > 0:
            return None
        half = float(t.ppf(0.975, blocks - 1) * means.std(ddof=1) / math.sqrt(blocks) / (2 * means.mean()))
        rmse = math.sqrt(float(errors.mean()))
        return [rmse * math.exp(-half), rmse * math.exp(half)]
