"""NW805: the reported test metric is computed on the training data."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Observation
from netwright.examine.overlap import WHOLE, Claim, Overlap, claim, judgeable, overlaps
from netwright.examine.rules import NotObserved, evidence, percent
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW805",
    slug="evaluated-on-training-data",
    level="error",
    by="epoch",
    title="what is reported as a test result is measured on the training data",
    what="The evaluation runs on the examples that the network is trained on, and the program takes its result for one on held-out "
    "data: it calls it so, or holds test data that it never uses.",
    why="The score says how well the training data are remembered. An overfitted network looks perfect, and nothing shows "
    "what it does with new data.",
    fix="Evaluate on the held-out data; keep a score on the training data apart, under that name.",
    example="print('test accuracy', accuracy(network, train_loader))   # wrong\n"
    "print('test accuracy', accuracy(network, test_loader))    # right",
    limits="Silent where a separate evaluation on other data exists, and where the program does not claim that the data are held "
    "out (an honest training accuracy). Compares contents, or index and label where the loader augments at random.",
    explains=frozenset({"NW207", "NW212", "NW209"}),
)


def check(observation: Observation) -> Iterator[Evidence]:
    why = judgeable(observation)
    if why:
        raise NotObserved(why)
    for overlap in overlaps(observation):
        if overlap.clean_beside or overlap.of_training < WHOLE or overlap.distinct > 1.15 * overlap.trained:
            continue
        if overlap.repeated > 0.3 and not overlap.own_loader:
            continue
        said = claim(overlap.seen)
        if said.training or not (said.said or said.given or said.unused):
            continue
        yield _evidence(observation, overlap, said)
        return


def _evidence(observation: Observation, overlap: Overlap, said: Claim) -> Evidence:
    proof = f"{said.unused} is never used"
    if said.said or said.given:
        proof = "its result is called a test result" if said.said else "they are called test data"
    return evidence(
        observation,
        said.place,
        seen={
            "evaluated_examples": overlap.distinct,
            "share_trained_on": round(overlap.share, 4),
            "same_loader": overlap.own_loader,
            "claim": proof,
        },
        expected={"share_trained_on": 0.0},
        also=[overlap.seen.place, overlap.seen.caller],
        layer=-1,
        step=overlap.seen.step,
        title=f"{percent(overlap.share)} of the {overlap.distinct} evaluated examples are the training data, and {proof}",
    )


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(0)
inputs = torch.randn(500, 20)
labels = (inputs @ torch.randn(20, 4)).argmax(1)
train_set, test_set = random_split(TensorDataset(inputs, labels), [400, 100])
train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
test_loader = DataLoader(test_set, batch_size=50)
network = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)


def evaluate(loader):
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
    {report}
"""
bad = _PROGRAM.replace("{report}", 'print(epoch, "test accuracy", evaluate(train_loader))')
good = _PROGRAM.replace("{report}", 'print(epoch, "test accuracy", evaluate(test_loader))')
near_miss = _PROGRAM.replace(
    "{report}",
    'for name, loader in (("train", train_loader), ("test", test_loader)):\n        print(epoch, name, evaluate(loader))',
)
