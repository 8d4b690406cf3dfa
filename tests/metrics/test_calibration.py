"""Calibration against torchmetrics, torch's cross entropy, and trying every temperature."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchmetrics.classification import MulticlassCalibrationError

from netwright.errors import NetwrightError
from netwright.metrics import (
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
)
from netwright.metrics.calibration import TEMPERATURES
from netwright.metrics.probabilities import tempered


def drawn(seed, *, temperature=1.0, count=4000, classes=5):
    """Logits whose softmax over `temperature` is the truth that the targets are drawn from."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, classes, generator=generator) * 3
    targets = torch.multinomial((logits / temperature).softmax(1), 1, generator=generator).squeeze(1)
    return logits, targets


@pytest.mark.parametrize("bins", [5, 15])
@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_error_is_torchmetrics(bins, temperature):
    logits, targets = drawn(0, temperature=temperature)
    shares = logits.softmax(1)
    # torchmetrics has a bin of its own for a probability of exactly 1.
    assert shares.max() < 1
    other = MulticlassCalibrationError(num_classes=5, n_bins=bins, norm="l1")(shares, targets)
    assert expected_calibration_error(shares, targets, bins=bins) == pytest.approx(float(other), abs=1e-6)


def test_bins_are_those_counted_by_hand():
    shares = np.array([[0.95, 0.05], [1.0, 0.0], [0.7, 0.3], [0.35, 0.65], [0.5, 0.5]])
    rows = reliability(shares, np.array([0, 1, 0, 0, 1]), bins=4)
    counts = {round(row["low"], 1): row["examples"] for row in rows if row["examples"]}
    assert counts == {0.5: 3, 0.8: 2}  # 0.5 lies in the bin above it, 1 in the last
    last = rows[-1]
    assert last["confidence"] == pytest.approx(0.975) and last["accuracy"] == 0.5
    assert sum(row["examples"] for row in rows) == 5 and rows[0]["accuracy"] is None


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_likelihood_is_torch_s_on_the_logits_over_the_temperature(temperature):
    logits, targets = drawn(1)
    expected = float(F.cross_entropy(logits.double() / temperature, targets))
    found = negative_log_likelihood(logits.double().softmax(1), targets, temperature=temperature)
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("count", [60, 4000])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0, 5.0])
def test_temperature_is_the_best_of_a_fine_grid(temperature, count):
    logits, targets = drawn(2, temperature=temperature, count=count)
    grid = torch.linspace(*(math.log(bound) for bound in TEMPERATURES), 4001, dtype=torch.float64)
    # A normal distribution with the deviation 1 over its logarithm, beside the likelihood of all examples.
    costs = [
        float(F.cross_entropy(logits.double() / one.exp(), targets, reduction="sum") + one**2 / 2)
        for one in grid
    ]
    best = float(grid[int(np.argmin(costs))].exp())
    assert fit_temperature(logits.softmax(1), targets) == pytest.approx(best, rel=2e-3)


@pytest.mark.parametrize("temperature", [0.4, 2.5])
def test_the_temperature_that_the_targets_were_drawn_with_is_found(temperature):
    logits, targets = drawn(3, temperature=temperature, count=20_000)
    shares = logits.softmax(1)
    found = fit_temperature(shares, targets)
    assert found == pytest.approx(temperature, rel=0.05)
    fresh_logits, fresh_targets = drawn(4, temperature=temperature, count=20_000)
    before = expected_calibration_error(fresh_logits.softmax(1), fresh_targets)
    after = expected_calibration_error(tempered(fresh_logits.softmax(1), found), fresh_targets)
    assert after < 0.02 and before > 0.1


def test_all_right_does_not_take_away_all_doubt():
    logits = torch.eye(3).repeat(30, 1) * 2
    found = fit_temperature(logits.softmax(1), torch.arange(3).repeat(30))
    assert 4 * TEMPERATURES[0] < found < 1


def test_order_and_sums_stay():
    logits, _ = drawn(5)
    for temperature in (0.1, 0.7, 8.0):
        shares = tempered(logits.softmax(1), temperature)
        assert torch.equal(shares.argmax(1), logits.argmax(1))
        assert torch.allclose(shares.sum(1), torch.ones(len(shares)))
        assert torch.allclose(shares, (logits / temperature).softmax(1), atol=1e-5)


@pytest.mark.parametrize("shape", [(3,), (0, 2), (3, 2)])
def test_what_cannot_be_is_refused(shape):
    with pytest.raises(NetwrightError, match="calibration"):
        fit_temperature(np.zeros(shape), np.zeros(2 if shape == (3, 2) else shape[0], dtype=int))
