"""NW205: inputs and labels are paired wrongly, or the labels are random."""

from __future__ import annotations

import linecache
import math
import re
from collections.abc import Iterator

from netwright.examine.observation import Observation, Pairing, Place
from netwright.examine.rules import NotObserved, evidence
from netwright.examine.rules.curves import random_targets
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW205",
    slug="labels-misaligned",
    level="warning",
    by="epoch",
    title="the labels have nothing to do with the inputs",
    what="Examples whose inputs are alike have labels no more alike than any two examples, by three measures each compared with "
    "permuted labels, and the network answers no better than one answer for all. Inputs and labels are paired wrongly, or the "
    "labels are random.",
    why="A network cannot learn what is not there; it can only remember the training examples one by one. The training loss may "
    "even fall, and new examples are answered by chance.",
    fix="Look at a few examples beside their labels just before the loss. Shuffle, sort, split and filter inputs and labels "
    "with the same indices, or as pairs.",
    example="x, y = rng.permutation(x), rng.permutation(y)            # wrong: two different orders\n"
    "order = rng.permutation(len(x)); x, y = x[order], y[order]     # right: one order for both",
    limits="Not proved, and so not reported: with fewer than 200 different examples in the steps that were watched, for inputs "
    "that are sequences or ids, for networks that are called twice before their loss, and where the program draws the labels "
    "itself. A dependence too weak to be seen in 500 examples is taken for none.",
    explains=frozenset({"NW512"}),
)
_LEAST = 200
_UNRELATED = 2.6  # deviations that hardly one of forty random pairings exceeds
_ANSWERS = 100
_DRAWS = re.compile(
    r"\b(?:y|labels?|targets?|class(?:es)?)\w*\s*=[^=].*\b(?:randint|integers|choice|choices|bernoulli|randrange)\("
)
_REORDERS = re.compile(
    r"\b(?:shuffle|permutation|randperm|argsort|sort|sorted|sort_values|roll|flip|sample)\("
)


def check(observation: Observation) -> Iterator[Evidence]:
    if not observation.pairings:
        raise NotObserved("no loss with one target for each of many examples was seen")
    reasons = []
    for pairing in observation.pairings:
        reason = _unsuited(observation, pairing)
        if reason:
            reasons.append(reason)
            continue
        if pairing.scores is None or max(map(abs, pairing.scores)) > _UNRELATED:
            continue
        asked, right = _answers(observation, pairing)
        if asked and right / asked > pairing.largest + 0.02 + 3 * math.sqrt(pairing.largest / asked):
            continue
        fresh = pairing.repeated <= pairing.rows and pairing.losses >= 12 and pairing.at_chance
        if not fresh and asked < _ANSWERS:
            reasons.append("not proved: too few steps on new examples")
            continue
        yield _finding(observation, pairing, asked, right)
    if reasons and len(reasons) == len(observation.pairings):
        raise NotObserved(reasons[0])


def _unsuited(observation: Observation, pairing: Pairing) -> str:
    if pairing.rows < _LEAST:
        return f"not proved: {pairing.rows} different examples were seen"
    if len(pairing.shape) not in (1, 3) and not (
        len(pairing.shape) == 2 and not _sequential(observation, pairing)
    ):
        return "not proved: the inputs are sequences"
    if pairing.level is None or pairing.distinct < 2:
        return "not proved: a loss without a level of chance"
    if pairing.distinct > pairing.rows / 4 and not pairing.function.startswith(("mse", "l1")):
        return "not proved: too many classes for the examples seen"
    first = next((entry for entry in observation.losses if entry.place == pairing.place), None)
    if first is not None:
        if "given" in first.options.values() or first.options.get("label_smoothing", 0.0):
            return "not proved: the loss is weighted or smoothed"
        if random_targets(observation, first) or any(
            _DRAWS.search(line) for _, _, line in _source(observation)
        ):
            return "not proved: the program draws its targets at random"
    if sum(1 for entry in observation.optimizers if entry.steps) > 1:
        return "not proved: several optimizers train against one another"
    return ""


