"""The networks by name: plain nn.Sequential of PyTorch's own layers, with PyTorch's own initialisation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from netwright.architectures.activations import activations
from netwright.errors import NetworkError
from netwright.registry import Registry


def mlp(
    input_shape: Sequence[int],
    num_outputs: int,
    *,
    hidden: int | Sequence[int] = (128,),
    activation: str | Sequence[str] = "relu",
    dropout: float = 0.0,
    batch_norm: bool = False,
    output_activation: str | None = None,
) -> nn.Sequential:
    """Returns a multi-layer perceptron: Flatten, then Linear (BatchNorm1d) activation (Dropout), then Linear.

    It takes (N, *input_shape) float and gives (N, num_outputs) float, logits unless `output_activation` names
    something else. `hidden` holds the sizes of the hidden layers (none: a linear model), `activation` one name
    for all of them or one for each, `dropout` the share of hidden values set to 0 in training, in [0, 1).
    Raises NetworkError for sizes and shares that cannot be.

    >>> mlp((1, 28, 28), 10, hidden=[64], activation="tanh")
    Sequential(
      (0): Flatten(start_dim=1, end_dim=-1)
      (1): Linear(in_features=784, out_features=64, bias=True)
      (2): Tanh()
      (3): Linear(in_features=64, out_features=10, bias=True)
    )
    """
    sizes = _sizes(hidden, "hidden")
    names = _one_each(activation, len(sizes), f"{len(sizes)} hidden layers")
    _check_dropout(dropout)
    _check_switch(batch_norm, "batch_norm")
    layers: list[nn.Module] = [nn.Flatten()]
    width = math.prod(input_shape)
    for size, name in zip(sizes, names, strict=True):
        # The bias before batch norm is cancelled by it, yet kept: it is what people write by hand.
        layers.append(nn.Linear(width, size))
        if batch_norm:
            layers.append(nn.BatchNorm1d(size))
        layers.append(activations[name]())
        if dropout:
            layers.append(nn.Dropout(dropout))
        width = size
    layers.append(nn.Linear(width, num_outputs))
    if output_activation is not None:
        layers.append(activations[output_activation]())
    return nn.Sequential(*layers)


def cnn(
    input_shape: Sequence[int],
    num_outputs: int,
    *,
    channels: int | Sequence[int] | None = None,
    activation: str | Sequence[str] = "relu",
    dropout: float = 0.0,
    batch_norm: bool = True,
    output_activation: str | None = None,
) -> nn.Sequential:
    """Returns a small convolutional network: blocks of Conv2d 3x3 (BatchNorm2d) activation MaxPool2d, then Linear.

    It takes (N, channels, height, width) float and gives (N, num_outputs) float, logits unless
    `output_activation` names something else. `channels` holds the filters of each block; None chooses them from
    the image: 32, 64 (and 128, 256, 256, ...), one block for each halving down to 8 pixels, at least two. A
    block halves the image while there are 2 pixels to halve. If the last map has sides over 8, it is averaged
    down to 8 or less. `dropout` acts before the last layer. Raises NetworkError for examples that are no
    images, and for sizes and shares that cannot be.

    >>> cnn((3, 8, 8), 10, channels=[16], batch_norm=False)
    Sequential(
      (0): Conv2d(3, 16, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
      (1): ReLU()
      (2): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
      (3): Flatten(start_dim=1, end_dim=-1)
      (4): Linear(in_features=256, out_features=10, bias=True)
    )
    """
    if len(input_shape) != 3:
        raise NetworkError(
            f"network 'cnn' expects images (channels, height, width), but one example has the shape "
            f"{tuple(input_shape)}.\nUse network 'mlp', which takes any shape."
        )
    depth, height, width = input_shape
    filters = _sizes(_filters(min(height, width)) if channels is None else channels, "channels")
    names = _one_each(activation, len(filters), f"{len(filters)} blocks")
    _check_dropout(dropout)
    _check_switch(batch_norm, "batch_norm")
    layers: list[nn.Module] = []
    for size, name in zip(filters, names, strict=True):
        layers.append(nn.Conv2d(depth, size, 3, padding=1, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm2d(size))
        layers.append(activations[name]())
        if min(height, width) >= 2:
            layers.append(nn.MaxPool2d(2))
            height, width = height // 2, width // 2
        depth = size
    if max(height, width) > 8:
        # Not AdaptiveAvgPool2d: its gradient is not deterministic on CUDA.
        kernel = math.ceil(height / 8), math.ceil(width / 8)
        layers.append(nn.AvgPool2d(kernel, ceil_mode=True))
        height, width = math.ceil(height / kernel[0]), math.ceil(width / kernel[1])
    layers.append(nn.Flatten())
    if dropout:
        layers.append(nn.Dropout(dropout))
    layers.append(nn.Linear(depth * height * width, num_outputs))
    if output_activation is not None:
        layers.append(activations[output_activation]())
    return nn.Sequential(*layers)


networks: Registry[Callable[..., nn.Module]] = Registry("network", {"mlp": mlp, "cnn": cnn})


def _filters(side: int) -> list[int]:
    blocks = max(2, math.ceil(math.log2(side / 8)) if side > 8 else 2)
    return [min(32 * 2**block, 256) for block in range(blocks)]


def _sizes(sizes: Any, option: str) -> list[int]:
    listed = [sizes] if isinstance(sizes, int) else sizes
    if not isinstance(listed, (list, tuple)) or not all(
        isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in listed
    ):
        raise NetworkError(f"`{option}` expects whole numbers above 0, as in [128, 64]; got {sizes!r}")
    return list(listed)


def _one_each(activation: Any, count: int, places: str) -> list[str]:
    if isinstance(activation, str):
        return [activation] * count
    if not isinstance(activation, (list, tuple)) or not all(isinstance(name, str) for name in activation):
        raise NetworkError(f"`activation` expects a name or a list of names; got {activation!r}")
    if len(activation) != count:
        raise NetworkError(
            f"`activation` lists {len(activation)} names for {places}: give one for each, or one name for all.\n"
            "The last layer's is `output_activation`."
        )
    return list(activation)


def _check_dropout(dropout: Any) -> None:
    if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
        raise NetworkError(f"`dropout` expects a share from 0 up to, not including, 1; got {dropout!r}")


def _check_switch(value: Any, option: str) -> None:
    if not isinstance(value, bool):
        raise NetworkError(f"`{option}` expects true or false; got {value!r}")
