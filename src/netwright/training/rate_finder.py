"""A learning rate that a short trial finds (Smith 2017, "Cyclical learning rates", section 3.3)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from netwright.errors import TrainingFailed
from netwright.training.loop import Data, train
from netwright.training.randomness import random_state, restore_random_state
from netwright.training.state import TrainingState

SMALLEST, LARGEST, STEPS = 1e-6, 10.0, 100
# A loss this many times the best one has left the range worth looking at.
DIVERGED = 4.0
# A loss that falls by less than this share of itself has not been lowered, only jittered.
SMALLEST_GAIN = 0.01
# Weight of the past in the running mean of the loss, which single batches make noisy.
SMOOTHING = 0.9


@dataclass(frozen=True)
class FoundRate:
    """The rate, and the trial behind it: smoothed `losses` at `rates`."""

    rate: float
    rates: list[float]
    losses: list[float]


def find_rate(
    network: nn.Module,
    begin: Callable[[nn.Module], TrainingState],
    data: Data,
    *,
    batch: int = 64,
    precision: str = "32",
) -> FoundRate:
    """Returns the learning rate at which the loss falls most steeply while the rate rises from 1e-6 to 10.

    The trial takes at most 100 steps on a copy: `network` and the random generators are left as they were.

    Raises:
        TrainingFailed: the loss falls at no rate.
    """
    generators = random_state()
    try:
        rates, losses = _trial(begin(copy.deepcopy(network)), data, batch=batch, precision=precision)
    finally:
        restore_random_state(generators)
    lowest = min(range(len(losses)), key=losses.__getitem__)
    if lowest < 3 or losses[0] - losses[lowest] < SMALLEST_GAIN * abs(losses[0]):
        raise TrainingFailed(
            f"no learning rate from {SMALLEST:g} to {LARGEST:g} lowers the loss: it began at {losses[0]:.4g} "
            f"and was {losses[-1]:.4g} at the end.\nSomething else is wrong; give --lr to train all the same."
        )
    slopes = [losses[i + 1] - losses[i - 1] for i in range(1, lowest)]
    steepest = 1 + min(range(len(slopes)), key=slopes.__getitem__)
    return FoundRate(rate=float(f"{rates[steepest]:.3g}"), rates=rates, losses=losses)


def _trial(
    state: TrainingState, data: Data, *, batch: int, precision: str
) -> tuple[list[float], list[float]]:
    rates: list[float] = []
    losses: list[float] = []
    mean, best = 0.0, math.inf
    _set_rate(state.optimizer, SMALLEST)
    for step in train(state.network, data, state=state, epochs=STEPS, batch=batch, precision=precision):
        loss = float(step.loss)
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        smooth = mean / (1 - SMOOTHING**step.number)
        if not math.isfinite(loss) or smooth > DIVERGED * best:
            break
        best = min(best, smooth)
        rates.append(state.optimizer.param_groups[0]["lr"])
        losses.append(smooth)
        if len(losses) == STEPS:
            break
        _set_rate(state.optimizer, SMALLEST * (LARGEST / SMALLEST) ** (step.number / (STEPS - 1)))
    if not losses:
        raise TrainingFailed("the very first loss is not a number: look at the data and the network")
    return rates, losses


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
