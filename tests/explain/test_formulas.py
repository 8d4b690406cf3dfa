"""What is said of layers is true of them: the formulas' own examples, by PyTorch."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn
from torch.nn import functional

from netwright.explain.formulas import ACTIVATIONS, FORMULAS, SAME, formula_of

# Layers of torch.nn that hold others, measure losses, or that nobody writes: all others have a formula.
ELSEWHERE = {
    "Module",
    "Container",
    "Sequential",
    "ModuleList",
    "ModuleDict",
    "ParameterList",
    "ParameterDict",
}
ELSEWHERE |= {"Transformer", "TransformerEncoder", "TransformerDecoder", "TransformerEncoderLayer"}
ELSEWHERE |= {
    "TransformerDecoderLayer",
    "RNNBase",
    "RNNCellBase",
    "AdaptiveLogSoftmaxWithLoss",
    "CircularPad",
}
ELSEWHERE |= {"DataParallel", "PairwiseDistance", "LPPool1d", "LPPool2d", "LPPool3d", "Fold", "Softmax2d"}
ELSEWHERE |= {"MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d", "CrossMapLRN2d", "FeatureAlphaDropout"}


def test_every_layer_that_people_use_has_one() -> None:
    layers = {
        name
        for name, kind in vars(nn).items()
        if inspect.isclass(kind)
        and issubclass(kind, nn.Module)
        and "Loss" not in name
        and not name.startswith("Lazy")
    }
    assert layers - set(FORMULAS) - ELSEWHERE == set()


def test_functions_mean_layers_that_have_one() -> None:
    assert {kind for kind in SAME.values() if kind not in FORMULAS} == set()
    assert set(FORMULAS) >= ACTIVATIONS
    assert formula_of("no such layer") is None


@pytest.mark.parametrize("name", sorted(ACTIVATIONS - {"PReLU", "RReLU", "Threshold"}))
def test_activations_work_place_by_place(name: str) -> None:
    x = torch.linspace(-3, 3, 7)
    layer = getattr(nn, name)()
    assert torch.allclose(layer(x), torch.stack([layer(one) for one in x]), atol=1e-5)


def test_slopes_that_are_stated() -> None:
    x = torch.linspace(-4, 4, 33, dtype=torch.float64).requires_grad_()

    def slope(values: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(values.sum(), x)[0]

    with torch.no_grad():
        sigmoid, tanh = torch.sigmoid(x), torch.tanh(x)
    assert torch.allclose(slope(torch.sigmoid(x)), sigmoid * (1 - sigmoid))
    assert torch.allclose(slope(torch.tanh(x)), 1 - tanh**2)
    assert torch.allclose(slope(functional.softplus(x)), sigmoid)
    assert torch.allclose(slope(functional.logsigmoid(x)), 1 - sigmoid)
    assert torch.allclose(slope(functional.softsign(x)), 1 / (1 + x.detach().abs()) ** 2)
    assert torch.allclose(slope(functional.tanhshrink(x)), tanh**2)
