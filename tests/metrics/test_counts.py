"""What is computed from counts here against SciPy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, fisher_exact
from sklearn.metrics import confusion_matrix

from netwright.metrics.counts import confusion, fewer, wilson


@pytest.mark.parametrize(
    ("right", "count"), [(0, 1), (1, 1), (0, 50), (50, 50), (3, 7), (9_712, 10_000), (1, 10**9)]
)
def test_wilson(right: int, count: int) -> None:
    bounds = binomtest(right, count).proportion_ci(confidence_level=0.95, method="wilson")
    assert wilson(right, count) == pytest.approx([bounds.low, bounds.high], rel=1e-9, abs=1e-12)
    assert 0 <= wilson(right, count)[0] <= right / count <= wilson(right, count)[1] <= 1


def test_fisher() -> None:
    generator = np.random.default_rng(0)
    tables = [(0, 10, 0, 10), (10, 10, 10, 10), (0, 10, 10, 10), (10, 10, 0, 10), (7, 12, 380, 400)]
    for size in (12, 60, 3000, 200_000):
        for _ in range(20):
            count, others = (int(number) for number in generator.integers(1, size, 2))
            tables.append(
                (int(generator.integers(count + 1)), count, int(generator.integers(others + 1)), others)
            )
    for right, count, other_right, others in tables:
        table = [[right, count - right], [other_right, others - other_right]]
        expected = float(fisher_exact(table, alternative="less").pvalue)
        assert fewer(right, count, other_right, others) == pytest.approx(expected, rel=1e-6, abs=1e-300), (
            table
        )


def test_confusion() -> None:
    generator = np.random.default_rng(1)
    true, predicted = generator.integers(0, 6, (2, 500))
    assert np.array_equal(
        confusion(true, predicted, 7), confusion_matrix(true, predicted, labels=np.arange(7))
    )
    assert confusion(true.astype(np.uint8), predicted, 300).sum() == 500, "a small type does not overflow"
