"""Who reads data that lies on disk: measured on the run's own steps, a second before it trains."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count, islice
from math import inf
from typing import Any

from torch import nn

from netwright.data.ahead import Workers
from netwright.training.launching import available_cores
from netwright.training.loop import Step, steps_in_epoch, train
from netwright.training.randomness import random_state, restore_random_state
from netwright.training.state import TrainingState

SECONDS = 0.15  # for each way of reading, each time
ROUNDS = (
    2  # the ways take turns, and the better time of each counts: what else the machine does comes and goes
)
UNTIMED = 2  # steps before the clock of the steady pace starts: what reads ahead has to begin first
SLOW_STEP = 0.25  # seconds from which on a trial of all ways would take too long
LARGEST_TEAM = 8
# A way that needs more of the machine is taken where it saves this share of an epoch, not for noise.
WORTH = 0.05


@dataclass(frozen=True)
class Reading:
    """Who reads, whether through page-locked memory, and the measurement that this follows from, in words."""

    workers: Workers
    pinned: bool
    reason: str

    def line(self) -> str:
        """Returns what was chosen, and why, for people."""
        return f"read {_name(self.workers, self.pinned)}: {self.reason}"


def choose_reading(
    network: nn.Module,
    begin: Callable[[nn.Module], TrainingState],
    data: Any,
    *,
    batch: int,
    precision: str = "32",
) -> Reading | None:
    """Returns the way of reading `data` (a StreamSplit) in which an epoch of these very steps takes least time.

    A few steps of a copy, and a few batches alone, are timed first. Where reading is next to nothing beside a
    step it stays between the steps; where a step is slow, a thread reads ahead if it keeps up, else processes;
    and where steps are fast, all ways are tried, about two seconds in all. `network` and the random generators
    are left as they were, and no way of reading changes a batch. None where there is nothing to choose: in an
    epoch of a few steps, and for a reader that only a thread serves (Parquet, whose row groups are decoded while
    the one before is used).
    """
    steps = steps_in_epoch(data, batch=batch, accumulate=1)
    if not data.reader.by_processes or steps < 4 * UNTIMED:
        return None

    def run(workers: Workers, pinned: bool, epoch: int) -> Iterator[Step]:
        state = begin(copy.deepcopy(network))
        state.epoch = (
            epoch  # each trial reads other rows, so that none finds what another brought to the cache
        )
        way = replace(data, workers=workers, pinned=pinned)
        return train(state.network, way, state=state, epochs=epoch + 1, batch=batch, precision=precision)

    generators = random_state()
    try:
        step = _step_seconds(run(0, False, 0))
        reading = _reading_seconds(replace(data, workers=0), batch)
        if reading <= WORTH * step:
            return Reading(0, False, f"reading is {reading / step:.1%} of a step")
        if step > SLOW_STEP:
            times = f"a step takes {_brief(step)}, and its batch {_brief(reading)} of that to read"
            return Reading("thread" if reading < step / 2 else _team(), False, times)
        return _fastest(run, steps, cuda=data.device.type == "cuda")
    finally:
        restore_random_state(generators)


def _fastest(run: Callable[[Workers, bool, int], Iterator[Step]], steps: int, *, cuda: bool) -> Reading:
    """Returns the way that needs least time for an epoch, by trying each."""
    ways: dict[tuple[Workers, bool], float] = {(0, False): inf, ("thread", False): inf, (_team(), False): inf}
    epochs = count(1)
    for _ in range(ROUNDS):
        for way in ways:
            ways[way] = min(ways[way], _epoch_seconds(run(*way, next(epochs)), steps))
    if cuda:
        best = min(ways, key=ways.__getitem__)[0]
        ways[best, True] = min(_epoch_seconds(run(best, True, next(epochs)), steps) for _ in range(ROUNDS))
    least = min(ways.values())
    chosen = next(way for way, seconds in ways.items() if seconds <= least * (1 + WORTH))
    others = [f"{_name(*way)} {_brief(seconds)}" for way, seconds in ways.items() if way != chosen]
    return Reading(*chosen, f"{_brief(ways[chosen])} an epoch, by a trial ({', '.join(others)})")


def _step_seconds(steps: Iterator[Step]) -> float:
    """Returns what the second step takes; what the first one of a process costs is nobody's fault."""
    float(next(steps).loss)
    began = time.perf_counter()
    float(next(steps).loss)
    return time.perf_counter() - began


def _reading_seconds(data: Any, batch: int) -> float:
    """Returns what a batch takes to read and prepare, over as many as SECONDS hold (at least one)."""
    began, batches = time.perf_counter(), 0
    # From the end of an epoch's order, so that none of these rows was just read.
    for _ in data.batches(batch, data.order(seed=0, epoch=0).flip(0)):
        batches += 1
        if time.perf_counter() - began > SECONDS:
            break
    return (time.perf_counter() - began) / batches


def _epoch_seconds(steps: Iterator[Step], count: int) -> float:
    """Returns what an epoch of `count` steps takes: its beginning, and the pace of the steps after it."""
    began = time.perf_counter()
    for step in islice(steps, UNTIMED):
        float(step.loss)
    first = time.perf_counter()
    taken, now = 0, first
    for step in steps:
        float(step.loss)  # waits for the device
        taken, now = taken + 1, time.perf_counter()
        if now - first > SECONDS:
            break
    return first - began + (now - first) / max(1, taken) * (count - UNTIMED)


def _team() -> int:
    """Returns the number of processes that is tried: one for each core."""
    return min(LARGEST_TEAM, available_cores())


def _name(workers: Workers, pinned: bool) -> str:
    names: dict[Workers, str] = {0: "between the steps", "thread": "ahead by a thread"}
    through = " through pinned memory" if pinned else ""
    return names.get(workers, f"ahead by {workers} process{'es' if workers != 1 else ''}") + through


def _brief(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
