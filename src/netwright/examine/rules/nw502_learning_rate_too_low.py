"""NW502: the learning rate is too low."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from statistics import median, stdev

from netwright.examine.observation import Observation, Step
from netwright.examine.rules import NotObserved, evidence
from netwright.examine.rules.curves import chance, ends, finite_curve, steps_of, whole_norm
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW502",
    slug="learning-rate-too-low",
    level="warning",
    by="100",
    title="the learning rate is too low: almost nothing moves",
    what="Each step changes the weights by less than a hundred-thousandth of their size, and the loss stays where it began.",
    why="At this pace it takes a hundred thousand steps to change a weight by its own size. The loss looks like that of a "
    "network that cannot learn the task.",
    fix="Raise the learning rate by factors of 10 until the weights change by about a thousandth of their size per step.",
    example="torch.optim.SGD(net.parameters(), lr=1e-7)   # wrong\ntorch.optim.SGD(net.parameters(), lr=0.1)    # right",
    limits="Needs 50 steps. That a larger step would lower the loss is taken from its gradient, to first order. While the "
    "learning rate rises (warm-up) it waits for the program's end. Silent on LBFGS, and where the loss is well below "
    "chance (fine-tuning, converged runs).",
    explains=frozenset({"NW512"}),
)
_RATIO = 1e-5


def check(observation: Observation) -> Iterator[Evidence]:
    if observation.step_count < 50:
        raise NotObserved("fewer than 50 optimizer steps")
    values = finite_curve(observation)
    if len(values) < 20:
        raise NotObserved("the loss was not seen often enough")
    began, now = ends(values)
    level = chance(observation)
    noise = 3 * stdev(values) / math.sqrt(max(5, len(values) // 10))
    if abs(now - began) > max(0.02 * abs(began), noise) or (level is not None and now < 0.5 * level):
        return
    if sum(1 for entry in observation.optimizers if entry.steps) != 1:
        return
    for optimizer in observation.optimizers:
        steps = steps_of(observation, optimizer)
        rates = [max(step.lr, default=0.0) for step in steps]
        if optimizer.cls == "LBFGS" or len(steps) < 10 or min(rates) <= 0:
            continue
        warming = rates[-1] > 2 * rates[1]
        if warming and observation.ended not in ("end", "exit"):
            continue  # the rate may still rise to where it is meant to be
        ratios = _ratios(observation, steps, max if warming else median)
        if not ratios or sorted(ratios.values())[int(0.9 * (len(ratios) - 1))] >= _RATIO:
            continue
        gain = _gain(observation, steps, began)
        if gain < 0.002:
            continue
        highest = max(ratios.values())
        yield evidence(
            observation,
            optimizer.place or optimizer.step_place,
            seen={"update_over_weight": highest, "lr": rates[-1], "loss_at_first": began, "loss_later": now},
            expected={"update_over_weight": "around 0.001"},
            step=steps[0].step,
            title=f"learning rate {rates[-1]:g} is too low: a step changes no weight by more than {highest:.0e} of its size, "
            f"the loss stays at {now:.3g}",
            harm="measured",
        )


def _ratios(
    observation: Observation, steps: list[Step], typical: Callable[[list[float]], float]
) -> dict[str, float]:
    """Returns the typical update over weight of each parameter that has a gradient and is not 0."""
    found: dict[str, list[float]] = {}
    for step in steps:
        for uid, ratio in step.ratios.items():
            if (
                math.isfinite(ratio)
                and step.gradients.get(uid, 0.0) > 0
                and len(observation.parameters[int(uid)].shape) > 1
            ):
                found.setdefault(uid, []).append(ratio)
    return {uid: typical(values) for uid, values in found.items()}


def _gain(observation: Observation, steps: list[Step], loss: float) -> float:
    """Returns the share by which the loss would fall, to first order, if each weight moved by 1 % against its gradient."""
    shares = []
    for step in steps:
        terms = [
            size * norm
            for uid, size in step.gradients.items()
            if math.isfinite(size) and math.isfinite(norm := whole_norm(observation, step, int(uid)))
        ]
        shares.append(0.01 * sum(terms) / max(abs(loss), 1e-12))
    return median(shares) if shares else 0.0


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs = torch.randn(256, 10)
targets = inputs[:, :1] - 0.5 * inputs[:, 1:2]
network = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
{before}optimizer = torch.optim.{optimizer}
for step in range(110):
    picked = torch.randint(0, 256, (64,))
    loss = F.mse_loss(network(inputs[picked]), targets[picked])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{before}", "").replace("{optimizer}", "SGD(network.parameters(), lr=1e-7)")
good = _PROGRAM.replace("{before}", "").replace("{optimizer}", "SGD(network.parameters(), lr=0.05)")
near_miss = _PROGRAM.replace("{optimizer}", "SGD(network.parameters(), lr=1e-7)  # a last polish").replace(
    "{before}",
    """first = torch.optim.LBFGS(network.parameters(), max_iter=60)


def closure():
    first.zero_grad()
    error = F.mse_loss(network(inputs), targets)
    error.backward()
    return error


first.step(closure)
""",
)
