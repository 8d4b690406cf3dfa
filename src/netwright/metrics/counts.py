"""What follows from counts alone, without SciPy and scikit-learn: their import takes as long as a short run trains."""

from __future__ import annotations

import math

import numpy as np
import torch

# The standard normal quantile at 0.975.
Z = 1.959963984540054


def wilson(right: int, count: int) -> list[float]:
    """Returns Wilson's 95 % score interval [low, high] of a share, `right` of `count` (at least 1) (Wilson 1927).

    >>> [round(bound, 3) for bound in wilson(2, 3)]
    [0.208, 0.939]
    """
    share, extra = right / count, Z**2 / count
    middle = (share + extra / 2) / (1 + extra)
    half = Z * math.sqrt(share * (1 - share) / count + extra / (4 * count)) / (1 + extra)
    # At 0 and 1 rounding would leave the interval outside the share.
    return [0.0 if right == 0 else middle - half, 1.0 if right == count else middle + half]


def fewer(right: int, count: int, other_right: int, other_count: int) -> float:
    """Returns the probability, by Fisher's exact test, of at most `right` of `count` where chance alone divides all right ones (Fisher 1922).

    >>> round(fewer(1, 10, 9, 10), 5)
    0.00055
    """
    all_right, everyone = right + other_right, count + other_count
    if right >= min(count, all_right):
        return 1.0
    few = max(0, all_right - other_count)
    drawn = torch.arange(few, right + 1, dtype=torch.float64)
    logs = (
        _log_choose(all_right, drawn)
        + _log_choose(everyone - all_right, count - drawn)
        - _log_choose(everyone, torch.tensor(float(count), dtype=torch.float64))
    )
    return min(1.0, float(torch.logsumexp(logs, 0).exp()))


def _log_choose(all_of: int, some: torch.Tensor) -> torch.Tensor:
    return math.lgamma(all_of + 1) - torch.lgamma(some + 1) - torch.lgamma(all_of - some + 1)


def confusion(true: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Returns (C, C) counts of (N,) classes 0 to C-1; row: the true class, column: the predicted one.

    >>> confusion(np.array([0, 1, 1]), np.array([0, 1, 0]), 2).tolist()
    [[1, 0], [1, 1]]
    """
    places = true.astype(np.int64) * classes + predicted
    return np.bincount(places, minlength=classes * classes).reshape(classes, classes)
