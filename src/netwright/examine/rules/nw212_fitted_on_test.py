"""NW212: scaling statistics are computed from data that is evaluated on."""

from __future__ import annotations

import linecache
import math
import re
from collections.abc import Iterator

from netwright.examine.observation import Observation, Place, Totals
from netwright.examine.overlap import held_out, trained_in_part
from netwright.examine.rules import NotObserved, evidence
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW212",
    slug="fitted-on-test",
    level="warning",
    by="epoch",
    title="the features were scaled with statistics of training and test data together",
    what="Over the training and the evaluation examples together each feature has mean 0 and deviation 1 (or runs from 0 to 1) to the "
    "last digit; over the training examples alone it does not. So the scaling was fitted to both.",
    why="Whatever is computed from the test data tells the network about them, and the score is a little too good. In use there is "
    "no test set to fit to.",
    fix="Split first. Fit the scaler to the training part, and apply it to both.",
    example="x = scaler.fit_transform(x); train, test = split(x)                       # wrong\n"
    "train, test = split(x); train = scaler.fit_transform(train); test = scaler.transform(test)   # right",
    limits="Needs plain vectors of 4 to 256 numbers, and every example of both sets read at least once, which takes small data or "
    "several epochs. Vocabularies and selected features are not seen. Silent on graphs with masks (transductive), and on "
    "load_diabetes, which scikit-learn hands out scaled.",
)
EXACT = 1e-4


def check(observation: Observation) -> Iterator[Evidence]:
    pairs = [
        (one, other)
        for one in observation.totals
        for other in observation.totals
        if one.module == other.module and one.side == "training" and other.side == "evaluation"
    ]
    if not pairs:
        raise NotObserved("no network that gets plain vectors was trained and evaluated")
    for train, test in pairs:
        if (
            len(train.sums) != len(test.sums)
            or min(train.count, test.count) < 10
            or trained_in_part(observation, train.module)
        ):
            continue
        if test.count > 1.02 * len(held_out(observation, train.module)):
            continue  # training examples were evaluated as well, and not all of them are known
        loaders = [entry.loader for entry in observation.trained if entry.module == train.module]
        whole = max([observation.loaders[uid].examples for uid in loaders if uid >= 0], default=0)
        how = _standardised(train, test, max(0, whole - train.count)) or _ranged(train, test)
        if how:
            seen = next((entry for entry in observation.passes if entry.module == train.module), None)
            if seen is not None and _comes_scaled(seen.place):
                continue
            yield evidence(
                observation,
                _fit_line(seen.place if seen is not None else None),
                seen={"training_examples": train.count, "evaluated_examples": test.count, **how},
                expected={"fitted_to": "the training examples alone"},
                layer=-1,
                step=seen.step if seen is not None else 0,
                title=f"the features were scaled by statistics of all {train.count + test.count} examples, "
                f"the {test.count} evaluated ones among them",
            )


def _moments(count: int, sums: list[float], squares: list[float]) -> tuple[list[float], list[float]]:
    means = [value / count for value in sums]
    deviations = [math.sqrt(max(0.0, square / count - mean * mean)) for square, mean in zip(squares, means)]
    return means, deviations


