"""NW506: the optimizer holds parameters that are no longer the model's."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Observation
from netwright.examine.rules import NotObserved, evidence
from netwright.examine.rules.nw505_parameter_not_optimized import orphans, strangers, successions
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW506",
    slug="stale-optimizer",
    level="error",
    by="step",
    title="the optimizer holds parameters that the network no longer has",
    what="The optimizer was made before the network (or a part of it) was replaced: it holds the old tensors.",
    why="The tensors that run get gradients and never change; the optimizer changes tensors that nobody uses.",
    fix="Make the optimizer after the network is complete, or add the new part with optimizer.add_param_group.",
    example="optimizer = torch.optim.Adam(net.parameters())\nnet.head = nn.Linear(64, 5)      # wrong: made too late\n\n"
    "net.head = nn.Linear(64, 5)\noptimizer = torch.optim.Adam(net.parameters())      # right",
    limits="Needs both: tensors in the optimizer that nothing uses, and parameters that get gradients and are in no optimizer.",
    explains=frozenset({"NW505", "NW507", "NW502", "NW605"}),
)


def check(observation: Observation) -> Iterator[Evidence]:
    if not observation.steps:
        raise NotObserved("no optimizer step was seen")
    without = orphans(observation)
    for optimizer in observation.optimizers:
        lost = without or [new for _, new in successions(observation, optimizer)]
        if not lost:
            continue
        stale = strangers(observation, optimizer)
        if not stale or not optimizer.steps:
            continue
        first = observation.parameters[lost[0]]
        yield evidence(
            observation,
            optimizer.place or optimizer.step_place,
            seen={
                "stale_parameters": len(stale),
                "parameters_without_optimizer": len(lost),
                "first": first.name,
            },
            expected={"stale_parameters": 0, "parameters_without_optimizer": 0},
            also=[observation.modules[first.module].place, first.written, optimizer.step_place],
            layer=first.module,
            step=min((step.step for step in observation.steps if step.optimizer == optimizer.uid), default=0),
            title=f"the optimizer holds {len(stale)} parameter(s) that nothing uses; {len(lost)} that run are in no optimizer",
        )


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
network = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
{order}
for step in range(6):
    optimizer.zero_grad()
    loss = F.cross_entropy(network(inputs), labels)
    loss.backward()
    optimizer.step()
"""
_MADE = "optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)"
bad = _PROGRAM.replace("{order}", _MADE + "\nnetwork[2] = nn.Linear(32, 4)")
good = _PROGRAM.replace("{order}", "network[2] = nn.Linear(32, 4)\n" + _MADE)
near_miss = _PROGRAM.replace(
    "{order}",
    "import copy\n\naverage = copy.deepcopy(network)\nspare = nn.Linear(3, 3)\n"
    "optimizer = torch.optim.Adam([*network.parameters(), *spare.parameters()], lr=1e-3)",
).replace(
    "    optimizer.step()\n",
    "    optimizer.step()\n    with torch.no_grad():\n        for old, new in zip(average.parameters(), network.parameters()):\n"
    "            old.lerp_(new, 0.01)\n",
)
