"""NW905: shuffled data come in the same order in every epoch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from netwright.examine.observation import Batch, Event, Loader, Observation, TrainedBatch
from netwright.examine.rules import NotObserved, evidence
from netwright.examine.rules.origins import chain
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW905",
    slug="same-order-every-epoch",
    level="warning",
    by="epoch",
    title="the data are shuffled, but into the same order in every epoch",
    what="The order of the training examples is random, and yet each epoch has the very same one: the generator is seeded anew "
    "in the epoch loop, or a DistributedSampler is never told the epoch.",
    why="The same examples always share a batch and the last batches always have the last word. The noise that shuffling is meant "
    "to give is gone: the network fits one sequence, and augmentation and dropout repeat their draws too.",
    fix="Seed once, before the loop. With a DistributedSampler call sampler.set_epoch(epoch) at the beginning of each epoch.",
    example="for epoch in range(9): torch.manual_seed(0); train(loader)   # wrong\n"
    "torch.manual_seed(0)\nfor epoch in range(9): train(loader)                         # right",
    limits="Compares the first batches of the first epochs. Silent on loaders that do not shuffle (NW206), on one batch an epoch, "
    "on LBFGS, and where another model begins to train with the same seed. Orders made by hand are seen where a seed or a "
    "generator begins them (not RandomState, nor torch.Generator) and a tensor is indexed with them.",
    explains=frozenset({"NW211"}),
)
_SHUFFLING = frozenset(
    {"RandomSampler", "SubsetRandomSampler", "WeightedRandomSampler", "DistributedSampler"}
)


def check(observation: Observation) -> Iterator[Evidence]:
    if any(optimizer.cls == "LBFGS" for optimizer in observation.optimizers):
        raise NotObserved("LBFGS needs the same data in every step")
    passes = _passes(observation)
    for one, other in passes:
        if _order(one) == _order(other):
            yield _of_loader(observation, one, other)
            return
    seen = list(_by_hand(observation))
    if seen:
        yield seen[0]
        return
    if not passes and not any(event.kind in ("seed", "generator") for event in observation.events):
        raise NotObserved("no second epoch over shuffled data was seen")


# -- data loaders ------------------------------------------------------------------------------------------------------


def _passes(observation: Observation) -> list[tuple[list[Batch], list[Batch]]]:
    """Returns pairs of passes, one after the other, over the same shuffled data by the same training."""
    groups: dict[object, dict[tuple[int, int], list[Batch]]] = {}
    for batch in observation.batches:
        loader = observation.loaders[batch.loader]
        if loader.sampler in _SHUFFLING and loader.trained > loader.batches / 2 and _long(loader):
            key = (loader.dataset_id, loader.indices, loader.batch, loader.place)
            groups.setdefault(key, {}).setdefault((batch.loader, batch.number), []).append(batch)
    pairs = []
    for group in groups.values():
        passes = sorted(group.values(), key=lambda batches: batches[0].order)
        for one, other in pairwise(passes):
            if not _new_training(observation, one[0].order, other[0].order) and not _sequential(one):
                pairs.append((one, other))
    return pairs


def _long(loader: Loader) -> bool:
    """Returns whether a pass has several batches: within one batch the order means nothing."""
    return loader.examples < 0 or loader.examples > max(loader.batch, 8)


def _new_training(observation: Observation, begin: int, end: int) -> bool:
    return any(begin < event.order < end for event in observation.of_kind("optimizer"))


def _sequential(batches: list[Batch]) -> bool:
    order = batches[0].indices
    return len(order) > 1 and all(after - before == order[1] - order[0] for before, after in pairwise(order))


def _order(batches: list[Batch]) -> list[int]:
    return batches[0].indices


def _of_loader(observation: Observation, one: list[Batch], other: list[Batch]) -> Evidence:
    loader = observation.loaders[other[0].loader]
    seeds = [event for event in observation.of_kind("seed") if one[0].order < event.order < other[0].order]
    seen: dict[str, object] = {
        "first_examples_of_an_epoch": one[0].indices[:6],
        "and_of_the_next": other[0].indices[:6],
    }
    if loader.sampler == "DistributedSampler":
        return evidence(
            observation, loader.place, seen=seen, expected={"and_of_the_next": "others"}, step=other[0].step,
            title="every epoch has the same order: DistributedSampler.set_epoch() is not called",
            fix="Call sampler.set_epoch(epoch) before each epoch's loop over the loader.", harm="measured",
        )  # fmt: skip
    if seeds:
        return _reseeded(observation, seeds[-1], seen, other[0].step)
    return evidence(
        observation,
        loader.built or loader.place,
        seen=seen,
        expected={"and_of_the_next": "others"},
        also=[loader.built_for],
        step=other[0].step,
        title="every epoch has the same order: the loader's generator begins anew each time",
        fix="Make the loader and its generator once, before the loop over the epochs.",
        harm="measured",
    )


def _reseeded(observation: Observation, seed: Event, seen: dict[str, object], step: int) -> Evidence:
    # A helper that several lines call is not to be changed: the line that calls it here is.
    callers = {event.caller for event in observation.of_kind(seed.kind) if event.place == seed.place}
    helper = seed.caller is not None and len(callers) > 1
    own = seed.kind == "generator"
    return evidence(
        observation,
        seed.caller if helper else seed.place,
        also=[seed.place, seed.caller],
        seen=seen,
        expected={"and_of_the_next": "others"},
        step=step,
        title="every epoch has the same random order: "
        + ("a generator is made anew, with the same seed," if own else "the generator is seeded anew")
        + " between the epochs",
        fix="Make the generator once, before the first epoch, and keep it."
        if own
        else f"Move {seed.detail.get('function', 'the seed')}(...) in front of the loop over the epochs.",
        harm="measured",
    )


# -- orders made by hand -----------------------------------------------------------------------------------------------


def _by_hand(observation: Observation) -> Iterator[Evidence]:
    """Yields evidence where the batch after one seed is the batch after the next, with a random order made in between."""
    by_place: dict[object, list[Event]] = {}
    for event in observation.of_kind("seed", "generator"):
        by_place.setdefault(event.place, []).append(event)
    for events in by_place.values():
        for one, other in pairwise(events):
            if one.step == other.step or _new_training(observation, one.order, other.order):
                continue
            first, second = _trained(observation, one), _trained(observation, other)
            if (
                first is None
                or second is None
                or len(first.examples) < 2
                or first.examples != second.examples
            ):
                continue
            drawn = (
                _picked(observation, one.order, first)
                if one.kind == "generator"
                else _shuffled(observation, one.order, first.order)
            )
            if drawn and _others(observation, first, other.order):
                seen: dict[str, object] = {
                    "batch_after_the_seed": "the same as after the seed before",
                    "steps_between": other.step - one.step,
                }
                yield _reseeded(observation, other, seen, other.step)
                return


def _trained(observation: Observation, event: Event) -> TrainedBatch | None:
    """Returns the batch that was trained on right after an event."""
    found = next((batch for batch in observation.trained if batch.order > event.order), None)
    return found if found is not None and found.step == event.step else None


def _shuffled(observation: Observation, begin: int, end: int) -> bool:
    return any(
        begin < op.order < end and op.module < 0 and op.name in ("randperm", "randint", "multinomial")
        for op in observation.ops
    )


def _picked(observation: Observation, begin: int, batch: TrainedBatch) -> bool:
    """Returns whether the examples of a batch were picked out of the data in a mixed order."""
    picks = {
        op.index
        for op in observation.ops
        if begin < op.order < batch.order and op.module < 0 and op.options.get("scattered")
    }
    if not picks:
        return False
    return any(
        made.index in picks
        for op in observation.ops
        if op.module >= 0 and op.order > batch.order and op.step == batch.step
        for operand in op.inputs[:1]
        for made in chain(observation, operand)
    )


def _others(observation: Observation, first: TrainedBatch, end: int) -> bool:
    """Returns whether the epoch has other batches besides its first."""
    return any(
        first.order < batch.order < end and set(batch.examples) != set(first.examples)
        for batch in observation.trained
    )


_PROGRAM = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
inputs, labels = torch.randn(96, 8), torch.randint(0, 3, (96,))
loader = DataLoader(TensorDataset(inputs, labels), batch_size=16, shuffle=True)
network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for epoch in range(4):
    torch.manual_seed({seed})
    for x, y in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
"""
bad = _PROGRAM.replace("{seed}", "0")
good = _PROGRAM.replace("{seed}", "epoch")
near_miss = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

inputs, labels = torch.randn(96, 8), torch.randint(0, 3, (96,))
train, held_out = TensorDataset(inputs[:64], labels[:64]), TensorDataset(inputs[64:], labels[64:])


def fit(width, seed):
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 3))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    loader, test = DataLoader(train, batch_size=16, shuffle=True), DataLoader(held_out, batch_size=16)
    for epoch in range(2):
        network.train()
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x), y).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            right = sum((network(x).argmax(1) == y).sum().item() for x, y in test)
    return right


print([fit(width, seed=0) for width in (8, 16, 32)])  # the same seed for a fair comparison
whole = DataLoader(train, batch_size=64, shuffle=True)
head = nn.Linear(8, 3)
optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
for epoch in range(3):
    torch.manual_seed(5)  # one batch is all there is
    for x, y in whole:
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(x), y).backward()
        optimizer.step()
"""
