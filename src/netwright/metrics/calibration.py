"""Whether a classifier is as often right as it says, and the temperature that makes it so."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from netwright.errors import NetwrightError
from netwright.metrics.arrays import as_array

# Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, use so many bins of equal width.
BINS = 15
TEMPERATURES = (0.05, 20.0)
SPREAD = 1.0
# Below, a probability of 0 in float32 would have no logarithm; `tempered` has the same bound.
_LEAST = float(torch.finfo(torch.float32).tiny)


def reliability(
    probabilities: torch.Tensor | np.ndarray, targets: torch.Tensor | np.ndarray, *, bins: int = BINS
) -> list[dict[str, Any]]:
    """Returns, for bins of equal width over the probability of the most probable class, how often that class was right.

    `probabilities`: (N, C) float, 0 to 1; `targets`: (N,) integers, 0 to C-1. For each bin `low`, `high`, `examples`,
    `confidence` (the mean of those probabilities) and `accuracy`, both None in an empty one. A probability on an edge lies in the
    bin above it, 1 in the last.

    >>> rows = reliability(np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]]), np.array([0, 1, 1]), bins=2)
    >>> [(row["examples"], row["confidence"] and round(row["confidence"], 3), row["accuracy"]) for row in rows]
    [(0, None, None), (3, 0.767, 0.6666666666666666)]
    """
    shares, true = _checked(probabilities, targets)
    sure = shares.max(axis=1)
    right = shares.argmax(axis=1) == true
    edges = np.linspace(0, 1, bins + 1)
    places = np.clip(np.digitize(sure, edges) - 1, 0, bins - 1)
    rows = []
    for place in range(bins):
        inside = places == place
        count = int(inside.sum())
        rows.append(
            {
                "low": float(edges[place]),
                "high": float(edges[place + 1]),
                "examples": count,
                "confidence": float(sure[inside].mean()) if count else None,
                "accuracy": float(right[inside].mean()) if count else None,
            }
        )
    return rows


def expected_calibration_error(
    probabilities: torch.Tensor | np.ndarray, targets: torch.Tensor | np.ndarray, *, bins: int = BINS
) -> float:
    """Returns the mean distance, 0 to 1, between how sure a classifier is and how often it is right, over `reliability`'s bins.

    Each bin counts by its examples (Guo et al. 2017, equation 3). Arguments as those of `reliability`.

    >>> round(expected_calibration_error(np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]]), np.array([0, 1, 1]), bins=2), 3)
    0.1
    """
    filled = [row for row in reliability(probabilities, targets, bins=bins) if row["examples"]]
    total = sum(row["examples"] for row in filled)
    return float(sum(row["examples"] * abs(row["confidence"] - row["accuracy"]) for row in filled) / total)


def negative_log_likelihood(
    probabilities: torch.Tensor | np.ndarray, targets: torch.Tensor | np.ndarray, *, temperature: float = 1.0
) -> float:
    """Returns the mean of -log of the probability of the true class, in nats, of probabilities as `tempered` makes them.

    >>> round(negative_log_likelihood(np.array([[0.8, 0.2], [0.5, 0.5]]), np.array([0, 1])), 4)
    0.4581
    """
    shares, true = _checked(probabilities, targets)
    return _mean_loss(_logarithms(shares), true, temperature)


def fit_temperature(probabilities: torch.Tensor | np.ndarray, targets: torch.Tensor | np.ndarray) -> float:
    """Returns the temperature for `tempered` with the least negative log-likelihood; TEMPERATURES bound it.

    To be fitted on examples that the network was not trained on. Beforehand its logarithm is taken to be normally distributed about 0
    with the deviation SPREAD: that counts as little as a few examples, but where all are right, the likelihood alone would want no doubt at all.

    >>> from netwright.metrics.probabilities import tempered
    >>> shares = np.array([[0.99, 0.01]] * 75 + [[0.01, 0.99]] * 25)   # says 99 %, is right in 75 % of cases
    >>> round(float(tempered(torch.tensor(shares[:1]), fit_temperature(shares, np.zeros(100, dtype=int)))[0, 0]), 2)
    0.76
    """
    shares, true = _checked(probabilities, targets)
    logarithms = _logarithms(shares)

    said = logarithms[np.arange(len(true)), true].mean()

    def slope(log_temperature: float) -> float:
        """Of the loss over the logarithm: what the network says on average less what it says of the true class, and the prior's."""
        temperature = math.exp(log_temperature)
        scaled = logarithms / temperature
        expected = (np.exp(scaled - _log_sum(scaled)[:, None]) * logarithms).sum(axis=1).mean()
        return float((said - expected) / temperature + log_temperature / SPREAD**2 / len(true))

    # The loss falls and then rises: its lowest place is where the slope's sign changes. 30 halvings of 6 leave less than 1e-8.
    low, high = (math.log(bound) for bound in TEMPERATURES)
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return math.exp((low + high) / 2)


def _logarithms(shares: np.ndarray) -> np.ndarray:
    return np.log(np.clip(shares, _LEAST, None))


def _mean_loss(logarithms: np.ndarray, true: np.ndarray, temperature: float) -> float:
    scaled = logarithms / temperature
    return float((_log_sum(scaled) - scaled[np.arange(len(true)), true]).mean())


def _log_sum(scaled: np.ndarray) -> np.ndarray:
    """Returns (N,) the logarithms of the sums of exponentials of (N, C)."""
    return np.logaddexp.reduce(scaled, axis=1)


def _checked(probabilities: Any, targets: Any) -> tuple[np.ndarray, np.ndarray]:
    shares, true = as_array(probabilities), as_array(targets)
    if shares.ndim != 2 or true.shape != (len(shares),):
        raise NetwrightError(
            f"calibration: expected probabilities (N, C) and targets (N,), came {shares.shape} and {true.shape}"
        )
    if len(shares) == 0:
        raise NetwrightError("calibration: expected at least one example, came none")
    return shares, true
