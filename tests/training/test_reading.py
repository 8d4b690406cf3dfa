"""The trial that chooses who reads: it changes nothing but who reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from netwright.data import load
from netwright.training.loop import begin
from netwright.training.randomness import random_state
from netwright.training.reading import Reading, choose_reading


@pytest.fixture
def streamed(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.normal(size=(400, 8)).astype(np.float32))
    np.save(tmp_path / "y.npy", rng.integers(0, 2, 400))
    return load(tmp_path, stream=True).train


def choose(part, network, batch=8):
    return choose_reading(
        network, lambda copy: begin(copy, part, device="cpu", num_classes=2), part, batch=batch
    )


def test_the_trial_leaves_network_and_generators_as_they_were(streamed, monkeypatch):
    monkeypatch.setattr("netwright.training.reading.SECONDS", 0.02)
    monkeypatch.setattr("netwright.training.reading.available_cores", lambda: 1)
    monkeypatch.setattr("netwright.training.reading.WORTH", 0.0)
    network = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    generators = random_state()
    found = choose(streamed, network)
    assert found is not None and (found.workers, found.pinned) in [(0, False), ("thread", False), (1, False)]
    for way in ("between the steps", "ahead by a thread", "ahead by 1 process"):
        assert way in found.line()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    after = random_state()
    assert torch.equal(torch.as_tensor(after["torch"]), torch.as_tensor(generators["torch"]))


@pytest.fixture
def clock(monkeypatch):
    """Sets what a step, the reading of a batch, and an epoch by each way in turn are measured to take."""

    def set_to(*, step: float = 0.01, reading: float = 0.009, epochs: tuple[float, ...] = ()) -> None:
        times = iter(epochs)
        where = "netwright.training.reading."
        monkeypatch.setattr(where + "_step_seconds", lambda steps: step)
        monkeypatch.setattr(where + "_reading_seconds", lambda data, batch: reading)
        monkeypatch.setattr(where + "_epoch_seconds", lambda steps, count: next(times))
        monkeypatch.setattr(where + "available_cores", lambda: 3)

    return set_to


def test_the_simpler_way_is_taken_where_nothing_is_gained(streamed, clock):
    clock(epochs=(5.0, 0.97, 2.0, 1.0, 5.0, 0.96))
    assert choose(streamed, nn.Linear(8, 2)).workers == 0
    clock(epochs=(1.0, 0.8, 0.78, 2.0, 2.0, 2.0))
    assert choose(streamed, nn.Linear(8, 2)).workers == "thread"
    clock(epochs=(12.34, 8.0, 0.3, 20.0, 20.0, 20.0))
    found = choose(streamed, nn.Linear(8, 2))
    assert found.workers == 3
    assert found.line() == (
        "read ahead by 3 processes: 0.3 s an epoch, by a trial (between the steps 12 s, ahead by a thread 8 s)"
    )


def test_slow_steps_are_not_tried_in_every_way(streamed, clock):
    clock(step=4.0, reading=0.1)
    found = choose(streamed, nn.Linear(8, 2))
    assert (found.workers, found.reason) == (0, "reading is 2.5% of a step")
    clock(step=4.0, reading=1.0)
    assert choose(streamed, nn.Linear(8, 2)).workers == "thread"
    clock(step=4.0, reading=3.0)
    assert choose(streamed, nn.Linear(8, 2)).workers == 3


def test_nothing_is_tried_for_a_few_steps(streamed):
    assert choose(streamed, nn.Linear(8, 2), batch=100) is None


def test_what_is_said():
    found = Reading("thread", True, "0.5 s an epoch")
    assert found.line() == "read ahead by a thread through pinned memory: 0.5 s an epoch"
