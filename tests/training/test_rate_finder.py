"""The learning-rate finder."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from netwright.data import load
from netwright.errors import TrainingFailed
from netwright.training.loop import begin, train
from netwright.training.rate_finder import find_rate


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def test_the_found_rate_trains_better_than_a_hundredth_of_it_and_does_not_diverge() -> None:
    data = load("digits").train
    found = find_rate(network(), lambda module: begin(module, data, optimizer="adam", device="cpu"), data)
    assert 1e-5 < found.rate < 1

    def loss_after(rate: float) -> float:
        *_, last = train(network(), data, optimizer="adam", lr=rate, epochs=2, device="cpu")
        return float(last.state.epoch_loss)

    assert loss_after(found.rate) < 0.5 * loss_after(found.rate / 100)


def test_network_and_generators_are_left_as_they_were() -> None:
    data, module = load("digits").train, network()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    torch.manual_seed(4)
    generator = torch.get_rng_state()
    find_rate(module, lambda copy: begin(copy, data, optimizer="sgd", device="cpu"), data)
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_a_loss_that_no_rate_lowers_is_said() -> None:
    data = load("digits").train

    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(10))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (self.weight * 0).expand(len(x), 10)

    with pytest.raises(TrainingFailed, match="no learning rate"):
        find_rate(Constant(), lambda copy: begin(copy, data, optimizer="sgd", device="cpu"), data)
