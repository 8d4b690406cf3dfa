"""NW501: the learning rate is too high."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Observation
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
    limits="Needs 20 steps and a loss on a CPU (or sampled). Trend and step size must both show it. Silent on LBFGS.",
    explains=frozenset({"NW403", "NW404", "NW504", "NW701", "NW512", "NW111"}),
)
_RATIO = 0.1


def check(observation: Observation) -> Iterator[Evidence]:
    import math
    from statistics import mean, median

    if observation.step_count < 20:
        raise NotObserved("fewer than 20 optimizer steps")
    curve = [value for _, value in observation.curve[:400]]
    for optimizer in observation.optimizers:
        if optimizer.cls == "LBFGS" or len(observation.optimizers) > 1:
            continue
        ratios: dict[str, list[float]] = {}
        for step in observation.steps:
            if step.optimizer == optimizer.uid and step.step >= 5:
                for uid, ratio in step.ratios.items():
                    if len(observation.parameters[int(uid)].shape) >= 2 and math.isfinite(ratio):
                        ratios.setdefault(uid, []).append(ratio)
        high = {
            uid: median(found) for uid, found in ratios.items() if len(found) >= 5 and median(found) > _RATIO
        }
        blown = any(not math.isfinite(value) for value in curve) or (
            len(curve) >= 20 and mean(curve[-5:]) > 20 * max(abs(curve[0]), 1e-3)
        )
        if len(curve) < 20 or not (high or blown) or (not blown and len(high) < max(1, len(ratios) / 3)):
            continue
        finite = [value for value in curve if math.isfinite(value)]
        quarter = max(5, len(finite) // 4)
        if not blown and (len(finite) < 20 or mean(finite[-quarter:]) <= 0.9 * finite[0]):
            continue  # it learns all the same
        lr = max(max(step.lr) for step in observation.steps if step.optimizer == optimizer.uid)
        worst = max(high, key=lambda uid: high[uid]) if high else None
        yield evidence(
            observation,
            optimizer.place or optimizer.step_place,
            seen={
                "first_loss": curve[0],
                "later_loss": curve[-1],
                "update_over_weight": round(high[worst], 4) if worst else None,
                "lr": lr,
            },
            expected={"later_loss": f"below {curve[0]:.3g}", "update_over_weight": "around 0.001, below 0.1"},
            layer=observation.parameters[int(worst)].module if worst else -1,
            step=next((step for step, value in observation.curve if not math.isfinite(value)), 20),
            title=f"learning rate {lr:g} is too high: the loss went from {curve[0]:.3g} to {curve[-1]:.3g}",
            harm="measured",
        )


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
bad = _PROGRAM.replace("{optimizer}", "SGD(network.parameters(), lr=300.0)")
good = _PROGRAM.replace("{optimizer}", "SGD(network.parameters(), lr=0.1)")
near_miss = _PROGRAM.replace("{optimizer}", "Adam(network.parameters(), lr=3e-2)")
