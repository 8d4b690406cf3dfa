"""Norms of gradients against autograd, and that a stack of sigmoids loses them on their way down."""

from __future__ import annotations

import torch

from netwright.architectures import network
from netwright.comparing.gradients import norms
from netwright.data import load


def test_norms_are_those_of_autograd():
    data = load("digits")
    torch.manual_seed(0)
    net = network("mlp", data, hidden=[8, 8])
    layers, found = norms(net, data, torch.nn.CrossEntropyLoss())
    x, y = data.train.prepared(slice(0, 256))
    weights = [module.weight for module in net if isinstance(module, torch.nn.Linear)]
    known = torch.autograd.grad(torch.nn.functional.cross_entropy(net(x), y), weights)
    assert layers == ["1", "3", "5"]
    torch.testing.assert_close(torch.tensor(found), torch.stack([one.norm() for one in known]))
    assert all(parameter.grad is None for parameter in net.parameters())


def test_sigmoids_lose_the_gradient_and_relus_keep_it():
    data = load("digits")
    faded = {}
    for activation in ("sigmoid", "relu"):
        torch.manual_seed(0)
        net = network("mlp", data, hidden=[64] * 5, activation=activation)
        found = norms(net, data, torch.nn.CrossEntropyLoss())[1]
        faded[activation] = found[-1] / found[0]
    assert faded["sigmoid"] > 500 and faded["relu"] < 10
