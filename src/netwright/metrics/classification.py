"""Scores of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from netwright.errors import NetwrightError
from netwright.metrics.arrays import as_array, require_finite
from netwright.metrics.counts import confusion, wilson


def classification_scores(
    probabilities: torch.Tensor | np.ndarray,
    targets: torch.Tensor | np.ndarray,
    classes: Sequence[str],
    *,
    threshold: tuple[int, float] | None = None,
) -> dict[str, Any]:
    """Returns accuracy with a 95 % interval, scores per class and the confusion matrix.

    `probabilities`: (N, C) float, 0 to 1, one column a class. Rows need not sum to 1 (a network trained
    with a loss per class gives such rows): the largest decides, and of equal ones the first; of two classes
    `threshold` (class, probability) may say from where on that class is taken instead.
    `targets`: (N,) integers, 0 to C-1. `classes`: the C names.

    The dictionary, all plain Python:
    `accuracy` (0 to 1) · `interval` [low, high], Wilson's score interval (Wilson 1927) · `per_class`, a list of {`class`, `precision`, `recall`, `f1`, `support`} ·
    `confusion` (C x C counts; row: the true class, column: the predicted one).
    A class without examples has None for precision, recall and F1, a class that was never predicted has
    None for precision: these are 0/0.

    Raises NetwrightError for shapes that do not fit, numbers that are not finite or outside 0 to 1, and
    targets out of range.

    >>> scores = classification_scores(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), np.array([0, 1, 1]), ["no", "yes"])
    >>> round(scores["accuracy"], 3), [round(bound, 3) for bound in scores["interval"]]
    (0.667, [0.208, 0.939])
    >>> scores["confusion"]
    [[1, 0], [1, 1]]
    >>> scores["per_class"][1]
    {'class': 'yes', 'precision': 1.0, 'recall': 0.5, 'f1': 0.6666666666666666, 'support': 2}
    """
    shares, true = _checked(probabilities, targets, classes)
    predicted = decide(shares, threshold)
    right = int((predicted == true).sum())
    counts = confusion(true, predicted, len(classes))
    return {
        "accuracy": right / len(true),
        "interval": wilson(right, len(true)),
        "per_class": _per_class(counts, classes),
        "confusion": counts.tolist(),
    }


def decide(shares: np.ndarray, threshold: tuple[int, float] | None) -> np.ndarray:
    """Returns (N,) the class of each row of probabilities (N, C): the most probable, or of two the one that a threshold says."""
    if threshold is None:
        return shares.argmax(axis=1)
    positive, least = threshold
    return np.where(shares[:, positive] >= least, positive, 1 - positive)


def _per_class(counts: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    for place, name in enumerate(classes):
        hits, support, predicted = (
            int(number) for number in (counts[place, place], counts[place].sum(), counts[:, place].sum())
        )
        rows.append(
            {
                "class": str(name),
                # A class without examples has a precision of 0 if it was predicted: true, and of no use to anyone.
                "precision": hits / predicted if support and predicted else None,
                "recall": hits / support if support else None,
                "f1": 2 * hits / (support + predicted) if support else None,
                "support": support,
            }
        )
    return rows


def _checked(probabilities: Any, targets: Any, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    shares, true = as_array(probabilities), as_array(targets)
    count = len(classes)
    if shares.ndim != 2 or shares.shape[1] != count:
        raise NetwrightError(
            f"probabilities of {count} classes must have the shape (N, {count}), not {tuple(shares.shape)}"
        )
    if true.shape != (len(shares),):
        raise NetwrightError(
            f"targets must have the shape ({len(shares)},), one class for each row of probabilities, not {true.shape}"
        )
    if len(shares) == 0:
        raise NetwrightError("there is nothing to score: expected at least one example, got 0")
    if true.dtype.kind not in "iu":
        raise NetwrightError(f"targets must be integers (the number of the class), not {true.dtype}")
    if true.min() < 0 or true.max() >= count:
        row = int(((true < 0) | (true >= count)).argmax())
        raise NetwrightError(
            f"targets must lie between 0 and {count - 1} ({count} classes): row {row} is {true[row]}, "
            f"all lie between {true.min()} and {true.max()}"
        )
    require_finite(
        shares, what="probabilities", advice="The network's outputs or weights are no longer finite."
    )
    # 1e-3: what bfloat16 makes of a softmax; logits are further out.
    if shares.min() < -1e-3 or shares.max() > 1 + 1e-3:
        raise NetwrightError(
            f"probabilities must lie between 0 and 1: these lie between {shares.min():.4g} and {shares.max():.4g}.\n"
            "If they are logits, apply softmax first."
        )
    return shares, true
