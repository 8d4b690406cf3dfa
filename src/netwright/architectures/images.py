"""Deeper networks for images: a residual network and a small vision transformer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from netwright.architectures.attention import attention_blocks
from netwright.architectures.options import check_dropout, check_whole, choose_norm, normed
from netwright.errors import NetworkError


# `eject` prints these classes as they stand: they may name nothing but nn and torch, and keep their arguments as attributes.
class ResidualBlock(nn.Module):
    """Takes (N, inward, H, W) and gives (N, outward, H / stride, W / stride) float: two 3 x 3 convolutions beside a shortcut.

    He et al. 2016; the shortcut is the input itself, or a 1 x 1 convolution where the shape changes. In training the convolutions are
    left out for the share `drop` of examples, and what remains is multiplied by 1 / (1 - drop) (Huang et al. 2016).
    """

    def __init__(self, inward, outward, stride=1, norm="batch", drop=0.0):  # type: ignore[no-untyped-def]
        super().__init__()
        self.inward, self.outward, self.stride, self.norm, self.drop = inward, outward, stride, norm, drop
        bias = norm == "none"

        def normed():  # type: ignore[no-untyped-def]
            if norm == "batch":
                return nn.BatchNorm2d(outward)
            if norm == "none":
                return nn.Identity()
            return nn.GroupNorm(
                1 if norm == "layer" else max(g for g in (1, 2, 4, 8) if outward % g == 0), outward
            )

        self.first = nn.Conv2d(inward, outward, 3, stride, 1, bias=bias)
        self.first_norm = normed()
        self.second = nn.Conv2d(outward, outward, 3, 1, 1, bias=bias)
        self.second_norm = normed()
        changes = stride != 1 or inward != outward
        self.shortcut = nn.Conv2d(inward, outward, 1, bias=bias) if changes else nn.Identity()
        self.shortcut_norm = normed() if changes else nn.Identity()

    def forward(self, x):  # type: ignore[no-untyped-def]
        branch = nn.functional.relu(self.first_norm(self.first(x)))
        branch = self.second_norm(self.second(branch))
        if self.training and self.drop:
            kept = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop
            branch = branch * kept.to(branch.dtype) / (1 - self.drop)
        # Every stride-th place, then stride 1: what a stride does. The weights' gradient of a 1 x 1 convolution with stride 2 and fewer than 8
        # channels, channels last, differs from call to call and breaks the heap (torch 2.13.0 on a CPU).
        beside = x[:, :, :: self.stride, :: self.stride]
        return nn.functional.relu(branch + self.shortcut_norm(self.shortcut(beside)))


class SpatialMean(nn.Module):
    """Takes (N, C, ...) and gives (N, C) float, the mean over all places.

    nn.AdaptiveAvgPool2d does the same, with a gradient that is not deterministic on CUDA.
    """

    def forward(self, x):  # type: ignore[no-untyped-def]
        return x.flatten(2).mean(2)


class SpatialMeanMax(nn.Module):
    """Takes (N, C, ...) and gives (N, 2 C) float: the mean over all places, then the largest value of all places."""

    def forward(self, x):  # type: ignore[no-untyped-def]
        x = x.flatten(2)
        return torch.cat([x.mean(2), x.amax(2)], 1)


class PatchTokens(nn.Module):
    """Takes images (N, C, H, W) and gives (N, patches, width) float: each patch by one linear map, with what its place adds.

    Dosovitskiy et al. 2021; `patches` is how many a side of the image has, `patch` their side in pixels.
    """

    def __init__(self, channels, patch, width, patches):  # type: ignore[no-untyped-def]
        super().__init__()
        self.channels, self.patch, self.width, self.patches = channels, patch, width, patches
        self.inward = nn.Conv2d(channels, width, patch, patch)
        self.place = nn.Parameter(torch.zeros(patches[0] * patches[1], width))
        nn.init.normal_(self.place, std=0.02)

    def forward(self, x):  # type: ignore[no-untyped-def]
        return self.inward(x).flatten(2).transpose(1, 2) + self.place


class TokenMean(nn.Module):
    """Takes (N, T, width) and gives (N, width) float, the mean over all tokens."""

    def forward(self, x):  # type: ignore[no-untyped-def]
        return x.mean(1)


def resnet(
    input_shape: Sequence[int],
    num_outputs: int,
    *,
    widths: Sequence[int] = (16, 32, 64),
    blocks: int | Sequence[int] = 3,
    norm: str = "batch",
    stochastic_depth: float = 0.0,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Returns a residual network: a 3 x 3 convolution, then stages of `ResidualBlock`, the mean over places, a linear layer.

    It takes (N, channels, height, width) float, any size from 8 pixels on, and gives (N, num_outputs) float, logits. `widths` are the
    filters of each stage, of which all but the first halve the image, `blocks` how many blocks each has: the defaults are ResNet-20
    for CIFAR (He et al. 2016, section 4.2; shortcuts by 1 x 1 convolutions). `norm` is batch, group, layer or none; `stochastic_depth` the share of examples
    for which the last block is left out in training, growing linearly from 0 before the first (Huang et al. 2016). Weights are held channels last.
    Raises NetworkError for examples that are no images and for sizes and shares that cannot be.
    """
    channels, side = _check_image("resnet", input_shape)
    sizes = [
        check_whole(size, "widths") for size in (widths if isinstance(widths, (list, tuple)) else [widths])
    ]
    counts: list[Any] = list(blocks) if isinstance(blocks, (list, tuple)) else [blocks] * len(sizes)
    if len(counts) != len(sizes) or not sizes:
        raise NetworkError(
            f"`blocks` is a whole number, or one for each of {len(sizes)} widths; got {blocks!r}"
        )
    norm = choose_norm(norm)
    check_dropout(dropout)
    check_dropout(stochastic_depth, "stochastic_depth")
    if side < 2 ** (len(sizes) - 1):
        raise NetworkError(
            f"network 'resnet': an image with a side of {side} pixels cannot be halved {len(sizes) - 1} times"
        )
    total = sum(check_whole(count, "blocks") for count in counts)
    stem = normed(sizes[0], norm, nn.BatchNorm2d)
    layers: list[nn.Module] = [nn.Conv2d(channels, sizes[0], 3, padding=1, bias=not stem), *stem, nn.ReLU()]
    before, number = sizes[0], 0
    for stage, (size, count) in enumerate(zip(sizes, counts, strict=True)):
        for place in range(count):
            number += 1
            stride = 2 if stage and not place else 1
            layers.append(ResidualBlock(before, size, stride, norm, stochastic_depth * number / total))
            before = size
    layers += [SpatialMean(), *([nn.Dropout(dropout)] if dropout else []), nn.Linear(before, num_outputs)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def vit(
    input_shape: Sequence[int],
    num_outputs: int,
    *,
    patch: int | None = None,
    width: int = 128,
    blocks: int = 6,
    heads: int = 4,
    factor: float = 2.0,
    dropout: float = 0.0,
    activation: str = "gelu",
) -> nn.Sequential:
    """Returns a small vision transformer: patches as tokens, blocks of attention and feed-forward, the mean over tokens, a linear layer.

    It takes (N, channels, height, width) float and gives (N, num_outputs) float, logits (Dosovitskiy et al. 2021; the mean in place of a
    token of its own: Beyer et al. 2022, "Better plain ViT baselines"). `patch` is the side of a patch, which divides both sides of the
    image; None takes the smallest from 2 on that leaves at most 64 patches. `factor` times `width` is the inside of a feed-forward. Raises NetworkError.
    """
    channels, _ = _check_image("vit", input_shape)
    height, across = input_shape[1:]
    if patch is None:
        sides = [
            side for side in range(2, min(height, across) + 1) if height % side == 0 and across % side == 0
        ]
        patch = next(
            (side for side in sides if (height // side) * (across // side) <= 64), (sides or [1])[-1]
        )
    check_whole(patch, "patch")
    if height % patch or across % patch:
        raise NetworkError(
            f"`patch` divides both sides of an image of {height} x {across} pixels; got {patch}"
        )
    check_whole(width, "width")
    tokens = PatchTokens(channels, patch, width, (height // patch, across // patch))
    layers = attention_blocks(width, blocks, heads, factor=factor, dropout=dropout, activation=activation)
    return nn.Sequential(tokens, *layers, nn.LayerNorm(width), TokenMean(), nn.Linear(width, num_outputs))


def _check_image(name: str, input_shape: Sequence[int]) -> tuple[int, int]:
    """Returns channels and the smaller side; raises NetworkError for what is no image."""
    if len(input_shape) != 3:
        raise NetworkError(
            f"network {name!r} expects images (channels, height, width), but one example has the shape {tuple(input_shape)}.\n"
            "Use network 'mlp', which takes any shape."
        )
    return int(input_shape[0]), min(input_shape[1:])