def _standardised(train: Totals, test: Totals, missing: int) -> dict[str, float] | None:
    """Judges means and deviations; `missing` training examples were not read."""
    count = train.count + test.count
    both = [a + b for a, b in zip(train.sums, test.sums)]
    squares = [a + b for a, b in zip(train.squares, test.squares)]
    means, deviations = _moments(count, both, squares)
    alone, spread = _moments(train.count, train.sums, train.squares)
    if missing > 0.1 * min(train.count, test.count):
        return None
    sample = math.sqrt((count - 1) / count)  # torch and pandas divide by n - 1
    slack = EXACT + 4 * missing / count
    near = EXACT + 4 * math.sqrt(missing) / count  # a sum over the missing ones is of the order of their root
    exact = [
        number
        for number, (mean, deviation) in enumerate(zip(means, deviations))
        if abs(mean) < near
        and min(abs(deviation - 1), abs(deviation - sample)) < slack
        and spread[number] > 0
    ]
    off = sorted(abs(alone[number]) for number in exact)
    if len(exact) < max(4, 0.9 * len(means) if missing else 0.5 * len(means)):
        return None
    middle, largest = off[len(off) // 2], sorted(abs(means[number]) for number in exact)[len(exact) // 2]
    expected = math.sqrt(
        test.count / train.count / count
    )  # how far the training part's means then lie from 0
    if middle < max(20 * EXACT, 0.3 * expected) or middle < 3 * largest:
        return None
    return {"features": len(exact), "typical_mean_of_all": largest, "typical_mean_of_training": middle}


def _ranged(train: Totals, test: Totals) -> dict[str, float] | None:
    low = [min(a, b) for a, b in zip(train.low, test.low)]
    high = [max(a, b) for a, b in zip(train.high, test.high)]
    live = [number for number in range(len(low)) if high[number] > low[number]]
    if len(live) < 4 or any(abs(low[n]) > 1e-6 or abs(high[n] - 1) > 1e-6 for n in live):
        return None
    only = sum((train.low[n] > 1e-6) + (train.high[n] < 1 - 1e-6) for n in live)
    return {"features": len(live), "ends_in_evaluated_data_only": only} if only >= 3 else None


def _comes_scaled(place: Place | None) -> bool:
    """Returns whether the data are a set that scikit-learn hands out scaled by all of its examples."""
    lines = linecache.getlines(place.file) if place is not None else []
    return any("load_diabetes(" in line and "scaled=False" not in line for line in lines)


def _fit_line(place: Place | None) -> Place | None:
    """Returns the first line that fits a scaler or takes means, else the evaluation's."""
    if place is None:
        return None
    lines = linecache.getlines(place.file)
    for pattern in (r"\.fit_transform\(|caler\w*\.fit\(", r"\.mean\(|\.std\(|\.min\(|\.amin\(|\.max\("):
        for number, line in enumerate(lines, 1):
            if re.search(pattern, line) and not line.lstrip().startswith("#"):
                return Place(place.file, number, place.function)
    return place


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs = 40 + 12 * torch.randn(300, 8)
labels = (inputs[:, :3].sum(1) > 120).long()
{before}
train, test = inputs[:240], inputs[240:]
{after}
network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for epoch in range(6):
    for part in torch.randperm(240).split(40):
        optimizer.zero_grad()
        F.cross_entropy(network(train[part]), labels[part]).backward()
        optimizer.step()
    with torch.no_grad():
        print(epoch, (network(test).argmax(1) == labels[240:]).float().mean().item())
"""
bad = _PROGRAM.replace("{before}", "inputs = (inputs - inputs.mean(0)) / inputs.std(0)").replace(
    "{after}", ""
)
good = _PROGRAM.replace("{before}", "").replace(
    "{after}",
    "mean, deviation = train.mean(0), train.std(0)\n"
    "train, test = (train - mean) / deviation, (test - mean) / deviation",
)
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
nodes = 200  # one graph, scaled as a whole; test nodes are masked out of the loss (transductive)
features, labels = 5 + torch.randn(nodes, 8), torch.randint(0, 3, (nodes,))
features = (features - features.mean(0)) / features.std(0)
train_nodes, test_nodes = torch.arange(120), torch.arange(120, 200)
links = torch.eye(nodes) + torch.roll(torch.eye(nodes), 1, 0)
network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for epoch in range(20):
    optimizer.zero_grad()
    F.cross_entropy((links @ network(features))[train_nodes], labels[train_nodes]).backward()
    optimizer.step()
with torch.no_grad():
    answers = (links @ network(features)).argmax(1)
    print((answers[test_nodes] == labels[test_nodes]).float().mean().item())
"""
