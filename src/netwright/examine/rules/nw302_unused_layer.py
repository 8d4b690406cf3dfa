"""NW302: a registered layer with parameters never takes part."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Module, Observation, Op
from netwright.examine.rules import NotObserved, evidence
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW302",
    slug="unused-layer",
    level="warning",
    by="100",
    title="a layer with parameters never takes part",
    what="A layer is registered and its parameters are in the optimizer, but no forward pass goes through it, or nothing is made of "
    "what comes out of it: its parameters never get a gradient.",
    why="The network is smaller than it looks: forward() forgets the layer, calls another one twice in its place, or forgets "
    "its result (a shortcut that is never added). Its weights stay random, and they count in the size of the model and of its checkpoints.",
    fix="Call the layer in forward(), or remove it from __init__().",
    example="self.conv1 = nn.Conv2d(1, 8, 3); self.conv2 = nn.Conv2d(8, 8, 3)\n"
    "x = self.conv1(x); x = self.out(x)                   # wrong: conv2 is never called\n"
    "x = self.conv2(self.conv1(x)); x = self.out(x)       # right",
    limits="Looks at the first steps and at one in fifty after them; what becomes of a result, it knows from the first three. "
    "Silent on layers that another layer reads, that run in "
    "evaluation, whose neighbours in the same list take turns (experts, random depth), that no optimizer holds, and on parts of "
    "networks that a library built. A layer that only a later phase of the training uses is reported after 100 steps.",
)
_LISTS = ("ModuleList", "ModuleDict")


def check(observation: Observation) -> Iterator[Evidence]:
    if not observation.steps or observation.step_count < 3:
        raise NotObserved("fewer than three optimizer steps")
    if "100" not in observation.moments and observation.ended not in ("end", "exit", "stopped"):
        return
    if not any(step.none_uids for step in observation.steps):
        return
    graded = _graded(observation)
    roots = {
        observation.modules[observation.parameters[uid].module].root
        for uid in graded
        if observation.parameters[uid].module >= 0
    }
    idle = _unused(observation, graded, roots)
    dropped = _dropped(observation, graded, roots)
    unused = idle | dropped
    turns = {uid for step in observation.steps for uid in step.none_uids if uid in graded}
    for module in _topmost(observation, unused):
        if _takes_turns(observation, module, turns) or _built_by_library(observation, module):
            continue
        parts = [entry for entry in unused.values() if _within(module, entry)]
        parameters = [uid for entry in parts for uid in entry.parameters]
        numbers = sum(_count(observation.parameters[uid].shape) for uid in parameters)
        watched = len({step.step for step in observation.steps})
        runs = any(entry.uid in dropped for entry in parts)
        how = (
            "runs, but nothing uses its result: no gradient"
            if runs
            else "never takes part: no gradient and no call"
        )
        yield evidence(
            observation,
            module,
            seen={
                "parameters_without_gradient": len(parameters),
                "numbers": numbers,
                "steps_watched": watched,
            },
            expected={"parameters_without_gradient": 0},
            step=observation.steps[0].step,
            title=f"the layer {module.name} ({module.cls}, {numbers:,} numbers) {how} in {watched} steps",
            harm="possible",
        )


def _graded(observation: Observation) -> set[int]:
    found = {int(uid) for record in observation.backwards for uid in record.gradients}
    for step in observation.steps:
        found.update(int(uid) for uid in step.gradients)
        found.update(step.none_stateful)
    return found


def _unused(observation: Observation, graded: set[int], roots: set[int]) -> dict[int, Module]:
    held = observation.optimized()
    ran = {layer.module for layer in observation.layers} | {entry.module for entry in observation.forwards}
    ran |= {op.module for op in observation.ops}
    read = {
        operand.parameter
        for op in observation.ops
        if op.module >= 0 or not op.inplace
        for operand in op.inputs
        if operand.parameter >= 0 and op.name not in _PREPARING
    }
    return {
        module.uid: module
        for module in observation.modules
        if module.parameters
        and module.root in roots
        and module.uid not in ran
        and all(
            uid in held
            and uid not in graded
            and uid not in read
            and observation.parameters[uid].requires_grad
            for uid in module.parameters
        )
    }


def _dropped(observation: Observation, graded: set[int], roots: set[int]) -> dict[int, Module]:
    """Returns the modules that run, though nothing is made of what comes out of them."""
    held = observation.optimized()
    silent = {
        module.uid: module
        for module in observation.modules
        if module.parameters
        and module.root in roots
        and all(
            uid in held and uid not in graded and observation.parameters[uid].requires_grad
            for uid in module.parameters
        )
    }
    if not silent:
        return {}
    takers: dict[int, list[Op]] = {}
    for op in observation.ops:
        for source in {operand.op for operand in op.inputs if operand.op >= 0}:
            takers.setdefault(source, []).append(op)
    losses = {record.op for record in observation.backwards}
    return {
        uid: module for uid, module in silent.items() if _ends_nowhere(observation, module, takers, losses)
    }


def _ends_nowhere(
    observation: Observation, module: Module, takers: dict[int, list[Op]], losses: set[int]
) -> bool:
    """Returns whether a module's results, and all that is computed from them, stay in graphs that no backward enters."""
    own = set(module.parameters)
    ops = [
        op
        for op in observation.ops
        if (op.module == module.uid or any(operand.parameter in own for operand in op.inputs))
        and op.name not in _PREPARING
        and not op.inplace
    ]
    if len({op.step for op in ops if op.grad}) < 2:
        return False
    reached = list(ops)
    seen = {op.index for op in ops}
    while reached:
        op = reached.pop()
        if op.index in losses:
            return False
        for taker in takers.get(op.index, []):
            if taker.index in seen:
                continue
            if not taker.grad:  # it was read: compared, printed, stored
                return False
            seen.add(taker.index)
            reached.append(taker)
    return True


