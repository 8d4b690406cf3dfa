"""Fitting a guard: it leaves everything as it was, and what it cannot do it says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import netwright as nw
from netwright.doubt import Calibration, flagged, guarded


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 10))  # fmt: skip


def test_network_and_generators_are_left_as_they_were() -> None:
    data, net = nw.load("digits"), network().train()
    net[2].eval()  # a batch norm that the user froze
    before = {name: value.clone() for name, value in net.state_dict().items()}
    torch.manual_seed(7)
    np.random.seed(7)
    first = guarded(net, data, share=0.02, learned=False)
    drawn = torch.rand(3), np.random.random(3)
    torch.manual_seed(7)
    np.random.seed(7)
    assert torch.equal(torch.rand(3), drawn[0]) and np.array_equal(np.random.random(3), drawn[1])
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net[1].training and not net[2].training
    assert not any(module._forward_pre_hooks for module in net.modules())
    again = guarded(net, data, share=0.02, learned=False)
    assert first.guard is not None and again.guard is not None
    assert first.guard.saved() == again.guard.saved()
    assert first.entries["layer"] == "5" and first.entries["views"] == ["features", "input", "statistics"]
    assert flagged(net, first.guard, data.validation)[0] <= 0.02


class Stubborn(nn.Module):
    """Refuses batches of two."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        if len(x) == 2:
            raise RuntimeError("not two\nat once")
        return self.layer(x.flatten(1))


def test_a_network_that_it_does_not_suit_is_no_reason_to_fail() -> None:
    found = guarded(Stubborn(), nw.load("digits"), share=0.01, learned=False)
    assert found.guard is None and found.entries == {"reason": "it could not be fitted (not two)"}


def test_a_network_of_one_layer_is_judged_by_its_outputs_and_its_input() -> None:
    x = torch.randn(800, 5, generator=torch.Generator().manual_seed(0))
    data = nw.load(x, (x[:, 0] > 0).long())
    found = guarded(nn.Linear(5, 2), data, share=0.05, learned=False)
    assert found.guard is not None and found.entries["layer"] is None
    with torch.no_grad():
        odd = torch.full((1, 5), 30.0)
        assert float(found.guard(odd, odd, torch.zeros(1, 2))) > 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_outputs_that_are_not_finite_are_not_calibrated(bad: float) -> None:
    shares = torch.full((60, 2), 0.5)
    shares[3, 1] = bad
    found = Calibration.fitted((shares, torch.zeros(60, dtype=torch.int64)), learned=False)
    assert found.temperature == 1 and found.reason is not None and "not finite" in found.reason
