"""Scores of a classifier of two classes, one of which is looked for: ranking, and the threshold from which it is taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from netwright.metrics.arrays import as_array

# For tests of a disease and alarms: how many of those looked for are found where so many of the others are left alone.
SPECIFICITIES = (0.90, 0.95)


def rarer_class(counts: Sequence[int]) -> int:
    """Returns which of two classes is looked for: the one with fewer examples, of equal ones the second.

    >>> rarer_class([90, 10]), rarer_class([10, 90]), rarer_class([5, 5])
    (1, 0, 1)
    """
    return 0 if counts[0] < counts[1] else 1


def ranking_scores(
    probabilities: torch.Tensor | np.ndarray, targets: torch.Tensor | np.ndarray, *, positive: int
) -> dict[str, Any] | None:
    """Returns how well the probability (N, 2) of class `positive` ranks the examples, whatever the threshold.

    `share` of the class among the targets (N,) · `roc_auc`, the area under the receiver operating characteristic ·
    `average_precision`, the area under precision over recall, for which guessing gives `share` · `at_specificity`, the largest sensitivity
    (recall) among the thresholds at which at least so many of the other class are not taken, read from the same curve.
    scikit-learn computes them. None where one of the classes has no example.

    >>> found = ranking_scores(np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]]), np.array([0, 1, 1, 0]), positive=1)
    >>> found["share"], found["roc_auc"], found["average_precision"], found["at_specificity"][0]
    (0.5, 0.75, 0.8333333333333333, {'specificity': 0.9, 'sensitivity': 0.5})
    """
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    shares, true = as_array(probabilities)[:, positive], as_array(targets) == positive
    if true.all() or not true.any():
        return None
    false_alarms, sensitivities, _ = roc_curve(true, shares, drop_intermediate=False)
    return {
        "share": float(true.mean()),
        "roc_auc": float(roc_auc_score(true, shares)),
        "average_precision": float(average_precision_score(true, shares)),
        "at_specificity": [
            # A share of whole examples may lie a rounding above what is asked for.
            {
                "specificity": least,
                "sensitivity": float(sensitivities[false_alarms <= 1 - least + 1e-9].max()),
            }
            for least in SPECIFICITIES
        ],
    }


def best_threshold(
    probabilities: torch.Tensor | np.ndarray, targets: torch.Tensor | np.ndarray, *, positive: int
) -> float | None:
    """Returns the probability of class `positive` from which taking it has the best F1; None without examples of it.

    To be chosen on examples on which nothing is reported afterwards. It lies in the middle between the last probability that is taken and the next.

    >>> best_threshold(np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.8, 0.2]]), np.array([0, 1, 1, 0]), positive=1)
    0.25
    """
    shares, true = as_array(probabilities)[:, positive].astype(np.float64), as_array(targets) == positive
    if not true.any():
        return None
    order = np.argsort(-shares, kind="stable")
    ranked, hits = shares[order], np.cumsum(true[order])
    f1 = 2 * hits / (np.arange(1, len(true) + 1) + true.sum())
    ends = np.append(ranked[1:] < ranked[:-1], True)  # equal probabilities are taken together
    last = int(np.argmax(np.where(ends, f1, -1.0)))
    below = ranked[last + 1] if last + 1 < len(ranked) else 0.0
    return float((ranked[last] + below) / 2)


def scores_at(
    probabilities: torch.Tensor | np.ndarray,
    targets: torch.Tensor | np.ndarray,
    threshold: float,
    *,
    positive: int,
) -> dict[str, float | None]:
    """Returns precision, recall, F1 and specificity where class `positive` is taken from `threshold` on.

    Each lies in 0 to 1; None where it is 0/0.

    >>> scores_at(np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3]]), np.array([0, 1, 0]), 0.25, positive=1)
    {'precision': 0.5, 'recall': 1.0, 'f1': 0.6666666666666666, 'specificity': 0.5}
    """
    taken, true = as_array(probabilities)[:, positive] >= threshold, as_array(targets) == positive
    hits = int((taken & true).sum())

    def share(count: int, total: int) -> float | None:
        return count / total if total else None

    return {
        "precision": share(hits, int(taken.sum())),
        "recall": share(hits, int(true.sum())),
        "f1": share(2 * hits, int(taken.sum() + true.sum())),
        "specificity": share(int((~taken & ~true).sum()), int((~true).sum())),
    }
