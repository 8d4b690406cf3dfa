"""The networks by name: plain nn.Sequential of PyTorch's own layers, with PyTorch's own initialisation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from netwright.architectures.activations import activations
from netwright.architectures.images import SpatialMean, SpatialMeanMax, resnet, vit
from netwright.architectures.options import check_dropout, check_switch, choose_norm, normed
from netwright.architectures.series import dlinear, series_transformer, tcn
from netwright.architectures.tables import Embeddings, embedding_width, table_resnet, table_transformer
from netwright.architectures.text import embedding_bag, gpt, gru, lstm, text_cnn, transformer
from netwright.errors import NetworkError, unknown_name
from netwright.registry import Registry


def mlp(
    input_shape: Sequence[int],
    num_outputs: int,
    *,
    hidden: int | Sequence[int] = (128,),
    activation: str | Sequence[str] = "relu",
    dropout: float = 0.0,
    batch_norm: bool = False,
    norm: str | None = None,
    output_activation: str | None = None,
    cardinalities: Sequence[int] = (),
) -> nn.Sequential:
    """Returns a multi-layer perceptron: Flatten, then Linear (BatchNorm1d) activation (Dropout), then Linear.

    It takes (N, *input_shape) float and gives (N, num_outputs) float, logits unless `output_activation` names
    something else. `hidden` holds the sizes of the hidden layers (none: a linear model), `activation` one name
    for all of them or one for each, `dropout` the share of hidden values set to 0 in training, in [0, 1).
    `norm` is "batch" (as `batch_norm`), "layer", "group" (8, 4, 2 or 1 groups, as divides the layer) or "none".
    `cardinalities` follow from a table: its last columns, whole numbers below them, are embedded instead of flattened.
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
    check_dropout(dropout)
    chosen = choose_norm(norm, batch_norm)
    layers: list[nn.Module] = [nn.Flatten()]
    width = math.prod(input_shape)
    if cardinalities:
        widths = [embedding_width(count) for count in cardinalities]
        layers = [Embeddings(cardinalities, widths)]
        width += sum(widths) - len(cardinalities)
    for size, name in zip(sizes, names, strict=True):
        # The bias before batch norm is cancelled by it, yet kept: it is what people write by hand.
        layers.append(nn.Linear(width, size))
        layers += [nn.LayerNorm(size)] if chosen == "layer" else normed(size, chosen, nn.BatchNorm1d)
        layers.append(activations[name]())
        if dropout:
            layers.append(nn.Dropout(dropout))
        width = size
    layers.append(nn.Linear(width, num_outputs))
    if output_activation is not None:
        layers.append(activations[output_activation]())
    return nn.Sequential(*layers)


# `eject` prints these two classes as they stand: they may name nothing but nn.
class Residual(nn.Sequential):
    """Adds what its layers make of the input to the input: (N, C, H, W) float in and out (He et al. 2016)."""

    def forward(self, x):  # type: ignore[no-untyped-def]
        return x + super().forward(x)


class MirrorAverage(nn.Sequential):
    """In evaluation the mean of the outputs for an image (N, C, H, W) and for its mirror image; in training the first."""

    def forward(self, x):  # type: ignore[no-untyped-def]
        outputs = super().forward(x)
        return outputs if self.training else (outputs + super().forward(x.flip(3))) / 2


# What `cnn` makes of its last map, and how many numbers of each channel (None: all).
HEADS: dict[str, tuple[type[nn.Module], int | None]] = {
    "flatten": (nn.Flatten, None),
    "mean": (SpatialMean, 1),
    "mean-max": (SpatialMeanMax, 2),
}


