"""NW501: the learning rate is too high."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import mean, median

from netwright.examine.observation import Observation, Step
from netwright.examine.rules import NotObserved, evidence
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW501",
    slug="learning-rate-too-high",
    level="warning",
    by="100",
    title="the learning rate is too high: the loss does not fall while the weights jump",
    what="The loss diverges or oscillates, and each step changes the weights by a large share of their size.",
    why="Steps so large throw away what the steps before have learned. The loss stays at or above where it began, units die, "
    "and numbers may overflow.",
    fix="Lower the learning rate by a factor of 10, and again until the loss falls steadily; or warm it up.",
    example="torch.optim.Adam(net.parameters(), lr=1.0)    # wrong\ntorch.optim.Adam(net.parameters(), lr=1e-3)   # right",
    limits="Needs 20 steps and a loss on a CPU (or sampled). Trend and step size must both show it. Silent on LBFGS, "
    "with several optimizers, on objectives that go below 0, and where the targets move (reinforcement learning).",
    explains=frozenset({"NW403", "NW404", "NW504", "NW701", "NW512", "NW111"}),
)
_RATIO = 0.1


def check(observation: Observation) -> Iterator[Evidence]:
    if observation.step_count < 20:
        raise NotObserved("fewer than 20 optimizer steps")
    stepping = [entry for entry in observation.optimizers if entry.steps]
    if len(stepping) != 1 or stepping[0].cls == "LBFGS":
        raise NotObserved("one optimizer other than LBFGS is needed to tell whose steps move the loss")
    optimizer = stepping[0]
    steps = [step for step in observation.steps if step.optimizer == optimizer.uid]
    curve = observation.curve[:400]
    owned = any(observation.parameters[uid].module >= 0 for uid in optimizer.parameters)
    if len(curve) < 20 or not owned or any(min(step.lr, default=0.0) < 0 for step in steps):
        return
    values = [value for _, value in curve]
    finite = [value for value in values if math.isfinite(value)]
    ratios = _ratios(observation, steps)
    high = {uid: median(found) for uid, found in ratios.items() if median(found) > _RATIO}
    jumped = {uid for uid, found in _ratios(observation, steps, after=0).items() if max(found) > 1}
    jumps = max(len(high), len(jumped)) >= max(1, len(ratios) / 3)
    if len(finite) < 2 or not ratios or _targets_moved(observation):
        return
    overflowed = len(finite) < len(values)
    if overflowed and not (jumps or max(finite) > 20 * max(abs(finite[0]), 1e-3)):
        return  # numbers broke for another reason
    if not overflowed and not (jumps and _gets_nowhere(finite)) and not _diverges(finite):
        return
    if _thrown_up(observation, curve, steps):
        return  # NW504 names the cause
    lr = max(max(step.lr) for step in steps)
    worst = max(high, key=lambda uid: high[uid]) if high else None
    first = finite[0]
    seen_at = next((step for step, value in curve if not value < 1.5 * max(first, 1e-3)), steps[-1].step)
    yield evidence(
        observation,
        optimizer.place or optimizer.step_place,
        seen={
            "first_loss": values[0],
            "later_loss": values[-1],
            "update_over_weight": round(high[worst], 4) if worst else None,
            "lr": lr,
        },
        expected={"later_loss": f"below {values[0]:.3g}", "update_over_weight": "around 0.001, below 0.1"},
        layer=observation.parameters[int(worst)].module if worst else -1,
        step=seen_at,
        title=f"learning rate {lr:g} is too high: the loss "
        + (
            f"went from {values[0]:.3g} to {values[-1]:.3g}"
            if overflowed or values[-1] > 0.9 * first
            else f"went up to {max(finite):.3g} from {first:.3g}, and each step changes the weights by a large share"
        ),
        harm="measured",
    )


def _ratios(observation: Observation, steps: list[Step], *, after: int = 5) -> dict[str, list[float]]:
    """Returns update over weight of each matrix, from at least five steps."""
    found: dict[str, list[float]] = {}
    for step in steps:
        if step.step < after:
            continue
        for uid, ratio in step.ratios.items():
            if len(observation.parameters[int(uid)].shape) >= 2 and math.isfinite(ratio):
                found.setdefault(uid, []).append(ratio)
    return {uid: entries for uid, entries in found.items() if len(entries) >= 5}


def _gets_nowhere(values: list[float]) -> bool:
    """Returns whether the loss ends where it began, was thrown up on the way, or has stopped falling early."""
    quarter = max(5, len(values) // 4)
    first, last = values[0], mean(values[-quarter:])
    if first <= 0 or min(values) < 0:
        return False  # an objective that is not bounded below: its value says nothing
    if last > 0.9 * first or (last > 0.4 * first and max(values[:50]) > 2.5 * first):
        return True
    return len(values) >= 80 and last > 0.5 * first and last > 0.97 * mean(values[-2 * quarter : -quarter])


def _diverges(values: list[float]) -> bool:
    """Returns whether the loss ends far above where it began, and all the higher the later."""
    first, last = mean(values[:3]), mean(values[-5:])
    middle = mean(values[len(values) // 3 : len(values) // 3 + 5])
    return min(values) >= 0 and last > 100 * max(first, 1e-3) and last > 3 * middle


def _thrown_up(observation: Observation, curve: list[tuple[int, float]], steps: list[Step]) -> bool:
    """Returns whether all went well, with steps of a normal size, until a single batch had a loss far above all others."""
    values = [value for _, value in curve]
    for at in range(10, len(values) - 5):
        usual = median(values[max(0, at - 20) : at])
        if not math.isfinite(values[at]):
            return False
        if values[at] < 20 * max(usual, 1e-6):
            continue
        early = [step for step in steps if step.step < curve[at][0]]
        begun = _ratios(observation, early) or _ratios(observation, early, after=0)
        ratios = [median(found) for found in begun.values()]
        calm = bool(ratios) and max(ratios) < _RATIO and max(values[:at]) < 2.5 * max(values[0], usual)
        return calm and not median(values[at + 1 : at + 6]) > 0.2 * values[at]
    return False


def _targets_moved(observation: Observation) -> bool:
    """Returns whether the targets of a regression grew while it went on (values of reinforcement learning)."""
    sizes = [
        math.hypot(loss.target.mean, loss.target.std)
        for loss in observation.losses
        if loss.target is not None and loss.grad_enabled and loss.target.finite == 1 and not loss.integral
    ]
    return len(sizes) >= 10 and mean(sizes[-5:]) > 3 * mean(sizes[:5])


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
labels = (inputs[:, 0] > 0).long() + 2 * (inputs[:, 1] > 0).long()
network = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.{optimizer}
for step in range(120):
    optimizer.zero_grad()
    loss = F.cross_entropy(network(inputs), labels)
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{optimizer}", "SGD(network.parameters(), lr=10.0)")
good = _PROGRAM.replace("{optimizer}", "SGD(network.parameters(), lr=0.1)")
near_miss = _PROGRAM.replace("{optimizer}", "Adam(network.parameters(), lr=3e-2)")
