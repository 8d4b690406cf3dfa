"""NW507: no parameter of the optimizer can change."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Observation, Optimizer, Step
from netwright.examine.rules import NotObserved, evidence
from netwright.examine.rules.nw505_parameter_not_optimized import orphans, strangers
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW507",
    slug="optimizer-frozen",
    level="error",
    by="step",
    title="nothing in the optimizer trains: its parameters are frozen or get no gradient",
    what="At its step, no parameter of the optimizer has a gradient: all have requires_grad=False, or the loss does not reach "
    "them.",
    why="The step changes nothing. The program runs through its epochs and ends with the network that it began with.",
    fix="Give the optimizer the parameters that are to be trained, and unfreeze them.",
    example="for p in net.parameters(): p.requires_grad = False\ntorch.optim.Adam(net.parameters())           # wrong\n"
    "for p in net.head.parameters(): p.requires_grad = True\ntorch.optim.Adam(net.head.parameters())      # right",
    limits="With several optimizers (alternating training) it waits for three steps of the one in question.",
    explains=frozenset({"NW505", "NW605", "NW604", "NW502", "NW512", "NW302"}),
)


def check(observation: Observation) -> Iterator[Evidence]:
    if not observation.steps and not any(record.raised for record in observation.backwards):
        raise NotObserved("no optimizer step was seen")
    for optimizer in observation.optimizers:
        steps = [step for step in observation.steps if step.optimizer == optimizer.uid]
        mine = [step for step in steps if step.backwards]  # not where the backward runs inside the step
        frozen = all(not observation.parameters[uid].requires_grad for uid in optimizer.parameters)
        crashed = frozen and any("does not require grad" in record.raised for record in observation.backwards)
        alone = len(observation.optimizers) == 1 or _took_over(observation, optimizer, mine)
        enough = 3 if not alone and observation.ended == "" else 1
        if not crashed and (len(mine) < enough or any(step.held or step.zero for step in steps)):
            continue
        if not alone and observation.ended and len(mine) < 3 and not crashed:
            continue
        if orphans(observation) and strangers(observation, optimizer):
            continue  # NW506 names the cause
        if not frozen and _cut(observation):
            continue  # NW604 and NW605 name the cause
        count = len(optimizer.parameters)
        yield evidence(
            observation,
            optimizer.place or optimizer.step_place,
            seen={"parameters": count, "frozen": mine[0].frozen if mine else count, "with_gradient": 0},
            expected={"with_gradient": f"at least 1 of {count}"},
            step=mine[0].step if mine else 0,
            title=f"none of the {count} parameters in the optimizer "
            + ("is trainable" if frozen else "gets a gradient"),
            harm="measured",
        )


def _took_over(observation: Observation, optimizer: Optimizer, mine: list[Step]) -> bool:
    """Returns whether no other optimizer has stepped since this one began: a second stage, no alternating training."""
    others = [step.order for step in observation.steps if step.optimizer != optimizer.uid]
    return len(mine) > 1 and optimizer.steps >= 10 and bool(others) and max(others) < mine[0].order


def _cut(observation: Observation) -> bool:
    """Returns whether the loss has no graph at all, which another rule explains."""
    return bool(observation.backwards) and all(record.leaf for record in observation.backwards)


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
body, head = nn.Sequential(nn.Linear(20, 16), nn.ReLU()), nn.Linear(16, 4)
for parameter in body.parameters():
    parameter.requires_grad = False
optimizer = torch.optim.SGD({parameters}, lr=0.1)
for step in range(6):
    optimizer.zero_grad()
    loss = F.cross_entropy(head(body(inputs)), labels)
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{parameters}", "body.parameters()")
good = _PROGRAM.replace("{parameters}", "head.parameters()")
near_miss = _PROGRAM.replace("{parameters}", "[*body.parameters(), *head.parameters()]")
