"""NW609: retain_graph=True without need."""

from __future__ import annotations

import re
from collections.abc import Iterator

from netwright.examine.observation import Backward, Observation
from netwright.examine.rules import NotObserved, evidence, rewrite
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW609",
    slug="retain-graph-misused",
    level="advice",
    by="100",
    title="retain_graph=True on a backward whose graph is never used again",
    what="The backward keeps all intermediate results of the graph, and no later backward goes through any part of it.",
    why="What is kept costs memory until the last variable of the step goes out of scope. It also hides mistakes: a state "
    "carried from step to step by accident raises an error without it, and makes each step slower with it.",
    fix="Leave retain_graph out; set it only on a backward after which another one goes through the same graph.",
    example="loss.backward(retain_graph=True)   # wrong, for one loss\nloss.backward()                    # right",
    limits="Judged on the first three steps, whose graphs are compared. Silent with create_graph, torch.autograd.grad, and where "
    "another loss shares a part of the graph.",
)


def check(observation: Observation) -> Iterator[Evidence]:
    if observation.step_count < 2 and not observation.ended:
        raise NotObserved("fewer than two optimizer steps")
    used = {entry.shares for entry in observation.backwards if entry.shares >= 0}
    places: dict[object, list[Backward]] = {}
    for entry in observation.backwards:
        if entry.retain_graph and entry.step < 3 and entry.root and not entry.inside_step:
            places.setdefault(entry.place, []).append(entry)
    for entries in places.values():
        place = entries[0].place
        without = len(entries) < 2 or any(entry.order in used or entry.create_graph for entry in entries)
        if without or place is None or observation.counts.get("grad"):
            continue
        if any(entry.shares >= 0 for entry in entries):
            continue
        yield evidence(
            observation,
            place,
            seen={"backwards_with_retain_graph": len(entries), "later_backwards_through_their_graph": 0},
            expected={"later_backwards_through_their_graph": "at least 1"},
            step=entries[1].step,
            diff=rewrite(place, lambda line: re.sub(r",?\s*retain_graph\s*=\s*True", "", line)),
            harm="possible",
        )


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, targets = torch.randn(128, 8), torch.randn(128, 1)
network = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(8):
    outputs = network(inputs)
    loss = F.mse_loss(outputs, targets)
    optimizer.zero_grad()
{backward}
    optimizer.step()
"""
bad = _PROGRAM.replace("{backward}", "    loss.backward(retain_graph=True)")
good = _PROGRAM.replace("{backward}", "    loss.backward()")
near_miss = _PROGRAM.replace(
    "{backward}", "    loss.backward(retain_graph=True)\n    (0.01 * outputs.abs().mean()).backward()"
)
