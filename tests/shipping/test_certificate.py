"""The certificate: its numbers against arithmetic by hand, and what it must not let through."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from netwright.data.preparation import FeaturePreparation
from netwright.shipping import Answering, Card
from netwright.shipping.certificate import EXACT, INT8, Examples, Tolerance, certify

ROWS = torch.arange(10.0).reshape(10, 1)
SURE = torch.tensor([[0.9, 0.1], [0.2, 0.8]] * 5)


def card(*, classes: tuple[str, ...] | None = ("a", "b"), **entries: Any) -> Card:
    preparation = FeaturePreparation((1,)).to_dict()
    task = "regression" if classes is None else "classification"
    return Card("t", "t", task, classes, (1,), 2, preparation, **entries)


def answering(answers: Tensor, of: Card, *others: Tensor) -> Answering:
    """Answers row n of `answers` to the example n."""

    def forward(raw: Tensor) -> tuple[Tensor, ...]:
        rows = raw[:, 0].long()
        return tuple(values[rows] for values in (answers, *others))

    return Answering(of, of.prepared_by, forward)


def found(before: Answering, after: Answering, targets: Tensor, **entries: Any) -> dict[str, Any]:
    parts = [Examples(ROWS[:6], targets[:6]), Examples(ROWS[6:], targets[6:])]
    asked = {"tolerance": EXACT, "score_before": 0.5, "size": 3, "runtime": "test", **entries}
    return certify(before, after, parts, **asked)


TRUE = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1, 0, 0])


def test_equal_answers_pass() -> None:
    same = answering(SURE, card())
    shown = found(same, same, TRUE)
    assert shown["passed"] and shown["why"] == [] and shown["examples"] == 10
    assert shown["max_difference"] == 0 and shown["equal_decisions"] == 1 and shown["differing"] == 0
    assert shown["accuracy_before"] == 0.5, "what the run's test says is repeated"
    assert shown["accuracy_after"] == pytest.approx(0.9)
    assert shown["bytes"] == 3 and shown["latency_ms"]["batch_size"] == 6 and shown["latency_ms"]["one"] > 0


def test_a_decision_that_differs_fails() -> None:
    other = SURE.clone()
    other[3] = torch.tensor([0.6, 0.4])
    shown = found(
        answering(SURE, card()), answering(other, card()), TRUE, tolerance=replace(EXACT, difference=None)
    )
    assert shown["differing"] == 1 and shown["equal_decisions"] == pytest.approx(0.9)
    assert shown["max_difference"] == pytest.approx(0.4) and shown["accuracy_after"] == pytest.approx(0.8)
    assert not shown["passed"] and shown["why"] == ["1 of 10 decisions differ, 0.10% may"]
    wide = Tolerance(decisions=0.1, difference=None, value=1)
    assert found(answering(SURE, card()), answering(other, card()), TRUE, tolerance=wide)["passed"]


def test_other_probabilities_fail_though_every_decision_is_equal() -> None:
    other = SURE.clone()
    other[8] = torch.tensor([0.95, 0.05])
    shown = found(answering(SURE, card()), answering(other, card()), TRUE)
    assert shown["equal_decisions"] == 1 and not shown["passed"]
    assert shown["why"] == ["an answer differs by 0.05 (of a probability), 0.001 may be"]
    assert found(answering(SURE, card()), answering(other, card()), TRUE, tolerance=INT8)["passed"]


def test_the_threshold_decides_where_there_is_one() -> None:
    rule = card(rule=(1, 0.85))
    other = SURE.clone()
    other[1] = torch.tensor([0.1, 0.9])
    shown = found(answering(SURE, rule), answering(other, rule), TRUE, tolerance=INT8)
    assert shown["differing"] == 1 and not shown["passed"], "0.8 is below the threshold, 0.9 above it"


def test_answers_that_are_no_numbers_fail() -> None:
    other = SURE.clone()
    other[0] = torch.nan
    for tolerance in (EXACT, INT8):
        shown = found(answering(SURE, card()), answering(other, card()), TRUE, tolerance=tolerance)
        assert not shown["passed"] and shown["max_difference"] == math.inf


def test_values_are_compared_in_standard_deviations() -> None:
    numbers = card(classes=None)
    values = torch.linspace(0, 900, 10).reshape(10, 1)
    other = values.clone()
    other[4] += 30
    spread = float(values.double().std(correction=0))
    shown = found(answering(values, numbers), answering(other, numbers), values.clone(), score_before=0.0)
    assert shown["max_difference"] == pytest.approx(30 / spread) and shown["rmse_after"] == pytest.approx(
        math.sqrt(90)
    )
    assert shown["differing"] == 1 and not shown["passed"]
    assert found(answering(values, numbers), answering(values + 0.1, numbers), values, score_before=0.0)[
        "passed"
    ]


def test_targets_that_were_gaps_do_not_count() -> None:
    numbers = card(classes=None)
    values = torch.zeros(10, 2, 1)
    values[:, 1] = 5
    known = torch.ones(10, 2, 1, dtype=torch.bool)
    known[:, 1] = False
    same = answering(values, numbers)
    parts = [Examples(ROWS, torch.ones(10, 2, 1), known)]
    shown = certify(same, same, parts, tolerance=EXACT, score_before=1.0, size=1, runtime="test")
    assert shown["rmse_after"] == pytest.approx(1.0), (
        "only the first row ahead, which is off by one, is known"
    )


def test_a_flag_of_the_guard_is_a_decision() -> None:
    guarded = card(strange_above=3.0)
    calm, loud = torch.arange(10.0), torch.arange(10.0)
    loud[3] = 3.0001
    before, after = answering(SURE, guarded, calm), answering(SURE, guarded, loud)
    shown = found(before, after, TRUE)
    assert shown["differing"] == 1 and not shown["passed"] and shown["max_difference"] == 0
    assert shown["guard_difference"] == pytest.approx(
        0.0001 / float(calm.double().std(correction=0)), rel=0.01
    )
    loud[5] = 6.0
    shown = found(before, answering(SURE, guarded, loud), TRUE)
    assert any(why.startswith("the guard differs by") for why in shown["why"])
