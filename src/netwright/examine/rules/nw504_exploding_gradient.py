"""NW504: the gradient explodes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median

from netwright.examine.observation import Observation, Optimizer, Step
from netwright.examine.rules import NotObserved, evidence, percent
from netwright.examine.rules.curves import steps_of
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW504",
    slug="exploding-gradient",
    level="warning",
    by="100",
    title="the gradient explodes: its norm jumps by a factor of 100 and more",
    what="From one step to the next the norm of the gradient jumps by two orders of magnitude above all that was normal so "
    "far, and the step that uses it throws the loss up or changes the weights by a large share of their size.",
    why="One such step destroys what hundreds before it have learned. Recurrent networks over long sequences and deep networks "
    "without normalisation do this again and again, often until numbers overflow.",
    fix="Clip the norm of the gradient between backward and step; lower the learning rate; normalise layers and targets.",
    example="loss.backward(); optimizer.step()                                                         # wrong\n"
    "loss.backward(); torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0); optimizer.step()   # right",
    limits="Sees the gradients of the first twenty steps, of one in four to the hundredth, of one in fifty later, and of steps "
    "whose loss stands out. Silent where clipping holds what the step uses, after steps without gradient, and where neither the "
    "loss nor the weights suffer.",
    explains=frozenset({"NW701", "NW403", "NW404"}),
)
_JUMP = 100.0
_MOVED = 0.3  # of its size, in one step: what the weight had learned is gone
_HUGE = 1e4  # a norm that announces an overflow


def check(observation: Observation) -> Iterator[Evidence]:
    if observation.step_count < 5:
        raise NotObserved("fewer than 5 optimizer steps")
    for optimizer in observation.optimizers:
        if optimizer.cls == "LBFGS":
            continue
        norms = _norms(observation, optimizer)
        for number in range(1, len(norms)):
            step, norm = norms[number]
            usual = median(size for _, size in norms[:number])
            largest = max(size for _, size in norms[:number][:3])
            if not math.isfinite(norm):
                if norms[number - 1][1] < _HUGE:
                    break  # not from size: a logarithm of 0, say
            elif norm < _JUMP * usual or norm < 10 * largest:
                continue
            before, after = _loss_around(observation, step)
            jumped = _weights_jumped(observation, optimizer, step)
            if after is None or not (after > 2 * max(before, 1e-6) or jumped is not None):
                continue
            if (
                any(clip.detail.get("fresh") for clip in observation.of_kind("clip"))
                and math.isfinite(norm)
                and norm < 10
            ):
                continue  # held by clipping
            backward = next((entry for entry in reversed(observation.backwards) if entry.step <= step), None)
            yield evidence(
                observation,
                optimizer.step_place or (backward.place if backward is not None else None),
                seen={"gradient_norm": norm, "usual": usual, "loss_before": before, "loss_after": after},
                expected={"gradient_norm": f"below {_JUMP * usual:.3g}"},
                step=step,
                title=f"the gradient explodes at step {step}: norm {norm:.3g} after {usual:.3g}, and "
                + (
                    f"that step changes a weight by {percent(jumped)} of its size"
                    if jumped is not None and not after > 2 * max(before, 1e-6)
                    else f"the loss goes from {before:.3g} to {after:.3g}"
                ),
                harm="measured",
            )
            return


def _steps(observation: Observation, optimizer: Optimizer) -> list[Step]:
    """Returns the sampled steps of an optimizer and those that were picked because their gradient stood out."""
    picked = [step for step in observation.outliers if step.optimizer == optimizer.uid]
    return sorted([*steps_of(observation, optimizer), *picked], key=lambda step: step.order)


def _norms(observation: Observation, optimizer: Optimizer) -> list[tuple[int, float]]:
    """Returns the norm of the gradient that each sampled step used, steps without a gradient left out."""
    found = [
        (step.step, math.sqrt(sum(size * size for size in step.gradients.values())))
        for step in _steps(observation, optimizer)
    ]
    clips = any(event.detail.get("fresh") for event in observation.of_kind("clip"))
    if sum(1 for entry in observation.optimizers if entry.steps) == 1 and not clips:
        found += [(step, norm) for step, _, norm in observation.spikes]
    return sorted((step, norm if math.isfinite(norm) else math.inf) for step, norm in found if norm != 0)


def _weights_jumped(observation: Observation, optimizer: Optimizer, number: int) -> float | None:
    """Returns by which share of its size a step changed a matrix of weights, None if that is not out of the ordinary."""
    steps = _steps(observation, optimizer)
    here = next((step for step in steps if step.step == number), None)
    if here is None:
        return None
    shares = []
    for uid, ratio in here.ratios.items():
        usual = [step.ratios[uid] for step in steps if step.step < number and uid in step.ratios]
        matrix = len(observation.parameters[int(uid)].shape) >= 2
        if matrix and usual and math.isfinite(ratio) and ratio >= max(_MOVED, 20 * median(usual)):
            shares.append(ratio)
    return max(shares, default=None)


def _loss_around(observation: Observation, step: int) -> tuple[float, float | None]:
    """Returns the usual loss before a step and the highest one shortly after it (infinite if it overflows)."""
    before = [
        value for number, value in observation.curve if step - 20 <= number <= step and math.isfinite(value)
    ]
    after = [value for number, value in observation.curve if step < number <= step + 5]
    after += [value for number, value in observation.curve if number == step and not math.isfinite(value)]
    if not before or not after:
        return 0.0, None
    return median(before), math.inf if any(not math.isfinite(value) for value in after) else max(after)


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
network = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
for step in range(40):
    inputs = torch.randn(32, 6)
    if step == 12:  # a batch with a broken sensor
        inputs[:4] *= 200.0
    loss = F.mse_loss(network(inputs), inputs[:, :1].clamp(-3, 3))
    optimizer.zero_grad()
    loss.backward()
{clip}    optimizer.step()
"""
_CLIP = "    nn.utils.clip_grad_norm_(network.parameters(), 1.0)\n"
bad = _PROGRAM.replace("{clip}", "")
good = _PROGRAM.replace("{clip}", _CLIP)
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
network = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(40):
    inputs = torch.randn(32, 6)
    reward = 1e-6 if step % 8 else 1.0  # sparse
    loss = reward * F.mse_loss(network(inputs), inputs[:, :1])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
