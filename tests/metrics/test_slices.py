"""Scores of slices against other libraries and against what can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import hypergeom, ttest_ind
from torchmetrics.functional import mean_squared_error

from netwright.metrics.slices import Slice, holm, quarters, slice_accuracies, slice_errors


def test_quarters_divide_all_but_gaps() -> None:
    values = np.random.default_rng(0).normal(size=401)
    values[7] = np.nan
    found = quarters(values, "x")
    assert [int(one.members.sum()) for one in found] == [100, 100, 100, 100]
    assert np.stack([one.members for one in found]).sum(0).tolist() == [int(n != 7) for n in range(401)]
    assert float(values[found[0].members].max()) <= np.nanquantile(values, 0.25)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([1.0] * 9, []),
        ([np.nan] * 3, []),
        ([0.0, 1.0, 1.0, 0.0], ["0", "1"]),
        # Three quartiles are 0: one slice of zeros, and the rest.
        ([0.0] * 90 + [float(n) for n in range(1, 11)], ["0 to 0", "1 to 10"]),
    ],
)
def test_numbers_that_have_no_quarters(values: list[float], names: list[str]) -> None:
    assert [one.name for one in quarters(np.array(values), "x")] == names


def test_a_slice_with_fewer_right_answers_is_found() -> None:
    members = np.arange(200) < 40
    right = np.where(members, np.arange(200) % 2 == 0, np.arange(200) % 10 > 0)
    (row,) = slice_accuracies([Slice("sex", "male", members)], right)
    # The chance of 20 or fewer right answers among 40 drawn from 200, of which 164 are right.
    assert row["p"] == pytest.approx(hypergeom(200, 164, 40).cdf(20), rel=1e-9)
    # Wilson 1927 at 20 of 40: z = 1.959964.
    z2 = 1.959963984540054**2
    half = np.sqrt(z2 * 0.25 / 40 + z2**2 / (4 * 40**2)) / (1 + z2 / 40)
    assert row["interval"] == pytest.approx([0.5 - half, 0.5 + half])
    assert (row["accuracy"], row["rest"], row["examples"], row["worse"]) == (0.5, 0.9, 40, True)


def test_what_is_better_or_too_small_is_not_called_worse() -> None:
    members = np.arange(100) < 50
    right = members | (np.arange(100) % 2 == 0)
    small = np.arange(100) >= 91
    rows = slice_accuracies([Slice("a", "better", members), Slice("a", "nine", small)], right)
    assert [(row["slice"], row["worse"]) for row in rows] == [("better", False)]
    assert rows[0]["p"] == 1.0
    assert slice_accuracies([], right) == []


def test_chance_alone_calls_few_slices_worse() -> None:
    generator = np.random.default_rng(0)
    called = 0
    for _ in range(100):
        right = generator.random(300) < 0.8
        slices = [Slice("x", str(n), generator.random(300) < 0.25) for n in range(12)]
        called += any(row["worse"] for row in slice_accuracies(slices, right))
    assert called <= 12  # at most 5 in 100 expected; 13 or more come once in 500 times


def test_errors_of_a_slice() -> None:
    import torch

    generator = np.random.default_rng(1)
    members = np.arange(300) < 60
    errors = np.where(members, 2.0, 1.0) * generator.normal(size=300)
    (row,) = slice_errors([Slice("age", "old", members)], errors**2)
    inside, outside = torch.from_numpy(errors[:60]), torch.from_numpy(errors[60:])
    for key, part in (("rmse", inside), ("rest", outside)):
        wanted = mean_squared_error(part, torch.zeros_like(part), squared=False)
        assert row[key] == pytest.approx(float(wanted))
    two_sided = ttest_ind(errors[:60] ** 2, errors[60:] ** 2, equal_var=False).pvalue
    assert row["p"] == pytest.approx(two_sided / 2)
    assert row["worse"] and row["interval"][0] < row["rmse"] < row["interval"][1]


def test_equal_errors_are_no_worse() -> None:
    (row,) = slice_errors([Slice("age", "old", np.arange(40) < 20)], np.ones(40))
    assert (row["p"], row["worse"], row["interval"]) == (1.0, False, [1.0, 1.0])


def test_holm_by_hand() -> None:
    # 0.01 * 4, then 0.02 * 3, then at least that, and no more than 1.
    assert holm([0.02, 0.6, 0.01, 0.03]).tolist() == pytest.approx([0.06, 0.6, 0.04, 0.06])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
