"""Early stopping against the definition written out as a plain loop."""

from __future__ import annotations

import math

import pytest

from netwright.errors import RecipeError
from netwright.training.stopping import EarlyStopping


@pytest.mark.parametrize(
    ("scores", "patience", "min_delta", "stops_after", "best_epoch"),
    [
        ([5, 4, 3, 2, 1], 2, 0.0, None, 5),
        ([5, 4, 4, 4, 1], 2, 0.0, 4, 2),
        ([5, 4.95, 4.9, 4.85], 2, 0.2, 3, 1),
        ([5, math.nan, math.nan], 2, 0.0, 3, 1),
        ([math.nan, math.nan, 1], 3, 0.0, None, 3),
        ([3, 3, 3], None, 0.0, None, 1),
    ],
)
def test_lower_is_better(
    scores: list[float], patience: int | None, min_delta: float, stops_after: int | None, best_epoch: int
) -> None:
    stopping = EarlyStopping(patience=patience, min_delta=min_delta)
    stopped = None
    for epoch, score in enumerate(scores, start=1):
        stopping.improved(score, epoch)
        if stopping.should_stop:
            stopped = epoch
            break
    assert (stopped, stopping.best_epoch) == (stops_after, best_epoch)


@pytest.mark.parametrize(
    ("monitor", "mode"),
    [
        ("validation_loss", "min"),
        ("validation_accuracy", "max"),
        ("validation_rmse", "min"),
        ("train_loss", "min"),
    ],
)
def test_what_is_better_follows_from_the_score(monitor: str, mode: str) -> None:
    assert EarlyStopping(monitor=monitor).mode == mode


def test_its_state_can_be_put_back() -> None:
    first = EarlyStopping(monitor="validation_accuracy", patience=3)
    for epoch, score in enumerate([0.1, 0.5, 0.4], start=1):
        first.improved(score, epoch)
    second = EarlyStopping(monitor="validation_accuracy", patience=3)
    second.load_state_dict(first.state_dict())
    assert second == first and second.waited == 1


def test_a_mode_that_is_none() -> None:
    with pytest.raises(RecipeError, match="'auto', 'min' or 'max'"):
        EarlyStopping(mode="up")
