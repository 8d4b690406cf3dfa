"""What a step of the loop costs, counted without a clock: operations, waits for numbers, allocations, Python calls."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

import netwright as nw

WARM, STEPS = 5, 60  # of 79 in an epoch


class Operations(TorchDispatchMode):
    """Counts the operations that reach the backend."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def small_network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


@pytest.fixture(scope="module")
def data() -> nw.Data:
    return nw.load("digits")


def ours(data: nw.Data, **options: Any) -> Iterator[Any]:
    return iter(nw.train(small_network(), data.train, epochs=2, batch=16, device="cpu", **options))


def by_hand(data: nw.Data, network: nn.Module | None = None, batch: int = 16) -> Iterator[Any]:
    """The loop over whole tensors that people who know would write."""
    x, y = data.train.prepared(slice(0, len(data.train)))
    network, criterion = network or small_network(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    for rows in torch.randperm(len(x)).split(batch):
        optimizer.zero_grad()
        loss = criterion(network(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
        yield loss


def take(steps: Iterator[Any], count: int) -> None:
    for _ in range(count):
        next(steps)


def operations(steps: Iterator[Any]) -> Counter[str]:
    take(steps, WARM)
    with Operations() as seen:
        take(steps, STEPS)
    return seen.counts


def test_no_more_operations_a_step_than_by_hand(data: nw.Data) -> None:
    mine, theirs = operations(ours(data)), operations(by_hand(data))
    # The sum of the losses is one more; two lookups and a slice are none, as batches are gathered in chunks.
    assert sum(mine.values()) <= sum(theirs.values()) + 2 * STEPS, mine - theirs
    assert set(mine) - set(theirs) <= {"add_", "index_select", "div_", "sub_", "_to_copy", "select"}


def test_nothing_waits_for_a_number(data: nw.Data) -> None:
    assert operations(ours(data))["_local_scalar_dense"] == 0
    assert operations(ours(data, clip=1.0))["_local_scalar_dense"] == 0


def allocations(steps: Iterator[Any]) -> float:
    take(steps, WARM)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        take(steps, STEPS)
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    return sum(event.nbytes() > 0 for event in events) / STEPS


def test_no_more_allocations_a_step_than_by_hand(data: nw.Data) -> None:
    mine, theirs = allocations(ours(data)), allocations(by_hand(data))
    assert theirs > 5
    assert mine <= theirs + 1


class Counted(nn.Module):
    """Counts the Python calls between two of its forwards, a stretch of steps long."""

    first, last = 200, 260

    def __init__(self, inputs: int = 64, outputs: int = 10) -> None:
        super().__init__()
        self.layers = small_network()
        self.forwards = self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.forwards += self.training
        if self.training and self.forwards == self.first:
            sys.setprofile(self._called)
        elif self.training and self.forwards == self.last:
            sys.setprofile(None)
        return self.layers(x)

    def _called(self, frame: Any, event: str, value: Any) -> None:
        self.calls += event == "call"

    @property
    def each(self) -> float:
        assert self.forwards >= self.last
        return self.calls / (self.last - self.first)


def calls(run: Callable[[Counted], object]) -> float:
    network = Counted()
    try:
        run(network)
    finally:
        sys.setprofile(None)
    return network.each


def test_few_python_calls_a_step_with_everything_on(data: nw.Data, tmp_path: Path) -> None:
    def fit(network: Counted) -> None:
        nw.fit(network, data, batch=4, epochs=1, quiet=True, force=True, out=tmp_path / "run", device="cpu")

    plain, everything = calls(lambda network: list(by_hand(data, network, 4))), calls(fit)
    # Bar, log, state, checks for signals and the examiner together: 29 when this was written. A DataLoader alone costs 59.
    assert everything <= plain + 36