#: What is done to a parameter before training, outside of any network.
_PREPARING = frozenset(
    """data detach clone to fill zero normal uniform constant copy numpy cpu trunc_normal orthogonal zeros ones eye dirac
    sparse kaiming_normal kaiming_uniform xavier_normal xavier_uniform""".split()  # noqa: SIM905
)


def _topmost(observation: Observation, unused: dict[int, Module]) -> list[Module]:
    """Returns the outermost modules of which no part with parameters is used."""
    named = {(module.root, name): module for module in observation.modules for name in module.names}
    idle: dict[tuple[int, str], bool] = {}
    for module in observation.modules:
        if not module.parameters:
            continue
        for name in module.names:
            while name:
                name = name.rpartition(".")[0]
                idle[module.root, name] = idle.get((module.root, name), True) and module.uid in unused
    found: dict[int, Module] = {}
    for module in unused.values():
        top, name = module, module.name
        while name:
            name = name.rpartition(".")[0]
            above = named.get((module.root, name))
            if not name or above is None or not idle.get((module.root, name)):
                break
            top = above
        found[top.uid] = top
    return [top for top in found.values() if top.name]


def _parent(observation: Observation, module: Module) -> Module | None:
    name = module.name.rpartition(".")[0]
    return next((m for m in observation.modules if m.root == module.root and name in m.names), None)


def _takes_turns(observation: Observation, module: Module, turns: set[int]) -> bool:
    """Returns whether layers beside this one are used in some steps and not in others."""
    parent = _parent(observation, module)
    if parent is None or not turns:
        return False
    start = f"{parent.name}." if parent.name else ""
    listed = parent.cls in _LISTS
    return any(
        uid in turns and (listed or not parent.torch) and entry.name.startswith(start)
        for entry in observation.modules
        if entry.root == module.root
        for uid in entry.parameters
    )


def _built_by_library(observation: Observation, module: Module) -> bool:
    parent = _parent(observation, module)
    if module.place is None:
        return True
    return parent is not None and not parent.torch and parent.place == module.place


def _within(module: Module, entry: Module) -> bool:
    return entry.root == module.root and (
        entry.name == module.name or entry.name.startswith(f"{module.name}.")
    )


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(20, 32)
        self.second = nn.Linear(32, 32)
        self.head = nn.Linear(32, 4)

    def forward(self, x):
        x = F.relu(self.first(x))
        {second}
        return self.head(x)


network = Net()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(12):
    optimizer.zero_grad()
    loss = F.cross_entropy(network(inputs), labels)
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{second}", "x = F.dropout(x, 0.1, self.training)")
good = _PROGRAM.replace("{second}", "x = F.relu(self.second(x))")
near_miss = """
import random

import torch
from torch import nn
from torch.nn import functional as F

random.seed(0)
torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(20, 32)
        self.blocks = nn.ModuleList([nn.Linear(32, 32) for _ in range(6)])
        self.query = nn.Linear(32, 32)  # only its weight is read
        self.head, self.probe = nn.Linear(32, 4), nn.Linear(32, 2)

    def forward(self, x):
        x = self.embed(x) @ self.query.weight + self.query.bias
        for block in random.sample(list(self.blocks), 1):
            x = x + F.gelu(block(x))
        return self.head(x) if self.training else self.probe(x)


network = Net()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(12):
    optimizer.zero_grad()
    loss = F.cross_entropy(network(inputs), labels)
    loss.backward()
    optimizer.step()
network.eval()
with torch.no_grad():
    print(network(inputs).argmax(1).bincount())
"""
