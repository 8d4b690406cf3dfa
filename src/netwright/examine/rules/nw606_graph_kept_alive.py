"""NW606: the graphs of past steps are kept alive."""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterator

from netwright.examine.observation import Kept, Observation, Place
from netwright.examine.rules import NotObserved, evidence, rewrite
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW606",
    slug="graph-kept-alive",
    level="warning",
    by="100",
    title="the graphs of past steps are kept: memory grows with every step",
    what="A loss or an output is added up or stored as it is, with the graph that leads to it. As long as the sum or the list "
    "lives, so do the graphs of all these steps.",
    why="Memory grows with every step until the program is killed, often only after hours. Each step also leaves more objects "
    "behind than it needs, which slows Python down.",
    fix="Store numbers, not tensors that take part in a graph: loss.item() for a single number, output.detach() for more.",
    example="total += loss            # wrong\ntotal += loss.item()     # right",
    limits="Counts the steps, at least three ago, of whose graph something is still alive after Python's garbage was collected; "
    "four are needed. Losses of an evaluation with graphs are not counted (NW803).",
)
_LEAST = 4


def check(observation: Observation) -> Iterator[Evidence]:
    if observation.step_count < 8 and not observation.kept:
        raise NotObserved("fewer than 8 optimizer steps")
    kept = [
        entry
        for entry in observation.kept
        if entry.graphs >= _LEAST and (entry.name or 2 * entry.graphs >= entry.steps)
    ]
    if not kept:
        return
    found = max(kept, key=lambda entry: (bool(entry.name), entry.graphs))
    place = _growing(found) or _added(observation)
    if place is None and found.graphs < 2 * _LEAST:
        return
    backward = next((entry.place for entry in reversed(observation.backwards)), None)
    what = f"`{found.name}` keeps" if found.name else "something keeps"
    yield evidence(
        observation,
        place or backward,
        seen={"graphs_alive": found.graphs, "after_steps": found.step, "kept_in": found.name or "unknown"},
        expected={"graphs_alive": 0},
        step=kept[0].step,
        title=f"{what} the graphs of {found.graphs} past steps: memory grows with every step",
        diff=rewrite(place, lambda line: _without_graph(line, found))
        if place is not None and found.name
        else "",
        harm="measured",
    )


def _growing(kept: Kept) -> Place | None:
    """Returns the line that makes the variable grow."""
    if not kept.name or kept.place is None:
        return None
    parts = [re.escape(part) for part in re.split(r"\.|\[.*?\]", kept.name) if part]
    own = f"self\\.{parts[1]}" if len(parts) > 1 else parts[0]
    name = rf"(?:\b{own}|\.{parts[-1]})\b" if len(parts) > 1 else rf"(?<![\w.]){own}\b"
    key = r"(?:\[[^\]]*\])*"
    grow = rf"{name}{key}\s*(?:\.(?:append|appendleft|extend|add|insert|update|setdefault)\(|\+=|-=)"
    again = rf"^\s*{name}{key}\s*=.*{name}"
    lines = linecache.getlines(kept.place.file)
    for pattern in (grow, again, rf"{name}\[[^\]]*\]\s*=[^=]"):
        for number, line in enumerate(lines[kept.place.line - 1 :], kept.place.line):
            if re.search(pattern, line.split("#")[0]):
                return Place(kept.place.file, number, kept.place.function)
    return None


def _added(observation: Observation) -> Place | None:
    """Returns the line of an operation outside of the network that takes a result of an earlier step."""
    for op in observation.ops:
        if op.module < 0 and op.grad and op.name in ("add", "sub", "cat", "stack", "maximum", "lerp"):
            made = [observation.ops[entry.op].step for entry in op.inputs if entry.op >= 0 and entry.grad]
            if len(made) == len(op.inputs) and made and min(made) < max(made):
                return op.place
    return None


def _without_graph(line: str, kept: Kept) -> str | None:
    ending = ".item()" if kept.scalar else ".detach()"
    found = re.match(r"^(.*(?:\+=|\.append\()\s*)([A-Za-z_][\w.]*)(\)?\s*(?:#.*)?)$", line)
    return f"{found[1]}{found[2]}{ending}{found[3]}" if found else None


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, targets = torch.randn(320, 6), torch.randn(320, 1)


def train(network, epochs):
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for epoch in range(epochs):
        running = 0.0
        for start in range(0, 320, 16):
            optimizer.zero_grad()
            error = F.mse_loss(network(inputs[start : start + 16]), targets[start : start + 16])
            error.backward()
            optimizer.step()
            running += {error}
        print(epoch, float(running) / 20)


train(nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1)), 2)
"""
bad = _PROGRAM.replace("{error}", "error")
good = _PROGRAM.replace("{error}", "error.item()")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, targets = torch.randn(160, 5, 6), torch.randn(160, 5, 1)
network = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
history = []
for step in range(40):
    total, parts = 0.0, []
    for time in range(5):
        part = F.mse_loss(network(inputs[step * 4 : step * 4 + 4, time]), targets[step * 4 : step * 4 + 4, time])
        parts.append(part)
        total += part
    optimizer.zero_grad()
    total.backward()
    optimizer.step()
    history.append(total.detach())
"""
