"""Scores of parts of a test set, and which of them are worse than the rest by more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netwright.metrics.counts import fewer, wilson

# The probability with which one slice or more is called worse although none is.
CHANCE = 0.05
# Of fewer examples the interval is wider than anything that one would act on.
EXAMPLES_AT_LEAST = 10


@dataclass(frozen=True, eq=False)
class Slice:
    """Part of a test set that a person would ask about: what it is cut by (`age`), its `name` (`40 to 52`), `members` (N,) bool."""

    by: str
    name: str
    members: np.ndarray


def quarters(values: np.ndarray, by: str, *, shown: Any = "{:.4g}".format) -> list[Slice]:
    """Returns the slices of (N,) float `values` between their quartiles, each named by its ends; NaN is in none.

    Of numbers with at most five different values each is a slice of its own; where quartiles coincide there are fewer slices.

    >>> [one.name for one in quarters(np.arange(1.0, 9.0), "size")]
    ['1 to 2', '3 to 4', '5 to 6', '7 to 8']
    """
    finite = values[np.isfinite(values)]
    different = np.unique(finite)
    if len(different) < 2:
        return []
    if len(different) <= 5:
        return [Slice(by, shown(value), values == value) for value in different]
    edges = np.unique(np.quantile(finite, [0.25, 0.5, 0.75]))
    at = np.searchsorted(edges, values, side="left")
    slices = []
    for quarter in range(len(edges) + 1):
        members = np.isfinite(values) & (at == quarter)
        if members.any():
            low, high = values[members].min(), values[members].max()
            slices.append(Slice(by, f"{shown(low)} to {shown(high)}", members))
    return slices


def slice_accuracies(slices: Sequence[Slice], right: np.ndarray) -> list[dict[str, Any]]:
    """Returns of each slice {`by`, `slice`, `examples`, `accuracy`, `interval`, `rest`, `p`, `worse`}.

    `right` (N,) bool: whether each example was judged rightly. `interval`: Wilson's at 95 %. `rest`: the accuracy of all other
    examples. `p`: Fisher's exact test (Fisher 1922) of whether the slice has fewer right answers than the rest, corrected for the
    number of slices after Holm (1979); `worse` where it is at most 0.05. Slices of fewer than 10 examples, or that leave fewer than
    10, are left out.
    """
    rows, chances = [], []
    for one, inside, outside in _divided(slices, right):
        hits, others = int(inside.sum()), int(outside.sum())
        chances.append(fewer(hits, len(inside), others, len(outside)))
        rows.append(
            {
                "by": one.by,
                "slice": one.name,
                "examples": len(inside),
                "accuracy": hits / len(inside),
                "interval": wilson(hits, len(inside)),
                "rest": others / len(outside),
            }
        )
    return _judged(rows, chances)


def slice_errors(slices: Sequence[Slice], squares: np.ndarray) -> list[dict[str, Any]]:
    """Returns of each slice {`by`, `slice`, `examples`, `rmse`, `interval`, `rest`, `p`, `worse`}.

    `squares` (N,) float: the squared error of each example. `interval`: at 95 %, that of log MSE by the delta method, with Student's
    t. `rest`: the RMSE of all other examples. `p`: Welch's t-test (Welch 1947) of whether the mean squared error is larger than that of
    the rest, corrected and judged as in `slice_accuracies`.
    """
    from scipy.stats import t, ttest_ind

    rows, chances = [], []
    for one, inside, outside in _divided(slices, squares):
        mean, count = float(inside.mean()), len(inside)
        half = (
            0.0 if mean == 0 else t.ppf(0.975, count - 1) * inside.std(ddof=1) / (2 * mean * np.sqrt(count))
        )
        varied = np.ptp(inside) > 0 or np.ptp(outside) > 0
        chance = ttest_ind(inside, outside, equal_var=False, alternative="greater").pvalue if varied else 1.0
        chances.append(float(chance))
        rows.append(
            {
                "by": one.by,
                "slice": one.name,
                "examples": count,
                "rmse": float(np.sqrt(mean)),
                "interval": [float(np.sqrt(mean) * np.exp(sign * half)) for sign in (-1, 1)],
                "rest": float(np.sqrt(outside.mean())),
            }
        )
    return _judged(rows, chances)


def holm(chances: Sequence[float]) -> np.ndarray:
    """Returns p-values (N,) corrected for their number (Holm 1979, "A simple sequentially rejective multiple test procedure").

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(chances, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return corrected


def _divided(slices: Sequence[Slice], values: np.ndarray) -> list[tuple[Slice, np.ndarray, np.ndarray]]:
    """Returns each slice that is large enough with its values and those of the rest."""
    found = [(one, values[one.members], values[~one.members]) for one in slices]
    return [one for one in found if min(len(one[1]), len(one[2])) >= EXAMPLES_AT_LEAST]


def _judged(rows: list[dict[str, Any]], chances: list[float]) -> list[dict[str, Any]]:
    corrected = holm(chances).tolist() if chances else []
    return [{**row, "p": p, "worse": p <= CHANCE} for row, p in zip(rows, corrected, strict=True)]
