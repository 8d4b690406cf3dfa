"""Scores of forecasts, against scikit-learn on all of them at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import t
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from netwright.errors import NetwrightError
from netwright.metrics import ForecastErrors

STD = [2.0, 10.0]


def drawn(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(count, 3, 2, generator=generator)
    return targets + 0.3 * torch.randn(count, 3, 2, generator=generator), targets


def scored(
    values: torch.Tensor, targets: torch.Tensor, known: torch.Tensor | None = None, batch: int = 7
) -> dict:
    errors = ForecastErrors(["a", "b"], STD)
    for rows in torch.arange(len(values)).split(batch):
        errors.add(values[rows], targets[rows], None if known is None else known[rows])
    return errors.scores()


def test_scores_are_scikit_learn_s():
    values, targets = drawn(100)
    scores = scored(values, targets)
    predicted, true = (one.double().numpy() for one in (values, targets))
    own, own_true = predicted * STD, true * STD
    assert scores["scaled_mse"] == pytest.approx(mean_squared_error(true.ravel(), predicted.ravel()))
    assert scores["scaled_mae"] == pytest.approx(mean_absolute_error(true.ravel(), predicted.ravel()))
    assert scores["rmse"] == pytest.approx(mean_squared_error(own_true.ravel(), own.ravel()) ** 0.5)
    assert scores["mae"] == pytest.approx(mean_absolute_error(own_true.ravel(), own.ravel()))
    assert scores["r2"] == pytest.approx(r2_score(true.reshape(100, 6), predicted.reshape(100, 6)))
    for step in range(3):
        assert scores["steps"]["scaled_mse"][step] == pytest.approx(
            mean_squared_error(true[:, step], predicted[:, step])
        )
        assert scores["steps"]["rmse"][step] == pytest.approx(
            mean_squared_error(own_true[:, step].ravel(), own[:, step].ravel()) ** 0.5
        )
    second = scores["per_column"][1]
    assert second["column"] == "b"
    assert second["mae"] == pytest.approx(mean_absolute_error(own_true[..., 1].ravel(), own[..., 1].ravel()))


def test_batches_change_nothing():
    values, targets = drawn(50)
    one, other = scored(values, targets, batch=50), scored(values, targets, batch=3)
    assert one["steps"]["mae"] == pytest.approx(other["steps"]["mae"])
    assert one["interval"] == pytest.approx(other["interval"]) and one["r2"] == pytest.approx(other["r2"])


def test_what_is_not_known_is_left_out():
    values, targets = drawn(40)
    known = torch.rand(40, 3, 2, generator=torch.Generator().manual_seed(1)) > 0.3
    wild = torch.where(known, targets, torch.tensor(1e3))
    scores = scored(values, wild, known)
    kept = known.numpy()
    assert scores["scaled_mse"] == pytest.approx(
        mean_squared_error(targets.numpy()[kept], values.numpy()[kept])
    )
    column = known[..., 0].numpy()
    assert scores["per_column"][0]["scaled_mae"] == pytest.approx(
        mean_absolute_error(targets[..., 0].numpy()[column], values[..., 0].numpy()[column])
    )
    nothing = known.clone()
    nothing[:, 2] = False
    assert scored(values, targets, nothing)["steps"]["rmse"][2] is None


def test_the_interval_is_that_of_blocks_of_windows():
    values, targets = drawn(30)
    low, high = scored(values, targets)["interval"]
    squares = (((values - targets).double() * torch.tensor(STD)) ** 2).mean((1, 2)).numpy()
    means = squares.reshape(10, 3).mean(1)
    half = t.ppf(0.975, 9) * means.std(ddof=1) / 10**0.5 / (2 * means.mean())
    rmse = squares.mean() ** 0.5
    assert (low, high) == pytest.approx((rmse * np.exp(-half), rmse * np.exp(half)))
    assert scored(values[:14], targets[:14])["interval"] is None


def test_what_never_varies_has_no_r2():
    values, targets = drawn(10)
    assert scored(values, torch.ones_like(targets))["r2"] is None
    assert scored(values[:1], targets[:1])["r2"] is None


def test_what_cannot_be():
    errors = ForecastErrors(["a", "b"], STD)
    with pytest.raises(NetwrightError, match="nothing to score"):
        errors.scores()
    with pytest.raises(NetwrightError, match=r"must both be \(N, horizon, 2\)"):
        errors.add(torch.zeros(2, 6), torch.zeros(2, 3, 2))
    with pytest.raises(NetwrightError, match="finite"):
        errors.add(torch.full((2, 3, 2), float("nan")), torch.zeros(2, 3, 2))
