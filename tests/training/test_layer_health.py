"""How layers fare: the measures against plain torch, and that looking changes nothing."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from netwright.training.evaluation import evaluate
from netwright.training.layer_health import Activations, layers_of, watched
from netwright.training.loop import Step, begin, train
from netwright.training.randomness import random_state


def batches(count: int = 6) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(16, 4, generator=generator), torch.randint(3, (16,), generator=generator))
        for _ in range(count)
    ]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))


def epochs_of(net: nn.Module, *, look: bool) -> tuple[list[dict], Step]:
    found = []
    state = begin(net, batches(), epochs=3, lr=0.01, device="cpu")
    for step in train(net, batches(), epochs=3, state=state):
        if step.ends_epoch:
            with watched(net) if look else watched(nn.Identity()) as seen:
                evaluate(net, batches(2), state.loss)
            if look:
                found.append(layers_of(state, seen))
    return found, step


def test_norms_and_changes_are_those_of_torch() -> None:
    net = network()
    before = copy.deepcopy(net.state_dict())
    found, step = epochs_of(net, look=True)
    for name in ("0", "1", "4"):
        own = torch.cat([one.detach().flatten() for one in net.get_submodule(name).parameters()])
        slopes = torch.cat([one.grad.flatten() for one in net.get_submodule(name).parameters()])
        assert found[-1][name]["weights"] == pytest.approx(float(own.norm()), rel=1e-3)
        assert found[-1][name]["gradient"] == pytest.approx(float(slopes.norm()), rel=1e-3)
    assert found[0]["0"]["change"] is None and 0 < found[1]["0"]["change"] < 1
    # All of so few weights are in the sample: the change of one more epoch is that of the whole.
    old = {key: value.clone() for key, value in net.state_dict().items()}
    with torch.no_grad():
        net[0].weight.mul_(1.5)
    moved = layers_of(step.state, Activations())["0"]["change"]
    both = [torch.cat([one["0.weight"].flatten(), one["0.bias"]]) for one in (old, net.state_dict())]
    assert moved == pytest.approx(float((both[1] - both[0]).norm() / both[0].norm()), rel=1e-3)
    assert not torch.equal(before["0.weight"], old["0.weight"])


def test_looking_changes_no_bit() -> None:
    nets = [network(), network()]
    ends = []
    for net, look in zip(nets, (True, False)):
        torch.manual_seed(1)
        _, step = epochs_of(net, look=look)
        ends.append((net.state_dict(), step.state.optimizer.state_dict(), random_state()))
        assert all(not one._forward_hooks for one in net.modules())
        assert net.training and net[1].training
    assert str(ends[0]) == str(ends[1])
    assert all(torch.equal(ends[0][0][key], ends[1][0][key]) for key in ends[0][0])


def test_dead_and_saturated_units_are_counted() -> None:
    net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2), nn.Tanh(), nn.Linear(2, 1), nn.Sigmoid())
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(4, 2))
        net[0].bias.copy_(torch.tensor([0.0, 0.0, -1.0, -1.0]))  # the last two give 0 for every input
        net[2].weight.copy_(torch.tensor([[100.0, 0, 0, 0], [0.001, 0, 0, 0]]))
    with watched(net) as seen:
        net(torch.rand(64, 2) + 1)
        net(torch.zeros(64, 2))  # a second batch is not looked at
    assert seen.entries() == {"1": {"dead": 0.5}, "3": {"dead": pytest.approx(0, abs=0.6), "saturated": 0.5}}


@pytest.mark.parametrize(
    ("net", "shape", "dead"),
    [
        (nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Flatten()), (8, 1, 3, 3), 0.25),
        (nn.Sequential(nn.Conv1d(1, 4, 1), nn.ReLU(), nn.Flatten()), (8, 1, 5), 0.25),
        (nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Flatten()), (8, 5, 1), 0.25),
    ],
    ids=["images", "rows", "tokens"],
)
def test_units_are_channels(net: nn.Sequential, shape: tuple[int, ...], dead: float) -> None:
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[0].bias.copy_(torch.tensor([0.0, 0.0, 0.0, -100.0]))
    with watched(net) as seen:
        net(torch.rand(*shape))
    assert seen.entries()["1"]["dead"] == dead


def test_hooks_go_when_the_network_fails() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(3, 1))
    with pytest.raises(RuntimeError), watched(net):
        net(torch.rand(4, 2))
    assert all(not one._forward_hooks for one in net.modules())


def test_a_deep_network_is_sampled_and_a_frozen_layer_has_no_gradient() -> None:
    net = nn.Sequential(*[nn.Linear(2, 2) for _ in range(250)])
    net[0].requires_grad_(False)
    state = begin(net, batches(), task="classification", num_classes=2, device="cpu")
    found = layers_of(state, Activations())
    assert len(found) == 100 and "0" in found and "249" in found
    assert found["0"]["gradient"] is None
