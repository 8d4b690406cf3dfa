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
    monkeypatch.setattr("netwright.training.reading._cores", lambda: 1)
    network = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    generators = random_state()
    found = choose(streamed, network)
    assert found is not None and (found.workers, found.pinned) in [(0, False), ("thread", False), (1, False)]
    assert set(found.seconds) == {"between the steps", "ahead by a thread", "ahead by 1 process"}
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    after = random_state()
    assert torch.equal(torch.as_tensor(after["torch"]), torch.as_tensor(generators["torch"]))


def test_the_simpler_way_is_taken_where_nothing_is_gained(streamed, monkeypatch):
    times = iter([9.0, 1.0, 0.97, 0.96])  # the first is thrown away
    monkeypatch.setattr("netwright.training.reading._epoch_seconds", lambda steps, count: next(times))
    assert choose(streamed, nn.Linear(8, 2)).workers == 0
    times = iter([9.0, 1.0, 0.8, 0.78])
    assert choose(streamed, nn.Linear(8, 2)).workers == "thread"
    times = iter([9.0, 1.0, 0.8, 0.3])
    monkeypatch.setattr("netwright.training.reading._cores", lambda: 3)
    assert choose(streamed, nn.Linear(8, 2)).workers == 3


def test_nothing_is_tried_for_a_few_steps(streamed):
    assert choose(streamed, nn.Linear(8, 2), batch=100) is None


def test_what_is_said():
    found = Reading(
        "thread", True, {"between the steps": 12.34, "ahead by a thread through pinned memory": 0.5}
    )
    assert found.line() == (
        "read ahead by a thread through pinned memory: 0.5 s an epoch, by a trial (between the steps 12 s)"
    )
