"""NW206: the training examples come sorted by class."""

from __future__ import annotations

import re
from collections.abc import Iterator

from netwright.examine.observation import Loader, Loss, Observation, Place
from netwright.examine.overlap import loop_line
from netwright.examine.rules import NotObserved, evidence, rewrite
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW206",
    slug="no-shuffle",
    level="warning",
    by="100",
    title="the training examples come sorted by class",
    what="One batch after the other holds examples of a single class, each class in one block.",
    why="For many steps in a row the network sees one answer only, learns to give it always, and forgets it when the next class "
    "comes. The loss looks small all the time; the accuracy stays near chance.",
    fix="Shuffle the training data: DataLoader(..., shuffle=True), or a new torch.randperm in every epoch.",
    example="DataLoader(train_set, batch_size=64)                  # wrong, if the set is sorted by class\n"
    "DataLoader(train_set, batch_size=64, shuffle=True)    # right",
    limits="Needs class labels in a loss of PyTorch, batches of at least 8, and two classes within the steps that are watched. "
    "Silent on streams, on real and generated batches in turn, on sequences of floating numbers in recurrent networks (time series), and where a class comes back.",
    explains=frozenset({"NW501", "NW504", "NW512", "NW205", "NW208"}),
)
PURE = 0.2  # of the variety that the same labels would have in a random order


def check(observation: Observation) -> Iterator[Evidence]:
    batches = [
        (loss, counts)
        for loss in observation.losses
        if (counts := _classes(loss)) and loss.grad_enabled and sum(counts) >= 8
    ]
    batches = [entry for entry in batches if entry[0].prediction_grad]
    if not batches:
        raise NotObserved("no loss with class labels in batches of at least 8 was seen")
    first = batches[0][0]
    batches = [entry for entry in batches if entry[0].place == first.place]
    if len(batches) < 6 or len({loss.step for loss, _ in batches}) < len(batches) or _series(observation):
        return
    total = [sum(column) for column in zip(*(_padded(counts, 1000) for _, counts in batches))]
    kinds = sum(count > 0 for count in total)
    within = sum(_variety(counts) for _, counts in batches) / len(batches)
    if kinds < 2 or within > PURE * _variety(total) or not _blocks(batches):
        return
    loader = _loader(observation, first)
    if loader is not None and loader.sampler not in ("SequentialSampler", "BatchSampler", "SubsetSampler"):
        return
    pure = sum(max(counts) == sum(counts) for _, counts in batches)
    place = _place(observation, first, loader)
    yield evidence(
        observation,
        place,
        seen={
            "batches": len(batches),
            "batches_of_one_class": pure,
            "classes_seen": kinds,
            "variety": round(within, 3),
        },
        expected={"batches_of_one_class": 0, "variety": round(_variety(total), 3)},
        also=[loader.built_for] if loader is not None else [],
        layer=-1,
        step=_first_change(batches),
        title=f"{pure} of {len(batches)} training batches hold a single class, class after class: the data are not shuffled",
        diff=rewrite(place, _shuffled) if loader is not None else "",
    )


def _classes(loss: Loss) -> list[int]:
    """Returns the counts of the classes in a batch with one class for each example, [] otherwise."""
    flat = len(loss.target_shape) == 1 or (len(loss.target_shape) == 2 and loss.target_shape[1] == 1)
    return loss.histogram if loss.histogram and flat and len(loss.prediction_shape) <= 2 else []


def _padded(counts: list[int], size: int) -> list[int]:
    return counts[:size] + [0] * (size - len(counts))


def _variety(counts: list[int]) -> float:
    """Returns the chance that two examples drawn at random are of different classes."""
    size = sum(counts)
    return 1 - sum((count / size) ** 2 for count in counts) if size else 0.0


def _blocks(batches: list[tuple[Loss, list[int]]]) -> bool:
    """Returns whether each class comes in one block: between neighbouring steps a class never comes back in an epoch."""
    order: list[int] = []
    before, step, begun = -1, -2, 0
    for loss, counts in batches:
        main = counts.index(max(counts))
        if main not in order:
            order.append(main)
        back = before >= 0 and loss.step - step <= 4 and order.index(main) < order.index(before)
        if back and not (order.index(main) == 0 and order.index(before) == len(order) - 1):
            return False
        if back and loss.step - begun < 5:  # real and generated examples in turn, not a new epoch
            return False
        begun = loss.step if back else begun
        before, step = main, loss.step
    return len(order) > 1


def _first_change(batches: list[tuple[Loss, list[int]]]) -> int:
    first = batches[0][1].index(max(batches[0][1]))
    return next((loss.step for loss, counts in batches if counts.index(max(counts)) != first), 0)


def _series(observation: Observation) -> bool:
    """Returns whether the network is recurrent and reads sequences of floating numbers."""
    recurrent = any(
        module.cls in ("LSTM", "GRU", "RNN", "LSTMCell", "GRUCell") for module in observation.modules
    )
    return recurrent and any(
        len(entry.shape) == 3 and entry.dtype.startswith("float") for entry in observation.forwards
    )


def _loader(observation: Observation, loss: Loss) -> Loader | None:
    uid = next((entry.loader for entry in observation.trained if entry.loader >= 0), -1)
    return observation.loaders[uid] if uid >= 0 else None


def _place(observation: Observation, loss: Loss, loader: Loader | None) -> Place | None:
    if loader is not None:
        return loader.built or loader.place
    forward = next((entry.place for entry in observation.trained if entry.place is not None), loss.place)
    return loop_line(forward) or forward


def _shuffled(line: str) -> str | None:
    if "shuffle=False" in line:
        return line.replace("shuffle=False", "shuffle=True")
    found = re.search(r"DataLoader\(.*(\))\s*$", line)
    if found is None or line.count("(") != line.count(")"):
        return None
    return f"{line[: found.start(1)]}, shuffle=True{line[found.start(1) :]}"


_PROGRAM = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
labels = torch.arange(5).repeat_interleave(120)  # as read from one folder after the other
inputs = torch.randn(600, 16) + torch.nn.functional.one_hot(labels, 16)
loader = DataLoader(TensorDataset(inputs, labels), batch_size=20{shuffle})
network = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 5))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss()
for epoch in range(4):
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(network(x), y)
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
"""
bad = _PROGRAM.replace("{shuffle}", "")
good = _PROGRAM.replace("{shuffle}", ", shuffle=True")
near_miss = """
import torch
from torch import nn

torch.manual_seed(0)
hours = torch.arange(1200) / 24.0
signal = torch.sin(hours * 6.283) + 0.1 * torch.randn(1200)
windows = signal.unfold(0, 12, 1)[:-1]
rises = (signal[12:] > signal[11:-1]).long()  # in the order of time, on purpose
network = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 2))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for epoch in range(4):
    for start in range(0, 960, 32):
        x, y = windows[start : start + 32], rises[start : start + 32]
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(x), y)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        print(epoch, (network(windows[960:]).argmax(1) == rises[960:]).float().mean().item())
"""
