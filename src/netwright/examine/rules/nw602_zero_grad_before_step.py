"""NW602: gradients cleared between backward and step."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Observation
from netwright.examine.rules import NotObserved, evidence
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW602",
    slug="zero-grad-before-step",
    level="error",
    by="step",
    title="the gradients are cleared after backward and before the step, which then changes nothing",
    what="zero_grad() stands between backward() and step().",
    why="The step finds no gradients. Nothing is learned (weight decay and momentum may still move the weights).",
    fix="Clear the gradients before backward, or after the step.",
    example="loss.backward(); optimizer.zero_grad(); optimizer.step()     # wrong\n"
    "optimizer.zero_grad(); loss.backward(); optimizer.step()     # right",
    limits="Reports only if it is so in every step that was watched.",
    explains=frozenset({"NW502", "NW507", "NW512", "NW603"}),
)


def check(observation: Observation) -> Iterator[Evidence]:
    if not observation.steps:
        raise NotObserved("no optimizer step was seen")
    for optimizer in observation.optimizers:
        mine = [step for step in observation.steps if step.optimizer == optimizer.uid]
        mine = mine[
            max((at + 1 for at, step in enumerate(mine) if step.held), default=0) :
        ]  # since it last had any
        if not mine or (len(mine) < 2 and mine[0].step):
            continue
        held = {str(uid) for uid in optimizer.parameters}
        last = max((step.order for step in observation.steps if step.order < mine[0].order), default=0)
        before = 0
        emptied = []
        for step in mine:
            filled = [
                entry
                for entry in observation.backwards
                if max(before, last) < entry.order < step.order
                and entry.step >= step.step - len(observation.optimizers)  # not of an earlier phase
                and any(size > 0 for uid, size in entry.gradients.items() if uid in held)
            ]
            if filled:
                emptied.append((filled[-1], step))
            before = step.order
        if len(emptied) < len(mine):
            continue
        backward, step = emptied[0]
        cleared = next(
            (
                event
                for event in observation.of_kind("zero_grad")
                if backward.order < event.order < step.order
            ),
            None,
        )
        yield evidence(
            observation,
            cleared.place if cleared is not None else step.place,
            seen={"gradients_after_backward": len(backward.gradients), "gradients_at_step": 0},
            expected={"gradients_at_step": len(backward.gradients)},
            also=[cleared.caller] if cleared is not None else [],
            step=step.step,
            harm="measured",
        )


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
network = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(6):
    loss = F.cross_entropy(network(inputs), labels)
{order}"""
bad = _PROGRAM.replace("{order}", "    loss.backward()\n    optimizer.zero_grad()\n    optimizer.step()\n")
good = _PROGRAM.replace("{order}", "    optimizer.zero_grad()\n    loss.backward()\n    optimizer.step()\n")
near_miss = _PROGRAM.replace(
    "{order}",
    "    loss.backward()\n    if step == 2:\n        optimizer.zero_grad()\n    optimizer.step()\n    network.zero_grad()\n",
)