def _sequential(observation: Observation, pairing: Pairing) -> bool:
    words = ("RNN", "LSTM", "GRU", "Attention", "Transformer", "Conv1d", "Embedding")
    return any(any(word in module.cls for word in words) for module in observation.modules)


def _answers(observation: Observation, pairing: Pairing) -> tuple[int, int]:
    seen = [entry for entry in observation.evaluations if pairing.module in entry.modules]
    return sum(entry.asked for entry in seen), sum(entry.right for entry in seen)


def _finding(observation: Observation, pairing: Pairing, asked: int, right: int) -> Evidence:
    loaders = [entry for entry in observation.loaders if entry.trained]
    place = loaders[0].built or loaders[0].place if loaders else None
    forward = next((entry.place for entry in observation.forwards if entry.module == pairing.module), None)
    kernel, neighbours, linear = pairing.scores or (0.0, 0.0, 0.0)
    seen = {
        "examples": pairing.rows,
        "kernel_deviations": round(kernel, 2),
        "neighbour_deviations": round(neighbours, 2),
        "linear_deviations": round(linear, 2),
        "loss": pairing.late,
    }
    expected = {
        "kernel_deviations": "above 3 where labels depend on inputs",
        "loss": f"below {pairing.level:.4g}",
    }
    told = f"the loss is {pairing.late:.4g}, one answer for all gives {pairing.level:.4g}"
    if asked >= _ANSWERS:
        seen["accuracy"], expected["accuracy"] = round(right / asked, 4), f"above {pairing.largest:.4g}"
        told = f"{100 * right / asked:.1f} % of new examples are right, one answer for all gives {100 * pairing.largest:.1f} %"
    return evidence(
        observation,
        place or pairing.place or forward,
        seen=seen,
        expected=expected,
        also=[*_reorderings(observation), forward, pairing.place],
        step=pairing.step,
        title=f"the labels have nothing to do with the inputs: {told}",
        harm="measured",
    )


def _reorderings(observation: Observation) -> list[Place]:
    """Returns the lines of the program that bring something into another order, at most four."""
    found = [Place(file, number) for file, number, line in _source(observation) if _REORDERS.search(line)]
    return found if len(found) <= 4 else []  # of many, none is told from the others


def _source(observation: Observation) -> Iterator[tuple[str, int, str]]:
    """Yields the lines of the files in which the network is called and its data are loaded, without comments."""
    places = [entry.place for entry in observation.loaders] + [entry.place for entry in observation.forwards]
    for file in list(dict.fromkeys(place.file for place in places if place is not None))[:3]:
        for number, line in enumerate(linecache.getlines(file), 1):
            yield file, number, line.partition("#")[0]


_PROGRAM = """
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
draw = np.random.default_rng(0)
digits = load_digits()
order = draw.permutation(len(digits.target))
images = torch.tensor(digits.data[order] / 16, dtype=torch.float32)
labels = torch.tensor(digits.target[{order}])
loader = DataLoader(TensorDataset(images, labels), batch_size=32, shuffle=True)
network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
for epoch in range(2):
    for image, label in loader:
        optimizer.zero_grad()
        loss = criterion(network(image), label)
        loss.backward()
        optimizer.step()
"""
bad = _PROGRAM.replace("{order}", "draw.permutation(order)")
good = _PROGRAM.replace("{order}", "order")
near_miss = """
import torch
from torch import nn

torch.manual_seed(0)
bits = torch.randint(0, 2, (2000, 8)).float()  # parity: no single bit tells anything, and the network needs many epochs
parity = bits.sum(1) % 2
network = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
criterion = nn.BCEWithLogitsLoss()
for epoch in range(2):
    for start in range(0, 2000, 40):
        rows = slice(start, start + 40)
        loss = criterion(network(bits[rows]).squeeze(1), parity[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""
