"""Which labels are probably wrong, told by the probabilities of a network that did not learn from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netwright.metrics.arrays import as_array


@dataclass(frozen=True)
class Suspicious:
    """Examples whose label is probably wrong, the surest first.

    `rows` (M,) int64: which examples; `guesses` (M,) int64: the class that each more probably has; `margins` (M,) float: the probability
    of the label less that of the most probable other class, -1 to 1, ascending.
    """

    rows: np.ndarray
    guesses: np.ndarray
    margins: np.ndarray


def suspicious_labels(probabilities: np.ndarray, labels: np.ndarray) -> Suspicious:
    """Returns the examples that confident learning counts off the diagonal of its joint, ranked by normalised margin.

    `probabilities` (N, C) float of examples that were not trained on, `labels` (N,) int 0 to C-1. An example is counted to the most
    probable of those classes whose probability reaches its threshold, the mean probability of the class among the examples that are
    labelled with it (Northcutt, Jiang & Chuang 2021, JAIR 70, arXiv:1911.00068, equations 1 and 2); where that is not its label,
    either the label is wrong or the example is hard. Ranked as in its section 3.2, "normalized margin".

    >>> shares = np.array([[0.9, 0.1], [0.8, 0.2], [0.95, 0.05], [0.2, 0.8], [0.1, 0.9]])
    >>> found = suspicious_labels(shares, np.array([0, 0, 1, 1, 1]))
    >>> found.rows.tolist(), found.guesses.tolist()
    ([2], [0])
    """
    shares, given = as_array(probabilities).astype(np.float64), np.asarray(labels)
    rows = np.arange(len(given))
    thresholds = np.array(
        [
            shares[given == label, label].mean() if (given == label).any() else np.inf
            for label in range(shares.shape[1])
        ]
    )
    # 1e-6: a class whose examples all have one probability reaches its own mean in spite of rounding.
    reached = np.where(shares >= thresholds - 1e-6, shares, -1.0)
    guesses = reached.argmax(axis=1)
    off = (reached.max(axis=1) >= 0) & (guesses != given)
    others = shares.copy()
    others[rows, given] = -np.inf
    margins = shares[rows, given] - others.max(axis=1)
    found = rows[off][np.argsort(margins[off], kind="stable")]
    return Suspicious(found, guesses[found], margins[found])
