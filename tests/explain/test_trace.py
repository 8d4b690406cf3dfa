"""A watched pass: what it sees, what it says of a network that cannot run, and that it leaves everything as it was."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from netwright.errors import NetworkError
from netwright.explain.trace import trace

Made = Callable[[str], tuple[nn.Module, Any]]


def everything(network: nn.Module) -> dict[str, Any]:
    """All that a watcher could change."""
    return {
        "state": {key: value.clone() for key, value in network.state_dict().items()},
        "modes": [module.training for module in network.modules()],
        "hooks": [
            (len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks))
            for module in network.modules()
        ],
        "trained": [parameter.requires_grad for parameter in network.parameters()],
        "gradients": [parameter.grad for parameter in network.parameters()],
        "entries": [sorted(vars(module)) for module in network.modules()],
    }


def test_a_network_is_left_as_it_was(made: Made, kind: str) -> None:
    network, batch = made(kind)
    first = next(iter(network.parameters()))
    first.requires_grad_(False)
    before, generators = (
        everything(network),
        (torch.get_rng_state(), random.getstate(), np.random.get_state()[1]),
    )
    copies = (
        {key: value.clone() for key, value in batch.items()} if isinstance(batch, dict) else batch.clone()
    )
    trace(network, batch)
    after = everything(network)
    for key, value in before.pop("state").items():
        assert torch.equal(value, after["state"][key]), key
    del after["state"]
    assert before == after
    assert torch.equal(generators[0], torch.get_rng_state()) and generators[1] == random.getstate()
    assert np.array_equal(generators[2], np.random.get_state()[1])
    values = zip(batch.values(), copies.values()) if isinstance(batch, dict) else [(batch, copies)]
    assert all(torch.equal(one, other) for one, other in values)


def test_outputs_are_those_of_the_network(made: Made, kind: str) -> None:
    network, batch = made(kind)
    network.eval()
    with torch.no_grad():
        expected = network(**batch) if isinstance(batch, dict) else network(batch)
    given = trace(network, batch).visits[0].given
    assert given is not None and given.shape == tuple(expected.shape)
    assert given.mean == pytest.approx(float(expected.mean()), rel=1e-4, abs=1e-6)
    assert given.high == pytest.approx(float(expected.max()), rel=1e-4)


def test_one_forward_pass_of_a_large_network() -> None:
    calls = 0

    class Counting(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            return super().forward(x)

    # 100 million parameters, the weights of which lie nowhere.
    with torch.device("meta"):
        network = Counting(*(nn.Linear(5000, 5000) for _ in range(4)))
    found = trace(network, torch.zeros(1, 5000))
    assert calls == 1 and found.visits[0].products == 4 * 5000**2


def test_gradients_are_those_of_autograd(made: Made) -> None:
    network, batch = made("mlp")
    network.eval()
    targets = torch.tensor([3, 1])
    found = trace(network, batch, loss=lambda outputs: nn.functional.cross_entropy(outputs, targets))
    nn.functional.cross_entropy(network(batch), targets).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        assert found.parameter_gradients[name].deviation == pytest.approx(
            float(parameter.grad.std(correction=0)), rel=1e-4
        )


def test_the_gradient_of_a_layers_output_is_that_of_autograd(made: Made) -> None:
    network, batch = made("functional")
    found = trace(network, batch)
    x = network.first(batch).detach().requires_grad_()
    network.second(torch.relu(x)).log_softmax(1).max(1).values.sum().backward()
    assert x.grad is not None
    seen = next(visit for visit in found.visits if visit.name == "first").gradient
    assert seen is not None and seen.mean == pytest.approx(float(x.grad.mean()), rel=1e-4)


@pytest.mark.parametrize(
    ("layer", "share"),
    [
        (nn.ReLU(), 3 / 5),
        (nn.ReLU(inplace=True), 3 / 5),
        (nn.Sigmoid(), 2 / 5),  # slope y(1 - y) under 0.05 from |x| = 2.9 on
        (nn.Tanh(), 2 / 5),
        (nn.LeakyReLU(0.2), 0.0),
        (nn.Hardtanh(), 2 / 5),
    ],
    ids=str,
)
def test_the_share_of_saturated_units(layer: nn.Module, share: float) -> None:
    found = trace(nn.Sequential(nn.Identity(), layer), torch.tensor([[-9.0, -0.5, 0.0, 0.5, 9.0]]))
    assert found.visits[-1].flat == pytest.approx(share)


def test_functions_between_layers_are_seen_and_know_where_their_input_came_from(made: Made) -> None:
    network, batch = made("two")
    visits = trace(network, batch).visits
    assert [visit.kind for visit in visits] == [
        "TwoInputs", "Linear", "ReLU", "Linear", "ReLU", "cat", "Linear", "ReLU",
    ]  # fmt: skip
    cat = visits[5]
    assert cat.sources == {2, 4} and [spec.shape for spec in cat.inputs] == [(2, 8), (2, 8)]
    assert visits[1].sources == {-1} and visits[3].sources == {-2}


@pytest.mark.parametrize(
    ("network", "batch", "said"),
    [
        (
            nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(5, 4))),
            torch.zeros(2, 4),
            "layer 1.0, Linear(in_features=5",
        ),
        (
            nn.Sequential(nn.Linear(5, 4)),
            torch.zeros(2, 4),
            "It takes 5 numbers in the last dimension, and 4 came",
        ),
        (nn.Sequential(nn.Conv2d(3, 4, 3)), torch.zeros(1, 1, 8, 8), "refused (1, 1, 8, 8) float32"),
        (nn.Sequential(nn.Embedding(4, 2)), torch.tensor([[9]]), "ids run from 0 to 3"),
        (nn.Sequential(nn.Embedding(4, 2)), torch.zeros(1, 2), "It takes whole numbers"),
        (nn.Sequential(nn.Linear(4, 4)), {"x": torch.zeros(1, 4)}, "Its forward takes (input)"),
        (nn.Sequential(nn.Linear(4, 4)), (), "refused no tensor"),
        (nn.ModuleList([nn.Linear(4, 4)]), torch.zeros(1, 4), 'missing the required "forward"'),
    ],
)
def test_the_layer_that_refuses_is_named(network: nn.Module, batch: Any, said: str) -> None:
    hooks = everything(network)["hooks"]
    with pytest.raises(NetworkError) as raised:
        trace(network, batch)
    assert said in str(raised.value) and len(str(raised.value).splitlines()) <= 4
    assert everything(network)["hooks"] == hooks


def test_lazy_layers_stay_lazy() -> None:
    network = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(2))
    found = trace(network, torch.zeros(1, 7))
    assert found.visits[1].kind == "Linear" and "lazy" in found.notes[0]
    assert isinstance(network[0], nn.LazyLinear) and network[0].has_uninitialized_params()


class Odd(nn.Module):
    """A forward by name, for what does not fit a Sequential."""

    def __init__(self, forward: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self._forward = forward

    def forward(self, *args: Any) -> Any:
        return self._forward(self, *args)


def test_networks_of_all_sorts() -> None:
    x = torch.randn(2, 4)
    double = trace(Odd(lambda net, x: x * 2), x)
    assert double.notes and "No gradient comes back" in double.notes[0]
    several = trace(Odd(lambda net, x: {"a": net.l(x), "b": (x, None)}, l=nn.Linear(4, 3)), x)
    assert [spec.shape for spec in several.outputs] == [(2, 3), (2, 4)]
    blocks = trace(
        Odd(
            lambda net, x: net.b(checkpoint(net.a, x, use_reentrant=False)),
            a=nn.Sequential(nn.Linear(4, 4), nn.ReLU()),
            b=nn.Linear(4, 2),
        ),
        x,
    )
    assert blocks.notes == () and len(blocks.visits) == 5
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        given = trace(nn.Sequential(nn.Linear(4, 3)).to(dtype), x.to(dtype)).visits[-1].given
        assert given is not None and given.dtype == str(dtype).removeprefix("torch.")
    nan = trace(Odd(lambda net, x: torch.log(net.l(x) - 100), l=nn.Linear(4, 3)), x).visits[-1].given
    assert nan is not None and nan.nan == 6 and nan.mean is None


def test_tensors_without_numbers_have_shapes() -> None:
    batched = trace(Odd(lambda net, x: torch.vmap(net.l)(x), l=nn.Linear(4, 3)), torch.zeros(2, 4))
    linear = next(visit for visit in batched.visits if visit.kind == "Linear")
    assert linear.given is None and linear.outputs[0].shape == (3,)
    sparse = trace(
        Odd(lambda net, x: net.l(torch.sparse.mm(x.to_sparse(), x)), l=nn.Linear(3, 3)), torch.ones(3, 3)
    )
    assert sparse.outputs[0].shape == (3, 3)


def test_an_exported_program_is_refused_in_words() -> None:
    program = torch.export.export(nn.Linear(3, 3), (torch.zeros(2, 3),)).module()
    with pytest.raises(NetworkError, match="Inspect the Python module that it was made from"):
        trace(program, torch.zeros(2, 3))


def test_products_in_inference_mode() -> None:
    def quiet(net: Any, x: Tensor) -> Tensor:
        with torch.inference_mode():
            return net.l(x) @ torch.ones(3, 2)

    assert trace(Odd(quiet, l=nn.Linear(4, 3)), torch.zeros(2, 4)).visits[0].products == 24 + 12


def test_a_loop_over_time_is_cut_to_shapes_at_last() -> None:
    def unrolled(net: Any, x: Tensor) -> Tensor:
        state = torch.zeros(1, 8)
        for step in range(300):
            state = net.cell(x[:, step], state) * 0.5
        return state

    found = trace(Odd(unrolled, cell=nn.GRUCell(4, 8)), torch.randn(1, 300, 4))
    assert sum(visit.taken is not None for visit in found.visits) == 400 and len(found.visits) == 601
    assert found.visits[0].products == 300 * (3 * 8 * 4 + 3 * 8 * 8)
