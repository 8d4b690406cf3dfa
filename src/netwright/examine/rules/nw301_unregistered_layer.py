"""NW301: a layer kept in a plain list or dict."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Module, Observation, Place
from netwright.examine.overlap import statement_line
from netwright.examine.rules import NotObserved, evidence
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW301",
    slug="unregistered-layer",
    level="error",
    by="step",
    title="a layer that runs is not registered in the module, so it is never trained",
    what="A layer is kept in a plain list, tuple or dict. It runs, but `parameters()`, `to()`, `state_dict()` and `train()` do "
    "not know it.",
    why="The optimizer does not get its parameters, so it stays at its random initialisation; it is not moved to the GPU and "
    "not saved with the model.",
    fix="Keep layers in nn.ModuleList, nn.ModuleDict or nn.Sequential, or as attributes of the module.",
    example="self.blocks = [nn.Linear(8, 8) for _ in range(3)]                  # wrong\n"
    "self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))    # right",
    limits="Silent if the parameters are frozen, get no gradient, or are in an optimizer all the same.",
    explains=frozenset({"NW505", "NW506", "NW302"}),
)


def check(observation: Observation) -> Iterator[Evidence]:
    if not observation.step_count:
        raise NotObserved("no optimizer step was seen")
    optimized = observation.optimized()
    graded = {int(uid) for record in observation.backwards for uid in record.gradients}
    strangers = []
    for module in observation.modules:
        outer = observation.modules[module.root]
        if outer.inside < 0:
            continue
        owner = observation.modules[observation.modules[outer.inside].root]
        trained = any(
            uid in optimized
            for entry in observation.modules
            if entry.root == owner.uid
            for uid in entry.parameters
        )
        lost = [uid for uid in module.parameters if uid in graded and uid not in optimized]
        if lost and trained:
            strangers.append((module, lost))
    if not strangers:
        return
    first = strangers[0][0]
    owner = observation.modules[observation.modules[observation.modules[first.root].inside].root]
    count = sum(len(lost) for _, lost in strangers)
    yield evidence(
        observation,
        first,
        seen={"unregistered_layers": len(strangers), "parameters": count, "in_an_optimizer": 0},
        expected={"unregistered_layers": 0, "in_an_optimizer": count},
        also=[statement_line(first.place), first.built_for, *_calls(observation, first)],
        layer=first.name or f"{owner.cls} (unregistered {first.cls})",
        title=f"{len(strangers)} layer(s) run inside {owner.cls} without being registered in it, and are never trained",
    )


def _calls(observation: Observation, module: Module) -> list[Place | None]:
    """Returns the line of the user's code that called a module first."""
    parts = {entry.uid for entry in observation.modules if entry.root == module.root}
    return [op.place for op in observation.ops if op.module in parts and op.grad][:1]


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(20, 16)
        self.blocks = {blocks}
        self.out = nn.Linear(16, 4)

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = F.relu(block(x))
        return self.out(x)


network = Net()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(6):
    optimizer.zero_grad()
    loss = F.cross_entropy(network(inputs), labels)
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{blocks}", "[nn.Linear(16, 16) for _ in range(2)]")
good = _PROGRAM.replace("{blocks}", "nn.ModuleList([nn.Linear(16, 16) for _ in range(2)])")
near_miss = _PROGRAM.replace(
    "{blocks}", "[nn.Linear(16, 16).requires_grad_(False) for _ in range(2)]  # frozen teacher"
)
