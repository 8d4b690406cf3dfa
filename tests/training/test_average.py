import io

import pytest
import torch
from torch import nn

from netwright.errors import CheckpointError, RecipeError
from netwright.training.average import Average


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def train(net, average, numbers):
    """Steps of SGD; returns the weights after each."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    history = []
    for number in numbers:
        generator = torch.Generator().manual_seed(number)
        optimizer.zero_grad()
        net(torch.randn(8, 3, generator=generator)).square().mean().backward()
        optimizer.step()
        average.update(net)
        history.append([parameter.detach().clone() for parameter in net.parameters()])
    return history


def test_average_is_its_closed_form():
    net = network()
    average = Average(net, decay=0.8)
    history = train(net, average, range(6))
    count = len(history) - 1
    shares = [0.8**count, *(0.2 * 0.8 ** (count - step) for step in range(1, count + 1))]
    assert sum(shares) == pytest.approx(1)
    with average.applied(net):
        for index, parameter in enumerate(net.parameters()):
            expected = sum(
                share * weights[index].double() for share, weights in zip(shares, history, strict=True)
            )
            torch.testing.assert_close(parameter.detach().double(), expected, rtol=1e-5, atol=1e-6)
    assert average.steps == 6


def test_first_update_copies():
    net = network()
    average = Average(net, decay=0.9)
    train(net, average, [0])
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in average.weights().items())


def test_own_weights_are_back_bit_for_bit_and_in_place():
    net = network()
    average = Average(net, decay=0.9)
    train(net, average, range(4))
    before = {key: value.clone() for key, value in net.state_dict().items()}
    places = [parameter.data_ptr() for parameter in net.parameters()]
    with pytest.raises(ZeroDivisionError), average.applied(net):
        assert not torch.equal(net[0].weight, before["0.weight"])
        assert all(torch.equal(value, average.weights()[name]) for name, value in net.named_parameters())
        raise ZeroDivisionError
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert [parameter.data_ptr() for parameter in net.parameters()] == places


def test_before_the_first_update_the_own_weights_stay():
    net = network()
    average = Average(net, decay=0.9)
    with torch.no_grad():
        net[0].weight.fill_(7)
    with average.applied(net):
        assert (net[0].weight == 7).all()


def test_buffers_are_the_networks_own():
    net = network()
    average = Average(net, decay=0.9)
    train(net, average, range(3))
    for name, buffer in net.named_buffers():
        assert torch.equal(average.weights()[name], buffer)
    assert average.weights()["1.num_batches_tracked"] == 3
    running = net[1].running_mean.clone()
    with average.applied(net):
        assert torch.equal(net[1].running_mean, running)


def test_resumed_average_is_bit_for_bit_the_same():
    straight = network()
    expected = Average(straight, decay=0.9)
    train(straight, expected, range(7))

    first = network()
    average = Average(first, decay=0.9)
    train(first, average, range(3))
    file = io.BytesIO()
    torch.save((first.state_dict(), average.state_dict()), file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    second = network(seed=5)
    again = Average(second, decay=0.9)
    second.load_state_dict(saved[0])
    again.load_state_dict(saved[1])
    train(second, again, range(3, 7))
    assert again.steps == 7
    assert all(torch.equal(value, expected.weights()[key]) for key, value in again.weights().items())


def test_network_is_not_changed_by_being_averaged():
    net = network()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    state = torch.get_rng_state()
    average = Average(net)
    average.update(net)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert all(parameter.requires_grad for parameter in net.parameters())


@pytest.mark.parametrize("decay", [0, 1, 1.5, -0.1, "a", True])
def test_impossible_decay(decay):
    with pytest.raises(RecipeError, match=r"the decay of the average \(ema\) is between 0 and 1"):
        Average(network(), decay=decay)


@pytest.mark.parametrize("state", [{}, {"weights": {"0.weight": torch.zeros(1)}, "steps": 1}])
def test_average_of_another_network(state):
    with pytest.raises(CheckpointError, match="the saved average does not belong to this network"):
        Average(network()).load_state_dict(state)
