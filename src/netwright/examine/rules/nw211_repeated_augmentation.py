"""NW211: every epoch draws the same random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

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
    fix="Set the seed once, before training, and make the generator once, not for each example. A generator that a data set "
    "holds is copied into each worker at each epoch: make it anew in worker_init_fn, from torch.initial_seed().",
    example="for epoch in range(10):\n    torch.manual_seed(0)     # wrong: inside the loop\n    train_one_epoch()",
    limits="Sees seeds that are set between two epochs or while an example is made, and generators made there. Of what workers "
    "draw, it sees only the examples that come to the same place again (up to 16 batches of six epochs), so a few draws of "
    "much data stay unseen; persistent workers do, too. Where the order repeats as well, NW905 says so. Silent on caches and on examples that are made without random numbers.",
)


def check(observation: Observation) -> Iterator[Evidence]:
    trained = [loader for loader in observation.loaders if loader.trained]
    if not trained:
        raise NotObserved("no DataLoader was trained on")
    for loader in trained:
        batches = [batch for batch in observation.batches if batch.loader == loader.uid and batch.inputs]
        if loader.workers:
            drawn = _drawn_by_workers(loader, batches)
            if drawn is not None:
                yield _worker_evidence(observation, loader, *drawn)
            continue
        inside = [batch for batch in batches if batch.seeded is not None]
        same, other, _ = compared(batches)
        made = next((batch for batch in batches if batch.generators and batch.stored), None)
        if inside and len(inside) == len(batches) and same >= 8 and not other:
            yield _evidence(observation, loader, inside[0].seeded, inside[0].step, {"examples_equal": same})
            continue
        if made is not None and same >= 8 and not other:
            yield _evidence(observation, loader, made.generators[0], made.step, {"examples_equal": same})
            continue
        seed = _seed_between(observation, batches)
        alike = _alike(batches)
        if seed is not None and alike:
            yield _evidence(observation, loader, seed.place, seed.step, {"batches_with_equal_draws": alike})


def _drawn_by_workers(loader: Loader, batches: list[Batch]) -> tuple[int, int, int, bool] | None:
    """Returns how many examples came out equal where their worker had drawn as much before, of how many that came out
    anew elsewhere, at which step, and whether the workers draw alike; None if the draws do not repeat.

    A worker that begins each pass with the same generator gives an example the same draw whenever it stands at the same place
    of the same batch of a worker, and another one at any other place. Chance brings that examples are equal, too (a flip),
    at the rate at which they are at other places.
    """
    seen: dict[int, list[tuple[int, int, int, int, int]]] = {}
    for batch in batches:
        worker, turn = batch.batch % loader.workers, batch.batch // loader.workers
        for at, (index, mark) in enumerate(zip(batch.indices, batch.inputs)):
            seen.setdefault(index, []).append((batch.number, worker, turn, at, mark))
    pairs = [
        (one[2:4] == two[2:4], one[1] == two[1], one[4] == two[4])
        for times in seen.values()
        for one, two in combinations(times, 2)
        if one[0] != two[0]
    ]
    for across in (True, False):
        met = [(worker, equal) for place, worker, equal in pairs if place and (across or worker)]
        apart = [equal for place, worker, equal in pairs if not (place and (across or worker))]
        if not met or not all(equal for _, equal in met) or len(apart) < 20:
            continue
        if (max(sum(apart), 1) / len(apart)) ** len(met) < 1e-3:
            return len(met), len(apart), batches[-1].step, not all(worker for worker, _ in met)
    return None


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


def _worker_evidence(
    observation: Observation, loader: Loader, equal: int, apart: int, step: int, alike: bool
) -> Evidence:
    workers = "each epoch, in each worker" if alike else "each epoch"
    return evidence(
        observation,
        loader.built or loader.place,
        seen={"equal_at_the_same_place": equal, "changed_elsewhere": apart, "dataset": loader.dataset},
        expected={"equal_at_the_same_place": 0},
        also=[loader.built_for],
        layer=-1,
        step=step,
        title=f"the same random numbers are drawn {workers}: all {equal} examples of {loader.dataset} that came to the same "
        "place of a worker again came out equal, elsewhere they change",
        harm="measured",
    )


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
