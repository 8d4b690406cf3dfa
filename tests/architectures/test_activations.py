import inspect
import math

import pytest
import torch
from torch import nn

from netwright.architectures import BinaryStep, activations
from netwright.errors import UnknownNameError

VALUES = torch.linspace(-3, 3, 25).reshape(5, 5)

CLOSED_FORMS = {
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
    "tanh": lambda x: (torch.exp(x) - torch.exp(-x)) / (torch.exp(x) + torch.exp(-x)),
    "relu": lambda x: torch.where(x > 0, x, 0.0),
    "leaky-relu": lambda x: torch.where(x > 0, x, 0.01 * x),
    "elu": lambda x: torch.where(x > 0, x, torch.exp(x) - 1),
    "gelu": lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2))),
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "softmax": lambda x: torch.exp(x) / torch.exp(x).sum(1, keepdim=True),
    "log-softmax": lambda x: x - torch.log(torch.exp(x).sum(1, keepdim=True)),
    "binary-step": lambda x: torch.where(x >= 0, 1.0, 0.0),
    "identity": lambda x: x,
}


def test_every_activation_has_a_closed_form_here():
    assert set(CLOSED_FORMS) == set(activations)


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_activation_is_its_closed_form(name):
    torch.testing.assert_close(activations[name]()(VALUES), CLOSED_FORMS[name](VALUES))


def test_binary_step_is_exactly_zero_or_one_everywhere():
    inputs = torch.tensor([-math.inf, -1e30, -1e-30, -0.0, 0.0, 1e-30, 0.3, 1e30, math.inf])
    assert BinaryStep()(inputs).tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 1]
    many = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    assert set(BinaryStep()(many).tolist()) == {0.0, 1.0}


def test_binary_step_keeps_nan_and_the_dtype():
    assert BinaryStep()(torch.tensor([math.nan])).isnan().all()
    assert BinaryStep()(torch.zeros(1, dtype=torch.float64)).dtype is torch.float64


def test_binary_step_gradient_is_that_of_hubara_2016():
    inputs = torch.tensor([-1.5, -1.0, -0.2, 0.0, 0.2, 1.0, 1.5], requires_grad=True)
    weights = torch.arange(1.0, 8.0)
    (BinaryStep()(inputs) * weights).sum().backward()
    assert inputs.grad.tolist() == [0, 2, 3, 4, 5, 6, 0]


def test_a_network_of_binary_steps_learns():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 16), BinaryStep(), nn.Linear(16, 1))
    inputs = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    targets = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    first = network[0].weight.detach().clone()
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.mse_loss(network(inputs), targets).backward()
        optimizer.step()
    assert not torch.equal(network[0].weight, first)
    assert nn.functional.mse_loss(network(inputs), targets) < 0.05


def test_binary_step_prints_as_a_definition_that_works_alone():
    scope = {"torch": torch, "nn": nn}
    exec(inspect.getsource(BinaryStep), scope)
    assert scope["BinaryStep"]()(torch.tensor([-1.0, 1.0])).tolist() == [0, 1]


def test_unknown_name_is_answered_with_the_near_ones():
    with pytest.raises(UnknownNameError, match="unknown activation 'leaky_rely': did you mean 'leaky-relu'"):
        activations["leaky_rely"]
