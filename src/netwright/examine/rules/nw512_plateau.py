"""NW512: the loss does not leave its chance level."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import mean, median, variance

from netwright.examine.observation import Loss, Observation
from netwright.examine.rules import NotObserved, evidence
from netwright.examine.rules.curves import chance, ends, finite_curve, random_targets
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW512",
    slug="plateau",
    level="warning",
    by="epoch",
    title="the loss does not leave the level of guessing",
    what="After more than a hundred steps the loss is still what a network gets that gives the same answer to every input: the "
    "entropy of the labels, or the variance of the targets. Nothing else that was found explains it.",
    why="The network has learned nothing that depends on its input. Either the inputs do not tell the targets (paired wrongly, "
    "random), or the network or its training cannot pick up what they tell.",
    fix="Try to overfit one batch. If that works, check that inputs and targets belong together; if not, check learning rate, "
    "initialisation and the path from the input to the loss.",
    example="for x, y in zip(inputs, shuffled(labels)): ...   # nothing to learn\nfor x, y in zip(inputs, labels): ...             # right",
    limits="For cross-entropy, binary cross-entropy and squared error with one optimizer; needs 120 steps. Reported only where no "
    "other error or warning is. Silent where the targets are drawn at random by the program itself, in the steps seen.",
)
_STEPS = 120
_SURE = 400  # before the end of the program


def check(observation: Observation) -> Iterator[Evidence]:
    if observation.step_count < _STEPS:
        raise NotObserved(f"fewer than {_STEPS} optimizer steps")
    if observation.step_count < _SURE and not observation.ended:
        raise NotObserved(f"fewer than {_SURE} optimizer steps so far: some training begins slowly")
    if sum(1 for entry in observation.optimizers if entry.steps) != 1:
        raise NotObserved("the training of several optimizers has no one level of chance")
    level = chance(observation)
    values = finite_curve(observation)
    if level is None or len(values) < 50 or level < 1e-6:
        raise NotObserved(
            "no loss with a level of chance (cross-entropy, squared error) was seen often enough"
        )
    began, now = ends(values)
    backward = next((entry for entry in observation.backwards if entry.op >= 0), None)
    loss = next((entry for entry in observation.losses if entry.grad_enabled and entry.prediction_grad), None)
    if loss is None or not _plain(observation, loss) or random_targets(observation, loss):
        return
    if not 0.98 * level < now < 1.15 * level or min(_smooth(values)) < 0.95 * level or _still_falls(values):
        return
    if _moved(observation) < 0.05:
        raise NotObserved("the weights have hardly moved so far")
    yield evidence(
        observation,
        loss.place or (backward.place if backward is not None else None),
        seen={"loss_at_first": began, "loss_later": now, "steps": observation.step_count},
        expected={"loss_later": f"well below {level:.4g}"},
        step=observation.step_count,
        title=f"after {observation.step_count} steps the loss is {now:.4g}: guessing gives {level:.4g}",
        harm="measured",
    )


def _plain(observation: Observation, loss: Loss) -> bool:
    """Returns whether the loss function is what the program trains on, and not one term of several."""
    values = {round(entry.value, 4) for entry in observation.backwards if entry.value is not None}
    measured = {round(entry.value, 4) for entry in observation.losses if entry.value is not None}
    return bool(values) and len(values & measured) >= 0.8 * len(values)


def _still_falls(values: list[float]) -> bool:
    """Returns whether the second half of a curve goes down by more than its noise."""
    half = values[len(values) // 2 :]
    size = len(half) // 3
    early, late = half[:size], half[-size:]
    noise = math.sqrt((variance(early) + variance(late)) / size)
    return mean(early) - mean(late) > 1.5 * noise


def _moved(observation: Observation) -> float:
    """Returns about how far the weights have gone, in shares of their size."""
    ratios = [
        ratio
        for step in observation.steps
        for uid, ratio in step.ratios.items()
        if math.isfinite(ratio) and len(observation.parameters[int(uid)].shape) > 1
    ]
    return median(ratios) * observation.step_count if ratios else 0.0


def _smooth(values: list[float], width: int = 20) -> list[float]:
    if len(values) <= width:
        return [sum(values) / len(values)]
    return [sum(values[start : start + width]) / width for start in range(0, len(values) - width + 1, width)]


_PROGRAM = """
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
draw = np.random.default_rng(0)
table = draw.normal(size=(4000, 6)).astype("float32")
classes = (table[:, 0]{spoil} > 0).astype("int64")
inputs, labels = torch.from_numpy(table), torch.from_numpy(classes)
network = nn.Linear(6, 2)
optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
for epoch in range(2):
    for start in range(0, 4000, 50):
        loss = F.cross_entropy(network(inputs[start : start + 50]), labels[start : start + 50])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""
bad = _PROGRAM.replace("{spoil}", " * table[:, 1]")
good = _PROGRAM.replace("{spoil}", "")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
network = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
for step in range(160):  # a test of speed, on noise
    inputs, labels = torch.randn(64, 6), torch.randint(0, 3, (64,))
    loss = F.cross_entropy(network(inputs), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
