"""The activations by name: PyTorch's own layers, and the one that PyTorch lacks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from netwright.registry import Registry


class BinaryStep(nn.Module):
    """Gives 1 where the input is at least 0, else 0; the gradient goes straight through where |input| <= 1.

    The step's true gradient is 0 wherever it exists: nothing below it could ever learn. The straight-through
    estimator uses the gradient of another function in its place: of the identity in Bengio, Leonard and
    Courville, "Estimating or Propagating Gradients Through Stochastic Neurons for Conditional Computation"
    (2013, arXiv:1308.3432); of clamp(x, -1, 1) in Hubara et al., "Binarized Neural Networks"
    (2016, arXiv:1602.02830, equation 4), which stops pushing units that are already far from the edge. The
    second is used here. Input and output: float, any shape. NaN stays NaN.

    >>> x = torch.tensor([-2.0, -0.5, 0.0, 3.0], requires_grad=True)
    >>> BinaryStep()(x).tolist()
    [0.0, 0.0, 1.0, 1.0]
    >>> BinaryStep()(x).sum().backward()
    >>> x.grad.tolist()
    [0.0, 1.0, 1.0, 0.0]
    """

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        through = inputs.clamp(-1, 1)
        # `through - through` is exactly 0, so the value is the step's and the gradient the clamp's.
        return (inputs >= 0).to(inputs.dtype) + (through - through.detach())


activations: Registry[Callable[..., nn.Module]] = Registry(
    "activation",
    {
        "sigmoid": nn.Sigmoid,
        "tanh": nn.Tanh,
        "relu": nn.ReLU,
        "leaky-relu": nn.LeakyReLU,
        "elu": nn.ELU,
        "gelu": nn.GELU,
        "silu": nn.SiLU,
        "softmax": partial(nn.Softmax, dim=1),
        "log-softmax": partial(nn.LogSoftmax, dim=1),
        "binary-step": BinaryStep,
        "identity": nn.Identity,
    },
)
