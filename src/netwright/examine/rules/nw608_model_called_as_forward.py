"""NW608: model.forward(x) in place of model(x)."""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterator

from netwright.examine.observation import Observation, Place
from netwright.examine.rules import NotObserved, evidence, rewrite
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW608",
    slug="model-called-as-forward",
    level="advice",
    by="forward",
    title="the network is called as model.forward(x): hooks are passed over",
    what="The training calls the forward method itself, outside of any other network, instead of the network.",
    why="Calling the network runs what is attached to it: hooks, spectral or weight normalisation, pruning, compiled and "
    "distributed wrappers. Calling forward runs none of it, without a word.",
    fix="Call the network: model(x).",
    example="outputs = model.forward(x)   # wrong\noutputs = model(x)           # right",
    limits="Sees the call on the line that leads to the first operations, in the first steps. Silent on self.forward and "
    "super().forward, and on calls from within another network's forward.",
)
_CALL = re.compile(r"(?<![\w.])(?!self\.forward|super\(\))([A-Za-z_][\w.\[\]]*)\.forward\(")


def check(observation: Observation) -> Iterator[Evidence]:
    if not observation.ops:
        raise NotObserved("no operation was traced")
    seen: set[Place] = set()
    for op in observation.ops:
        if op.step > 2:
            break
        # The stack of modules holds nothing above the one that ran this operation: it was not called by another.
        if op.module >= 0 and observation.modules[op.module].root != op.module:
            continue
        for place in (op.caller, op.place):
            if place is None or place in seen or place.function == "forward":
                continue
            seen.add(place)
            inner = place is op.caller
            if inner and (op.place is None or op.place.function != "forward"):
                continue
            call = _CALL.search(linecache.getline(place.file, place.line).split("#")[0])
            if call is None or (inner and not _method(op.place)):
                continue
            yield evidence(
                observation,
                place,
                seen={"called": f"{call[1]}.forward(...)"},
                expected={"called": f"{call[1]}(...)"},
                step=op.step,
                diff=rewrite(
                    place,
                    lambda line: line.replace(".forward(", "(") if line.count(".forward(") == 1 else None,
                ),
                harm="possible",
            )
            return


def _method(place: Place | None) -> bool:
    """Returns whether a line stands in a `def forward(self, ...)`, not in a function of that name."""
    lines = linecache.getlines(place.file) if place is not None else []
    for number in range(min(place.line, len(lines)) - 1 if place is not None else -1, -1, -1):
        found = re.match(r"\s*def forward\(\s*(\w*)", lines[number])
        if found:
            return found[1] in ("self", "")
    return False


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, targets = torch.randn(128, 8), torch.randn(128, 1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.Tanh())
        self.head = nn.Linear(16, 1)

    def forward(self, x):
        return self.head({body})


network = Net()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(4):
    outputs = {call}
    loss = F.mse_loss(outputs, targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{call}", "network.forward(inputs)").replace("{body}", "self.body(x)")
good = _PROGRAM.replace("{call}", "network(inputs)").replace("{body}", "self.body(x)")
near_miss = _PROGRAM.replace("{call}", "network(inputs)").replace("{body}", "self.body.forward(x)")
