"""NW607: gradients of several batches are added up, not averaged."""

from __future__ import annotations

import re
from collections.abc import Iterator

from netwright.examine.observation import Backward, Loss, Observation
from netwright.examine.rules import NotObserved, evidence, rewrite
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW607",
    slug="accumulation-not-normalised",
    level="advice",
    by="2",
    title="gradients of several batches are added up without dividing by their number",
    what="Several backwards of a mean loss go into one step, and none of them is divided by how many there are.",
    why="The gradient of the step is that many times larger than that of one large batch. With SGD this multiplies the learning "
    "rate; clipping, weight decay and momentum change their balance.",
    fix="Divide the loss by the number of batches per step before its backward.",
    example="loss.backward()                # wrong, four times before optimizer.step()\n(loss / 4).backward()          # right",
    limits="Sees loss functions of PyTorch with reduction='mean' that go straight into the backward, all on one line, the same "
    "number of times before each step. Silent with ignore_index at work, and on sums.",
)


def check(observation: Observation) -> Iterator[Evidence]:
    steps = [step for step in observation.steps if observation.optimizers[step.optimizer].cls != "LBFGS"]
    if len(steps) < 2:
        raise NotObserved("fewer than two optimizer steps")
    if len({step.optimizer for step in steps}) > 1 or steps[0].backwards != steps[1].backwards:
        return
    count, before = steps[0].backwards, 0
    if count < 2:
        return
    for step in steps[:2]:
        mine = [entry for entry in observation.backwards if before < entry.order < step.order]
        before = step.order
        if len(mine) != count or not _summed(observation, mine):
            return
    place = observation.backwards[0].place
    yield evidence(
        observation,
        place,
        seen={"backwards_per_step": count, "divided_by": 1},
        expected={"divided_by": count},
        step=0,
        title=f"each step adds up the gradients of {count} batches: they are {count} times those of their mean",
        diff=rewrite(
            place, lambda line: re.sub(r"\b([A-Za-z_]\w*)\.backward\(\)", rf"(\1 / {count}).backward()", line)
        ),
        harm="possible",
    )


def _summed(observation: Observation, backwards: list[Backward]) -> bool:
    """Returns whether these are backwards of mean losses on one line, one batch after the other."""
    if len({entry.place for entry in backwards}) != 1 or any(
        entry.op < 0 or entry.inside_step for entry in backwards
    ):
        return False
    if (
        any(not entry.before for entry in backwards[1:])
        or backwards[0].before
        or any(entry.shares >= 0 for entry in backwards)
    ):
        return False
    losses = [next((loss for loss in observation.losses if loss.op == entry.op), None) for entry in backwards]
    return all(loss is not None and _mean(loss) for loss in losses) and _alike(
        [loss for loss in losses if loss]
    )


def _mean(loss: Loss) -> bool:
    return loss.options.get("reduction", "mean") == "mean" and not loss.ignored


def _alike(losses: list[Loss]) -> bool:
    """Returns whether the losses are of batches of one kind (not of several tasks, or of the times of a sequence)."""
    return len({(loss.function, loss.prediction_shape[1:], loss.place) for loss in losses}) == 1


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, targets = torch.randn(256, 8), torch.randn(256, 1)
network = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
for number, start in enumerate(range(0, 256, 16)):
    loss = F.mse_loss(network(inputs[start : start + 16]), targets[start : start + 16]{reduction})
    {backward}
    if number % 4 == 3:
        optimizer.step()
        optimizer.zero_grad()
"""
bad = _PROGRAM.replace("{backward}", "loss.backward()").replace("{reduction}", "")
good = _PROGRAM.replace("{backward}", "(loss / 4).backward()").replace("{reduction}", "")
near_miss = _PROGRAM.replace("{backward}", "(loss / 64).backward()").replace(
    "{reduction}", ', reduction="sum"'
)
