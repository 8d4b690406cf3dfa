"""NW511: weight decay outweighs the gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median

from netwright.examine.observation import Observation, Step
from netwright.examine.rules import NotObserved, evidence
from netwright.examine.rules.curves import ends, finite_curve, steps_of, whole_norm
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW511",
    slug="weight-decay-kills",
    level="warning",
    by="100",
    title="weight decay outweighs the gradient: the weights shrink to 0",
    what="In each step the term of the weight decay is larger than the gradient of the loss; the weights shrink, and the loss "
    "does not fall.",
    why="The optimizer minimises the size of the weights instead of the loss. The network ends up giving the same answer to "
    "every input.",
    fix="Lower weight_decay: 1e-4 to 1e-2 is usual, with AdamW up to 0.1.",
    example="torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=1.0)    # wrong\n"
    "torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=1e-4)   # right",
    limits="Needs 20 steps. Three things must come together: the decay is larger than the gradient in most steps, the weights "
    "have lost a quarter of their size, and the loss has not fallen by a tenth.",
    explains=frozenset({"NW502", "NW503", "NW512", "NW403"}),
)
_DECOUPLED = ("AdamW",)


def check(observation: Observation) -> Iterator[Evidence]:
    if observation.step_count < 20:
        raise NotObserved("fewer than 20 optimizer steps")
    values = finite_curve(observation)
    for optimizer in observation.optimizers:
        decay = min((float(group.get("weight_decay") or 0.0) for group in optimizer.groups), default=0.0)
        steps = steps_of(observation, optimizer)
        if decay <= 0 or len(steps) < 10 or len(values) < 20:
            continue
        decoupled = optimizer.cls in _DECOUPLED or any(
            group.get("decoupled_weight_decay") for group in optimizer.groups
        )
        matrices = [uid for uid in optimizer.parameters if len(observation.parameters[uid].shape) > 1]
        shares = [
            _share(observation, step, matrices, decay, decoupled)
            for step in steps[: max(10, len(steps) // 2)]
        ]
        known = [share for share in shares if share is not None]
        left = _left(observation, steps, matrices)
        began, now = ends(values)
        if (
            not known
            or left is None
            or left > 0.75
            or now < 0.9 * began
            or median(known) < (0.5 if decoupled else 2.0)
        ):
            continue
        rate = max(steps[-1].lr)
        yield evidence(
            observation,
            optimizer.place or optimizer.step_place,
            seen={
                "decay_over_update" if decoupled else "decay_over_gradient": median(known),
                "weights_left": left,
                "weight_decay": decay,
                "loss_at_first": began,
                "loss_later": now,
            },
            expected={"decay_over_update" if decoupled else "decay_over_gradient": "well below 1"},
            step=steps[0].step,
            title=f"weight_decay={decay:g} outweighs the gradient: after {steps[-1].step} steps the weights have "
            f"{100 * left:.0f} % of their size (lr {rate:g}), and the loss has not fallen",
            harm="measured",
        )


def _share(
    observation: Observation, step: Step, matrices: list[int], decay: float, decoupled: bool
) -> float | None:
    """Returns the decay over the gradient, or over the update where the optimizer decays apart from the gradient."""
    term = other = 0.0
    rate = max(step.lr, default=0.0)
    for uid in matrices:
        size = step.gradients.get(str(uid), 0.0)
        norm = whole_norm(observation, step, uid)
        if size <= 0 or not math.isfinite(size) or not norm > 0:
            continue
        term += (decay * norm * (rate if decoupled else 1.0)) ** 2
        other += (step.ratios.get(str(uid), 0.0) * norm if decoupled else size) ** 2
    if not term:
        return None
    # What the gradient holds includes the decay in none of PyTorch's optimizers: it is added inside of the step.
    return math.sqrt(term / other) if other else math.inf


def _left(observation: Observation, steps: list[Step], matrices: list[int]) -> float | None:
    """Returns what is left of the size of the weights."""
    sizes = [
        math.sqrt(
            sum(norm**2 for uid in matrices if math.isfinite(norm := whole_norm(observation, step, uid)))
        )
        for step in (steps[0], steps[-1])
    ]
    return sizes[1] / sizes[0] if sizes[0] > 0 else None


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs = torch.randn(256, 10)
labels = (inputs[:, 0] > 0).long() + 2 * (inputs[:, 1] > 0).long()
network = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.{optimizer}
for step in range(110):
    picked = torch.randint(0, 256, (64,))
    loss = F.cross_entropy(network(inputs[picked]), labels[picked])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{optimizer}", "SGD(network.parameters(), lr=0.05, weight_decay=1.0)")
good = _PROGRAM.replace("{optimizer}", "SGD(network.parameters(), lr=0.05, weight_decay=1e-4)")
near_miss = _PROGRAM.replace("{optimizer}", "AdamW(network.parameters(), lr=3e-3, weight_decay=1.0)")
