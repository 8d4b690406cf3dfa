"""Who reads data that lies on disk: measured on the run's own steps, a second before it trains."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from torch import nn

from netwright.data.ahead import Workers
from netwright.training.loop import steps_in_epoch, train
from netwright.training.randomness import random_state, restore_random_state
from netwright.training.state import TrainingState

SECONDS = 0.3  # for each way of reading
UNTIMED = 2  # steps before the clock of the steady pace starts: what reads ahead has to begin first
LARGEST_TEAM = 8
# A way that needs more of the machine is taken where it saves this share of an epoch, not for noise.
WORTH = 0.05


@dataclass(frozen=True)
class Reading:
    """Who reads, whether through page-locked memory, and the seconds an epoch that each way was measured to take."""

    workers: Workers
    pinned: bool
    seconds: dict[str, float]

    def line(self) -> str:
        """Returns what was chosen, and beside what, for people."""
        chosen = _name(self.workers, self.pinned)
        others = [f"{name} {_brief(value)}" for name, value in self.seconds.items() if name != chosen]
        return f"read {chosen}: {_brief(self.seconds[chosen])} an epoch, by a trial ({', '.join(others)})"


def choose_reading(
    network: nn.Module,
    begin: Callable[[nn.Module], TrainingState],
    data: Any,
    *,
    batch: int,
    precision: str = "32",
) -> Reading | None:
    """Returns the way of reading `data` (a StreamSplit) in which an epoch of these very steps takes least time.

    The trial trains copies for about a second: `network` and the random generators are left as they were, and
    no way of reading changes a batch. None where there is nothing to choose: in an epoch of a few steps, and
    for a reader that only a thread serves (Parquet, whose row groups are decoded while the one before is used).
    """
    steps = steps_in_epoch(data, batch=batch, accumulate=1)
    if not data.reader.by_processes or steps < 4 * UNTIMED:
        return None
    generators = random_state()
    try:

        def seconds(workers: Workers, pinned: bool, epoch: int) -> float:
            state = begin(copy.deepcopy(network))
            state.epoch = (
                epoch  # each trial reads other rows, so that none finds what another brought to the cache
            )
            way = replace(data, workers=workers, pinned=pinned)
            taken = train(state.network, way, state=state, epochs=epoch + 1, batch=batch, precision=precision)
            return _epoch_seconds(taken, steps)

        seconds(0, False, 0)  # whatever the first steps of a process cost is nobody's fault
        ways: dict[tuple[Workers, bool], float] = {}
        for workers in (0, "thread", min(LARGEST_TEAM, _cores())):
            ways[workers, False] = seconds(workers, False, len(ways) + 1)
        if data.device.type == "cuda":
            best = min(ways, key=ways.__getitem__)[0]
            ways[best, True] = seconds(best, True, len(ways) + 1)
    finally:
        restore_random_state(generators)
    least = min(ways.values())
    chosen = next(way for way, value in ways.items() if value <= least * (1 + WORTH))
    return Reading(*chosen, {_name(*way): value for way, value in ways.items()})


def _epoch_seconds(steps: Any, count: int) -> float:
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
    steps.close()
    return first - began + (now - first) / max(1, taken) * (count - UNTIMED)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _name(workers: Workers, pinned: bool) -> str:
    names: dict[Workers, str] = {0: "between the steps", "thread": "ahead by a thread"}
    through = " through pinned memory" if pinned else ""
    return names.get(workers, f"ahead by {workers} process{'es' if workers != 1 else ''}") + through


def _brief(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
