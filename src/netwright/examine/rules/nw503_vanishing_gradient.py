"""NW503: gradients vanish on their way to the first layers."""

from __future__ import annotations

import math
from collections.abc import Iterator

from netwright.examine.observation import Observation, Op, Place
from netwright.examine.rules import NotObserved, evidence
from netwright.examine.rules.curves import ends, finite_curve, medians, steps_of, weights
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW503",
    slug="vanishing-gradient",
    level="warning",
    by="100",
    title="gradients vanish on their way to the first layers",
    what="From layer to layer toward the input the gradients shrink, by a factor of a thousand and more in total, and the loss "
    "hardly falls.",
    why="The first layers stay what they were at random, and the last ones have to work with what comes out of them. A deeper "
    "network then does worse than a shallow one.",
    fix="Use ReLU or GELU in place of sigmoid and tanh between the layers, initialise for that activation, add BatchNorm or "
    "LayerNorm, or residual connections.",
    example="nn.Linear(64, 64), nn.Sigmoid(), ...   # wrong, eight times over\nnn.Linear(64, 64), nn.ReLU(), ...      # right",
    limits="Compares gradient over weight of at least four layers in the order in which they run. Silent while the loss falls "
    "well, and on layers without gradient at all. Does not see the way back through the time steps of a recurrent layer.",
    explains=frozenset({"NW502", "NW512"}),
)
_SHRINK = 1e3
_SQUASHING = frozenset({"sigmoid", "tanh", "softsign", "hardsigmoid", "hardtanh"})


def check(observation: Observation) -> Iterator[Evidence]:
    if observation.step_count < 20:
        raise NotObserved("fewer than 20 optimizer steps")
    values = finite_curve(observation)
    if len(values) < 20:
        raise NotObserved("the loss was not seen often enough")
    order = weights(observation)
    for optimizer in observation.optimizers:
        steps = [step for step in steps_of(observation, optimizer) if step.step >= 2]
        mine = set(optimizer.parameters)
        sizes = medians(observation, steps, [uid for uid in order if uid in mine])
        if len(sizes) < 4 or len(steps) < 5:
            continue
        profile = list(sizes.items())
        first, last = max(size for _, size in profile[:2]), max(size for _, size in profile[-2:])
        shrink = last / first
        began, now = ends(values)
        fell = 1 - now / began if began > 0 else 0.0
        if shrink < _SHRINK or _rank(profile) < 0.7 or fell > (0.9 if shrink > 1e5 else 0.5):
            continue
        layer = observation.modules[observation.parameters[profile[0][0]].module]
        head = observation.modules[observation.parameters[profile[-1][0]].module]
        squashing = _squashing(observation, count=len(profile) // 2)
        yield evidence(
            observation,
            layer if squashing is None else observation.where(squashing),
            layer=layer.uid,
            also=[] if squashing is None else [*_called(observation, squashing), layer.place],
            seen={
                "gradient_over_weight_first_layer": profile[0][1],
                "gradient_over_weight_last_layer": profile[-1][1],
                "loss_at_first": began,
                "loss_later": now,
            },
            expected={"last_over_first": "below 1000"},
            step=steps[0].step,
            title=f"gradients shrink by a factor of {shrink:.0e} over {len(profile)} layers, from "
            f"{head.name or 'the last'} to {layer.name or 'the first'}: the first layers do not learn",
            harm="measured",
        )
        return


def _squashing(observation: Observation, *, count: int) -> Op | None:
    """Returns the latest of the sigmoids and the like that stand between the layers, None if these are fewer than `count`."""
    by_name: dict[str, list[Op]] = {}
    for op in observation.ops:
        if op.name in _SQUASHING and op.grad and op.step == 0:
            by_name.setdefault(op.name, []).append(op)
    most = max(by_name.values(), key=len, default=[])
    return most[-1] if len(most) >= max(2, count) else None


def _called(observation: Observation, op: Op) -> list[Place | None]:
    """Returns the lines on which an activation is called, where it is no layer of PyTorch."""
    return [op.caller] if observation.where(op) == op.place else []


def _rank(profile: list[tuple[int, float]]) -> float:
    """Returns the correlation between depth and the logarithm of the gradient."""
    logs = [math.log(size) for _, size in profile]
    count = len(logs)
    middle, centre = (count - 1) / 2, sum(logs) / count
    cov = sum((index - middle) * (value - centre) for index, value in enumerate(logs))
    spread = math.sqrt(
        sum((index - middle) ** 2 for index in range(count)) * sum((value - centre) ** 2 for value in logs)
    )
    return cov / spread if spread else 0.0


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs = torch.randn(256, 10)
labels = (inputs[:, 0] > 0).long() + 2 * (inputs[:, 1] > 0).long()
layers = [nn.Linear(10, 32), nn.{activation}()]
for _ in range({depth}):
    layers += [nn.Linear(32, 32), nn.{activation}()]
network = nn.Sequential(*layers, nn.Linear(32, 4))
optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
for step in range(110):
    picked = torch.randint(0, 256, (64,))
    loss = F.cross_entropy(network(inputs[picked]), labels[picked])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{activation}", "Sigmoid").replace("{depth}", "6")
good = _PROGRAM.replace("{activation}", "ReLU").replace("{depth}", "1")
near_miss = (
    _PROGRAM.replace("{activation}", "Tanh")
    .replace("{depth}", "4")
    .replace("optimizer = ", "for layer in layers[:4]:\n    layer.requires_grad_(False)\noptimizer = ")
)