def cnn(
    input_shape: Sequence[int],
    num_outputs: int,
    *,
    channels: int | Sequence[int] | None = None,
    kernels: int | Sequence[int] = 3,
    pools: int | Sequence[int] | None = None,
    padded: bool | Sequence[bool] = True,
    pool_first: bool = False,
    residual: int | Sequence[int] = 0,
    head: str = "flatten",
    mirror: bool = False,
    activation: str | Sequence[str] = "relu",
    dropout: float = 0.0,
    batch_norm: bool = True,
    norm: str | None = None,
    output_activation: str | None = None,
) -> nn.Sequential:
    """Returns a small convolutional network: blocks of Conv2d (BatchNorm2d) activation MaxPool2d, then Linear.

    It takes (N, channels, height, width) float and gives (N, num_outputs) float, logits unless
    `output_activation` names something else. `channels` holds the filters of each block; None chooses them from
    the image: 32, 64 (and 128, 256, 256, ...), one block for each halving down to 8 pixels, at least two.
    `kernels` are the sides of the filters, odd; without `padded` the borders shrink by them. `pools` are the
    factors of the max-pooling; None halves the image while there are 2 pixels to halve. With `pool_first` each
    block pools before it normalises, which is less work. `residual` adds so many residual layers (Conv2d 3x3,
    BatchNorm2d, activation) after each block. `head` says what of the last map goes into the last layer: "flatten" each value (a map
    with sides over 8 is averaged down to 8 or less), "mean" each channel's mean, "mean-max" its mean and its largest value.
    `norm` is "batch" (as `batch_norm`), "layer" (all values of an image together), "group" (8, 4, 2 or 1 groups of
    channels, as divides them) or "none". `dropout` acts before the last layer. `mirror` averages the outputs in evaluation over image and mirror image.
    What comes in blocks is one value for all, or a list of one each. The weights are held channels last. Raises NetworkError for examples that are no
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
    check_dropout(dropout)
    chosen = choose_norm(norm, batch_norm)
    for option, value in (("pool_first", pool_first), ("mirror", mirror)):
        check_switch(value, option)
    blocks = zip(
        filters,
        names,
        _switches(padded, "padded", len(filters)),
        _counts(kernels, "kernels", len(filters), least=1),
        [None] * len(filters) if pools is None else _counts(pools, "pools", len(filters), least=1),
        _counts(residual, "residual", len(filters), least=0),
        strict=True,
    )
    layers: list[nn.Module] = []
    for size, name, same, kernel, pool, extra in blocks:
        if not kernel % 2:
            raise NetworkError(f"`kernels` are odd sides, so that a filter has a middle; got {kernel}")
        halved = min(height, width) >= 2
        lost = 0 if same else kernel - 1
        factor = pool or (2 if halved else 1)
        height, width = (height - lost) // factor, (width - lost) // factor
        if min(height, width) < 1:
            raise NetworkError(
                f"network 'cnn': an image of {input_shape[1]} x {input_shape[2]} pixels is used up after "
                f"{len(layers)} layers. Give fewer channels, smaller kernels or smaller pools."
            )
        convolution = nn.Conv2d(
            depth, size, kernel, padding=kernel // 2 if same else 0, bias=chosen == "none"
        )
        norms = normed(size, chosen, nn.BatchNorm2d)
        pooling = [nn.MaxPool2d(factor)] if factor > 1 else []
        if pool_first:
            layers += [convolution, *pooling, *norms, activations[name]()]
        else:
            layers += [convolution, *norms, activations[name](), *pooling]
        layers += [_residual(size, name, chosen) for _ in range(extra)]
        depth = size
    if str(head) not in HEADS:
        raise unknown_name("network.head", str(head), HEADS)
    if head == "flatten" and max(height, width) > 8:
        # Not AdaptiveAvgPool2d: its gradient is not deterministic on CUDA.
        window = math.ceil(height / 8), math.ceil(width / 8)
        layers.append(nn.AvgPool2d(window, ceil_mode=True))
        height, width = math.ceil(height / window[0]), math.ceil(width / window[1])
    end, numbers = HEADS[str(head)]
    layers.append(end())
    if dropout:
        layers.append(nn.Dropout(dropout))
    layers.append(nn.Linear(depth * (numbers or height * width), num_outputs))
    if output_activation is not None:
        layers.append(activations[output_activation]())
    built: nn.Sequential = MirrorAverage(*layers) if mirror else nn.Sequential(*layers)
    # benchmarks/speed/choices.py: channels first a training step takes 1.45 times as long (0.84 to 1.63) on a CPU.
    return built.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _residual(size: int, activation: str, norm: str) -> Residual:
    return Residual(
        nn.Conv2d(size, size, 3, padding=1, bias=norm == "none"),
        *normed(size, norm, nn.BatchNorm2d),
        activations[activation](),
    )


networks: Registry[Callable[..., nn.Module]] = Registry(
    "network",
    {
        "mlp": mlp,
        "cnn": cnn,
        "resnet": resnet,
        "vit": vit,
        "table-resnet": table_resnet,
        "table-transformer": table_transformer,
        "embedding-bag": embedding_bag,
        "gpt": gpt,
        "lstm": lstm,
        "gru": gru,
        "text-cnn": text_cnn,
        "transformer": transformer,
        "dlinear": dlinear,
        "tcn": tcn,
        "series-transformer": series_transformer,
    },
)


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


def _counts(values: Any, option: str, count: int, *, least: int) -> list[int]:
    listed = list(values) if isinstance(values, (list, tuple)) else [values] * count
    whole = all(isinstance(value, int) and not isinstance(value, bool) and value >= least for value in listed)
    if not whole or len(listed) != count:
        raise NetworkError(
            f"`{option}` expects a whole number from {least} on, or a list of one for each of {count} blocks; got {values!r}"
        )
    return listed


def _switches(values: Any, option: str, count: int) -> list[bool]:
    listed = list(values) if isinstance(values, (list, tuple)) else [values] * count
    for value in listed:
        check_switch(value, option)
    if len(listed) != count:
        raise NetworkError(
            f"`{option}` lists {len(listed)} values for {count} blocks: give one for each, or one for all"
        )
    return listed


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
