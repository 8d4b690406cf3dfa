"""NW207: the same examples are trained on and evaluated on."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Observation, Place
from netwright.examine.overlap import SMALL, WHOLE, Claim, Overlap, claim, judgeable, origin, overlaps
from netwright.examine.rules import NotObserved, evidence, percent
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW207",
    slug="train-test-overlap",
    level="error",
    by="epoch",
    title="examples of the evaluation were trained on",
    what="The contents of evaluated examples are equal to those of examples that the network was trained on before. 5 % or less "
    "is reported as a warning, since real data hold some duplicates.",
    why="The score of these examples measures memory, not what the network does with data that it has not seen. It is too "
    "good by an amount that nobody knows, and choices made by it (stopping early, the best checkpoint) are wrong.",
    fix="Split once, before anything else (before rare classes are drawn again, too), into index sets that have nothing in "
    "common, and remove duplicates first.",
    example="train, test = data[:800], data[700:]   # wrong: 100 examples are in both\n"
    "train, test = data[:800], data[800:]   # right",
    limits="Compares the contents of what the network gets, so it sees no overlap through random augmentation. Silent where the "
    "loss takes only some of the outputs (graphs with masks), on inputs of few possible values or with many repeats, where "
    "no more examples coincide than do so among the evaluated ones (short texts as bags of words), and on "
    "training accuracy that is measured beside a real test set. A small share of the training examples is read, at least.",
    explains=frozenset({"NW212"}),
)


def check(observation: Observation) -> Iterator[Evidence]:
    why = judgeable(observation)
    if why:
        raise NotObserved(why)
    for overlap in overlaps(observation):
        said = claim(overlap.seen)
        level = _level(overlap, said)
        if level:
            yield _evidence(observation, overlap, said, level)
            return


def _level(overlap: Overlap, said: Claim) -> str:
    """Returns error, warning or "" for one pass."""
    level = _plain_level(overlap, said)
    if overlap.seen.continuous or overlap.matches > overlap.natural:
        return level
    few = overlap.repeated * len(overlap.seen.examples) < 3  # repeats among the evaluated, too few to be sure
    return "warning" if level and few else ""


def _plain_level(overlap: Overlap, said: Claim) -> str:
    held_out = overlap.other_loader or said.given or said.said
    natural = (
        0.0 if overlap.seen.continuous else overlap.natural
    )  # else copies (of a rare class, say) were made before the split
    if overlap.repeated > 0.3 or overlap.own_loader or (natural and overlap.share <= 3 * overlap.repeated):
        return ""
    if overlap.of_training >= WHOLE:  # all that was trained on is in the pass
        larger = overlap.distinct > 1.15 * overlap.trained
        claimed = held_out and not said.training and not overlap.clean_beside
        return "error" if claimed and larger else ""  # the same examples throughout: NW805
    if (overlap.clean_beside and not held_out) or (said.training and not said.given):
        return ""
    if overlap.share > 0.95:
        return "error" if held_out and not overlap.clean_beside else ""
    if overlap.likely <= SMALL or overlap.share * (1 - natural / overlap.matches) <= SMALL / 4:
        return "warning" if overlap.likely >= 0.01 else ""
    return "error" if held_out else "warning"


def _evidence(observation: Observation, overlap: Overlap, said: Claim, level: str) -> Evidence:
    seen = overlap.seen
    built = observation.loaders[seen.loader].built if seen.loader >= 0 else None
    place: Place | None = origin(built or said.place) if said.given or built is not None else said.place
    at_least = "" if overlap.share >= 0.98 * overlap.likely else "at least "
    return evidence(
        observation,
        place,
        seen={
            "evaluated_examples": overlap.distinct,
            "also_trained_on": overlap.matches,
            "share": round(overlap.share, 4),
            "estimated_share": round(overlap.likely, 4),
        },
        expected={"also_trained_on": 0, "share": 0.0},
        also=[said.place, seen.place, seen.caller],
        step=seen.step,
        layer=-1,
        level=level,
        title=f"{at_least}{percent(overlap.share)} of the evaluated examples ({overlap.matches} of "
        f"{len(set(seen.examples))}) were trained on",
        harm="likely" if level == "error" else "possible",
    )


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
inputs = torch.randn(500, 20)
labels = (inputs @ torch.randn(20, 4)).argmax(1)
train_set = TensorDataset(inputs[:400], labels[:400])
test_set = TensorDataset({held_out})
train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
test_loader = DataLoader(test_set, batch_size=32)
network = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)


def accuracy(loader):
    network.eval()
    correct = 0
    with torch.no_grad():
        for x, y in loader:
            correct += (network(x).argmax(1) == y).sum().item()
    network.train()
    return correct / len(loader.dataset)


for epoch in range(3):
    for x, y in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(network(x), y).backward()
        optimizer.step()
    print(epoch, accuracy(test_loader))
"""
bad = _PROGRAM.replace("{held_out}", "inputs[350:], labels[350:]")
good = _PROGRAM.replace("{held_out}", "inputs[400:], labels[400:]")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
nodes, classes = 200, 4  # a graph: all of it goes through the network, the loss takes the training nodes
features, labels = torch.randn(nodes, 16), torch.randint(0, classes, (nodes,))
links = (torch.rand(nodes, nodes) < 0.03).float() + torch.eye(nodes)
links = links / links.sum(1, keepdim=True)
order = torch.randperm(nodes)
train_mask, test_mask = order < 120, order >= 150


class Graph(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(16, 32), nn.Linear(32, classes)

    def forward(self, x, links):
        return self.second(links @ F.relu(self.first(links @ x)))


network = Graph()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for epoch in range(30):
    network.train()
    optimizer.zero_grad()
    out = network(features, links)
    loss = F.cross_entropy(out[train_mask], labels[train_mask])
    loss.backward()
    optimizer.step()
    network.eval()
    with torch.no_grad():
        predicted = network(features, links).argmax(1)
        test_accuracy = (predicted[test_mask] == labels[test_mask]).float().mean().item()
print(test_accuracy)
"""
