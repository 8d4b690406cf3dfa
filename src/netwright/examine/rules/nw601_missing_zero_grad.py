"""NW601: gradients pile up over steps."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Backward, Observation
from netwright.examine.rules import NotObserved, evidence
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW601",
    slug="missing-zero-grad",
    level="error",
    by="2",
    title="gradients are never cleared: each step uses the sum of all gradients since the beginning",
    what="A backward adds its gradients to those that the last step has already used, and the next step uses the sum.",
    why="Each step follows the sum of all gradients so far, of weights that are long gone. It works like a momentum that "
    "never fades: training is slow, overshoots or diverges.",
    fix="Call optimizer.zero_grad() once for every optimizer.step(), before the backward.",
    example="loss.backward(); optimizer.step()                            # wrong\n"
    "optimizer.zero_grad(); loss.backward(); optimizer.step()     # right",
    limits="Gradient accumulation (several backwards, one step, then cleared) is no fault; LBFGS is left out.",
    explains=frozenset({"NW501", "NW504", "NW607", "NW701"}),
)


def check(observation: Observation) -> Iterator[Evidence]:
    for step in observation.steps:
        cls = observation.optimizers[step.optimizer].cls
        if cls == "LBFGS" or not step.held or step.piled < step.held / 2 or not step.backwards:
            continue
        backward = next(
            (entry for entry in reversed(observation.backwards) if entry.order < step.order), None
        )
        yield evidence(
            observation,
            (backward.place if backward is not None else None) or step.place,
            seen={"parameters_with_used_gradients": step.piled, "of": step.held},
            expected={"parameters_with_used_gradients": 0},
            step=step.step,
            harm="measured",
        )
        return
    inside = _inside(observation)
    if inside is not None:
        yield evidence(
            observation,
            inside.place,
            seen={"parameters_with_used_gradients": inside.piled, "of": inside.before},
            expected={"parameters_with_used_gradients": 0},
            step=inside.step,
            harm="measured",
        )
        return
    by_hand = [
        entry
        for entry in observation.backwards
        if entry.moved and entry.piled and entry.piled == entry.before
    ]
    if not observation.step_count and len(by_hand) >= 2:
        yield evidence(
            observation,
            by_hand[0].place,
            seen={"parameters_with_used_gradients": by_hand[0].piled, "of": by_hand[0].before},
            expected={"parameters_with_used_gradients": 0},
            step=by_hand[0].step,
        )
    if not observation.steps and not observation.backwards:
        raise NotObserved("no optimizer step was seen")


def _inside(observation: Observation) -> Backward | None:
    """Returns the first backward in a closure that found gradients which a step had used, if two steps in a row have one."""
    if any(optimizer.cls == "LBFGS" for optimizer in observation.optimizers):
        return None
    first: dict[int, Backward] = {}
    for record in observation.backwards:
        if record.inside_step:
            first.setdefault(record.step, record)
    for step, record in first.items():
        after = first.get(step + 1)
        if (
            after is not None
            and record.piled
            and record.piled == record.before
            and after.piled == after.before
        ):
            return record
    return None


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
network = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
for step in range(8):
    loss = F.cross_entropy(network(inputs[step * 16 : step * 16 + 16]), labels[step * 16 : step * 16 + 16])
    loss.backward(){after}
"""
bad = _PROGRAM.replace("{after}", "\n    optimizer.step()")
good = _PROGRAM.replace("{after}", "\n    optimizer.step()\n    optimizer.zero_grad()")
near_miss = _PROGRAM.replace(
    "{after}",
    "\n    if step % 4 == 3:\n        optimizer.step()\n        for parameter in network.parameters():\n"
    "            parameter.grad.zero_()",
)
