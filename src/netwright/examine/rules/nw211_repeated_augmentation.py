"""NW211: every epoch draws the same random numbers."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Batch, Event, Loader, Observation, Place
from netwright.examine.rules import NotObserved, evidence
from netwright.examine.rules.nw209_augmented_evaluation import compared
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW211",
    slug="repeated-augmentation",
    level="warning",
    by="epoch",
    title="every epoch augments each example in the same way",
    what="Random numbers are drawn while training examples are made, but each example comes out the same in every epoch, since a "
    "seed is set again for each of them.",
    why="The network sees one distorted copy of each example instead of ever new ones. The augmentation costs time and "
    "protects from nothing.",
    fix="Set the seed once, before training. For workers, derive it from torch.initial_seed() in worker_init_fn.",
    example="for epoch in range(10):\n    torch.manual_seed(0)     # wrong: inside the loop\n    train_one_epoch()",
    limits="Sees DataLoaders without workers, generators of torch, numpy and Python that are global, and seeds that the program "
    "sets between two epochs (where the order repeats as well, NW905 says so). Silent on caches and on examples that are made without random numbers.",
)


def check(observation: Observation) -> Iterator[Evidence]:
    trained = [loader for loader in observation.loaders if loader.trained]
    if not trained:
        raise NotObserved("no DataLoader was trained on")
    if all(loader.workers for loader in trained):
        raise NotObserved("the training examples are made in worker processes")
    for loader in trained:
        batches = [batch for batch in observation.batches if batch.loader == loader.uid and batch.inputs]
        inside = [batch for batch in batches if batch.seeded is not None]
        same, other, _ = compared(inside)
        if len(inside) == len(batches) and same >= 8 and not other:
            yield _evidence(observation, loader, inside[0].seeded, inside[0].step, {"examples_equal": same})
            continue
        seed = _seed_between(observation, batches)
        alike = _alike(batches)
        if seed is not None and alike:
            yield _evidence(observation, loader, seed.place, seed.step, {"batches_with_equal_draws": alike})


def _alike(batches: list[Batch]) -> int:
    """Returns how many batches of a later pass leave the generators that they drew from as in the first pass; 0 if one does not."""
    first = {batch.batch: batch.drawn for batch in batches if batch.number == 1 and batch.drawn}
    later = [batch for batch in batches if batch.number > 1 and batch.batch in first]
    equal = [
        batch
        for batch in later
        if any(first[batch.batch].get(name) == state for name, state in batch.drawn.items())
    ]
    return len(equal) if len(equal) == len(later) else 0


def _seed_between(observation: Observation, batches: list[Batch]) -> Event | None:
    """Returns the event of a seed that is set before each of two passes."""
    starts = {batch.number: batch.order for batch in reversed(batches)}
    orders = sorted(starts.values())
    if len(orders) < 2:
        return None
    seeds = [event for event in observation.of_kind("seed") if event.order < orders[1]]
    later = [event for event in seeds if event.order > orders[0]]
    before = {event.place for event in seeds if event.order < orders[0]}
    return next((event for event in later if event.place in before), None)


def _evidence(
    observation: Observation, loader: Loader, place: Place | None, step: int, seen: dict[str, int]
) -> Evidence:
    return evidence(
        observation,
        place,
        seen={**seen, "dataset": loader.dataset},
        expected=dict.fromkeys(seen, 0),
        layer=-1,
        step=step,
        title=f"each epoch draws the same random numbers for the examples of {loader.dataset}: a seed is set again and again",
        harm="measured",
    )


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset


class Points(Dataset):
    def __init__(self, count):
        self.inputs = torch.randn(count, 12)
        self.labels = (self.inputs[:, 0] > 0).long()
{store}
    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
{item}


torch.manual_seed(0)
loader = DataLoader(Points(100), batch_size=25, shuffle=True, generator=torch.Generator().manual_seed(7))
network = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for epoch in range(4):
{seed}    for x, y in loader:
        optimizer.zero_grad()
        F.cross_entropy(network(x), y).backward()
        optimizer.step()
"""
_DRAWN = "        return self.inputs[index] + 0.3 * torch.randn(12), self.labels[index]"
bad = (
    _PROGRAM.replace("{store}", "").replace("{item}", _DRAWN).replace("{seed}", "    torch.manual_seed(1)\n")
)
good = _PROGRAM.replace("{store}", "").replace("{item}", _DRAWN).replace("{seed}", "")
near_miss = (
    _PROGRAM.replace("{store}", "        self.cache = {}  # made once, on purpose\n")
    .replace(
        "{item}",
        "        if index not in self.cache:\n            self.cache[index] = self.inputs[index] + 0.3 * torch.randn(12)\n"
        "        return self.cache[index], self.labels[index]",
    )
    .replace("{seed}", "")
)
