"""Scores of a classifier against torchmetrics and closed forms."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_precision,
    multiclass_recall,
)

from netwright.errors import NetwrightError
from netwright.metrics import classification_scores


def random_case(count: int, num_classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(num_classes, (count,), generator=generator)
    logits = torch.randn(count, num_classes, generator=generator)
    logits[torch.arange(count), targets] += 1.0
    return logits.softmax(1), targets, [f"class {number}" for number in range(num_classes)]


@pytest.mark.parametrize(("count", "num_classes", "seed"), [(50, 2, 0), (400, 3, 1), (2000, 10, 2)])
def test_scores_are_those_of_torchmetrics(count: int, num_classes: int, seed: int) -> None:
    probabilities, targets, classes = random_case(count, num_classes, seed)
    scores = classification_scores(probabilities, targets, classes)
    each = {"num_classes": num_classes, "average": "none"}
    assert scores["accuracy"] == pytest.approx(
        float(multiclass_accuracy(probabilities, targets, num_classes=num_classes, average="micro"))
    )
    for key, function in (
        ("precision", multiclass_precision),
        ("recall", multiclass_recall),
        ("f1", multiclass_f1_score),
    ):
        assert [row[key] for row in scores["per_class"]] == pytest.approx(
            function(probabilities, targets, **each).tolist()
        )
    matrix = multiclass_confusion_matrix(probabilities, targets, num_classes=num_classes)
    assert scores["confusion"] == matrix.tolist()
    assert [row["support"] for row in scores["per_class"]] == targets.bincount(minlength=num_classes).tolist()


@pytest.mark.parametrize(("right", "count"), [(0, 1), (1, 1), (7, 10), (9_722, 10_000), (360, 360)])
def test_interval_is_wilsons(right: int, count: int) -> None:
    targets = np.zeros(count, dtype=np.int64)
    probabilities = np.eye(2)[(np.arange(count) >= right).astype(int)]
    low, high = classification_scores(probabilities, targets, ["a", "b"])["interval"]
    z, share = 1.959963984540054, right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    assert low == pytest.approx(middle - half, abs=1e-12)
    assert high == pytest.approx(middle + half, abs=1e-12)


def test_what_is_nothing_divided_by_nothing_is_none() -> None:
    # Class 0 is right twice and once taken for 3; 1 is never predicted; 2 has no examples but is
    # predicted; 3 has one example; 4 occurs nowhere.
    probabilities = np.eye(5)[[0, 0, 3, 2, 3]]
    scores = classification_scores(probabilities, np.array([0, 0, 0, 1, 3]), list("abcde"))
    rows = {
        row["class"]: (row["precision"], row["recall"], row["f1"], row["support"])
        for row in scores["per_class"]
    }
    assert rows == {
        "a": (1.0, pytest.approx(2 / 3), pytest.approx(0.8), 3),
        "b": (None, 0.0, 0.0, 1),
        "c": (None, None, None, 0),
        "d": (0.5, 1.0, pytest.approx(2 / 3), 1),
        "e": (None, None, None, 0),
    }


def test_the_result_is_plain_json() -> None:
    scores = classification_scores(*random_case(20, 4, 3))
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


def test_low_precision_tensors_that_want_gradients_are_taken() -> None:
    probabilities, targets, classes = random_case(30, 3, 4)
    expected = classification_scores(probabilities, targets, classes)
    rounded = probabilities.to(torch.bfloat16).requires_grad_()
    assert (
        classification_scores(rounded, targets.to(torch.int32), classes)["confusion"] == expected["confusion"]
    )


@pytest.mark.parametrize(
    ("probabilities", "targets", "message"),
    [
        (np.ones((4, 2)) / 2, np.zeros(4, int), r"3 classes must have the shape \(N, 3\), not \(4, 2\)"),
        (np.ones(4), np.zeros(4, int), r"not \(4,\)"),
        (np.ones((4, 3)) / 3, np.zeros(5, int), r"targets must have the shape \(4,\).*not \(5,\)"),
        (np.ones((4, 3)) / 3, np.zeros((4, 1), int), r"not \(4, 1\)"),
        (np.ones((4, 3)) / 3, np.zeros(4), "targets must be integers.*float64"),
        (np.ones((4, 3)) / 3, np.array([0, 1, 3, 2]), "between 0 and 2.*row 2 is 3"),
        (np.ones((4, 3)) / 3, np.array([0, -1, 1, 2]), "row 1 is -1"),
        (
            np.array([[0.5, 0.5, 0], [0, np.nan, 0]]),
            np.array([0, 1]),
            "1 of 2 rows hold NaN or infinity.*row 1",
        ),
        (np.array([[3.0, -2.0, 1.0]]), np.array([0]), "between -2 and 3.\nIf they are logits"),
        (np.ones((0, 3)), np.zeros(0, int), "at least one example, got 0"),
    ],
)
def test_bad_input_is_answered_with_figures(
    probabilities: np.ndarray, targets: np.ndarray, message: str
) -> None:
    with pytest.raises(NetwrightError, match=message):
        classification_scores(probabilities, targets, ["a", "b", "c"])


def test_ten_times_the_examples_take_no_more_calls(count_calls: Callable[[Callable[[], Any]], int]) -> None:
    """Everything is done for all examples at once: nothing is called for each."""
    few, many = (random_case(count, 10, 5) for count in (1000, 10_000))
    classification_scores(*few)
    fewer, more = (count_calls(lambda case=case: classification_scores(*case)) for case in (few, many))
    assert more < fewer + 1000
