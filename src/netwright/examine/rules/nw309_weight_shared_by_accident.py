"""NW309: one module object stands several times in a container."""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterator

from netwright.examine.observation import Module, Observation, Place
from netwright.examine.rules import NotObserved, evidence, rewrite
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW309",
    slug="weight-shared-by-accident",
    level="warning",
    by="forward",
    title="one layer stands several times in a container: all of them share one set of weights",
    what="A list or a sequence of layers holds the same module object more than once, as [layer] * n makes it.",
    why="Multiplying a list copies references, not layers. The network looks n layers deep, but has the weights of one; every "
    "place pulls the same weights in its own direction.",
    fix="Construct a new layer for each place: [nn.Linear(64, 64) for _ in range(n)], or copy.deepcopy(layer).",
    example="nn.ModuleList([nn.Linear(64, 64)] * 4)                    # wrong: one layer, four times\n"
    "nn.ModuleList([nn.Linear(64, 64) for _ in range(4)])      # right",
    limits="Looks at nn.ModuleList, nn.ModuleDict and nn.Sequential. Silent on layers without parameters (activations, pooling), on "
    "weights that two different layers share (tied embeddings), and on one module called several times (siamese and recurrent "
    "networks, universal transformers). A design that shares weights along a list on purpose is reported.",
    explains=frozenset({"NW302"}),
)
_CONTAINERS = ("ModuleList", "Sequential", "ModuleDict")


def check(observation: Observation) -> Iterator[Evidence]:
    if not observation.modules:
        raise NotObserved("no module was called")
    by_name = {(module.root, name): module for module in observation.modules for name in module.names}
    within = _with_parameters(observation)
    for module in observation.modules:
        if len(module.names) < 2 or module.uid not in within:
            continue
        places: dict[str, list[str]] = {}
        for name in module.names:
            container, _, last = name.rpartition(".")
            if last:
                places.setdefault(container, []).append(name)
        for container, names in places.items():
            owner = by_name.get((module.root, container))
            if len(names) < 2 or owner is None or owner.cls not in _CONTAINERS or owner.names[0] != container:
                continue
            yield _evidence(observation, module, owner, names)
            break


def _with_parameters(observation: Observation) -> set[int]:
    """Returns the modules that hold trainable parameters, themselves or in their parts."""
    found: set[int] = set()
    holding = [
        module
        for module in observation.modules
        if any(observation.parameters[uid].requires_grad for uid in module.parameters)
    ]
    names = {(module.root, name) for module in holding for name in module.names}
    above = {(root, name[:index]) for root, name in names for index in range(len(name)) if name[index] == "."}
    for module in observation.modules:
        if any((module.root, name) in names or (module.root, name) in above for name in module.names):
            found.add(module.uid)
    return found


def _evidence(observation: Observation, module: Module, owner: Module, names: list[str]) -> Evidence:
    place = _line(module, owner)
    return evidence(
        observation,
        place,
        seen={"places": len(names), "different_layers": 1},
        expected={"places": len(names), "different_layers": len(names)},
        layer=module.uid,
        title=f"{names[0]} to {names[-1]} are one {module.cls}: {len(names)} places share one set of weights",
        diff=rewrite(place, _as_comprehension),
        harm="likely",
    )


_REPEATED = re.compile(r"\[([\w.]+\(.*\))\]\s*\*\s*([\w.]+(?:\([^()]*\))?)")


def _line(module: Module, owner: Module) -> Place | None:
    """Returns the line that repeats the module: the container's, or the one above it where a list is multiplied."""
    for place in (owner.place, module.place):
        if place is not None and re.search(
            r"\]\s*\*\s*\w|\w\s*\*\s*\[", linecache.getline(place.file, place.line)
        ):
            return place
    place = owner.place or module.place
    if place is None:
        return None
    for number in range(place.line, max(0, place.line - 8), -1):
        if re.search(r"\]\s*\*\s*\w", linecache.getline(place.file, number)):
            return Place(place.file, number, place.function)
    return place


def _as_comprehension(line: str) -> str | None:
    found = _REPEATED.search(line)
    if found is None:
        return None
    return f"{line[: found.start()]}[{found.group(1)} for _ in range({found.group(2)})]{line[found.end() :]}"


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))


class Net(nn.Module):
    def __init__(self, depth=3):
        super().__init__()
        self.first = nn.Linear(20, 32)
        self.blocks = nn.ModuleList({blocks})
        self.head = nn.Linear(32, 4)

    def forward(self, x):
        x = F.relu(self.first(x))
        for block in self.blocks:
            x = x + F.relu(block(x))
        return self.head(x)


network = Net()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(6):
    optimizer.zero_grad()
    loss = F.cross_entropy(network(inputs), labels)
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{blocks}", "[nn.Linear(32, 32)] * depth")
good = _PROGRAM.replace("{blocks}", "[nn.Linear(32, 32) for _ in range(depth)]")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
words = torch.randint(0, 30, (64, 9))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(30, 16)
        act = nn.GELU()
        self.block = nn.Sequential(nn.Linear(16, 32), act, nn.Linear(32, 32), act, nn.Linear(32, 16))
        self.out = nn.Linear(16, 30)
        self.out.weight = self.embed.weight  # tied

    def forward(self, words):
        x = self.embed(words)
        for _ in range(3):  # one block, three times
            x = x + self.block(F.layer_norm(x, (16,)))
        return self.out(x)


network = Net()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(6):
    optimizer.zero_grad()
    logits = network(words[:, :-1])
    loss = F.cross_entropy(logits.reshape(-1, 30), words[:, 1:].reshape(-1))
    loss.backward()
    optimizer.step()
"""
