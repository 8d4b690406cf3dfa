"""Scores of predicted numbers against torchmetrics, chi-squared and simulation."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torchmetrics.functional.regression import mean_absolute_error, mean_squared_error, r2_score

from netwright.errors import NetwrightError
from netwright.metrics import regression_scores


@pytest.mark.parametrize("shape", [(5,), (300,), (1500,), (200, 3)])
def test_scores_are_those_of_torchmetrics(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(len(shape))
    targets = torch.randn(shape, generator=generator, dtype=torch.float64)
    values = targets + 0.4 * torch.randn(shape, generator=generator, dtype=torch.float64) + 0.1
    scores = regression_scores(values, targets)
    assert scores["rmse"] == pytest.approx(
        float(mean_squared_error(values.flatten(), targets.flatten(), squared=False))
    )
    assert scores["mae"] == pytest.approx(float(mean_absolute_error(values.flatten(), targets.flatten())))
    assert scores["r2"] == pytest.approx(float(r2_score(values, targets)))
    low, high = scores["interval"]
    assert low < scores["rmse"] < high
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


@pytest.mark.parametrize("count", [400, 1000, 20_000])
def test_interval_of_normal_errors_is_near_the_exact_one(count: int) -> None:
    errors = np.random.default_rng(0).normal(size=count)
    scores = regression_scores(errors, np.zeros(count))
    exact = [scores["rmse"] * np.sqrt(count / chi2.ppf(share, count)) for share in (0.975, 0.025)]
    assert scores["interval"] == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize(("count", "trials"), [(60, 150), (1200, 400)])
def test_interval_covers_the_truth_about_as_often_as_it_says(count: int, trials: int) -> None:
    generator = np.random.default_rng(1)
    # Heavier tails than normal: t with 8 degrees of freedom has the variance 8/6.
    intervals = [
        regression_scores(generator.standard_t(8, size=count), np.zeros(count))["interval"]
        for _ in range(trials)
    ]
    covered = np.mean([low <= np.sqrt(8 / 6) <= high for low, high in intervals])
    assert 0.89 <= covered <= 0.99


def test_a_column_goes_with_a_row() -> None:
    column = torch.tensor([[1.0], [2.0], [4.0]])
    assert regression_scores(column, column[:, 0])["rmse"] == 0.0


def test_equal_input_gives_equal_intervals() -> None:
    values = np.random.default_rng(2).normal(size=100)
    assert regression_scores(values, values * 0.9) == regression_scores(values, values * 0.9)


def test_what_is_not_defined_is_none() -> None:
    assert regression_scores(np.array([2.0]), np.array([1.0])) == {
        "rmse": 1.0,
        "mae": 1.0,
        "r2": None,
        "interval": None,
    }
    level = regression_scores(np.array([2.0, 2.0]), np.array([1.0, 1.0]))
    assert level == {"rmse": 1.0, "mae": 1.0, "r2": None, "interval": [1.0, 1.0]}


@pytest.mark.parametrize(
    ("values", "targets", "message"),
    [
        (np.ones(3), np.ones(4), r"not \(3,\) and \(4,\)"),
        (np.ones((3, 1)), np.ones((3, 2)), r"not \(3, 1\) and \(3, 2\)"),
        (np.ones((2, 2, 2)), np.ones((2, 2, 2)), r"\(N,\) or \(N, D\)"),
        (np.array([1.0, np.inf, np.nan]), np.ones(3), "values must be finite numbers: 2 of 3 rows.*row 1"),
        (np.ones(3), np.array([1.0, 1.0, np.nan]), "targets must be finite numbers: 1 of 3 rows.*row 2"),
        (np.ones(0), np.ones(0), "at least one example, got 0"),
    ],
)
def test_bad_input_is_answered_with_figures(values: np.ndarray, targets: np.ndarray, message: str) -> None:
    with pytest.raises(NetwrightError, match=message):
        regression_scores(values, targets)


def test_cost_is_capped(count_calls: Callable[[Callable[[], Any]], int]) -> None:
    """The bootstrap's memory grows as the square of the examples; above a thousand nothing does."""
    values = np.random.default_rng(3).normal(size=1_000_000)
    regression_scores(values[:1001], np.zeros(1001))
    tracemalloc.start()
    try:
        calls = count_calls(lambda: regression_scores(values, np.zeros(len(values))))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert calls < 5000 and peak < 10 * values.nbytes
