"""Mean and standard deviation of the training part: exact for pixels, in double precision for numbers.

What is streamed and what is held in memory go through the same functions, in the same order, to the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch


def pixel_statistics(images: torch.Tensor, scale: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns (mean, std, constant) of each channel of (N, C, H, W) uint8 images divided by `scale`.

    Mean and population standard deviation are (C,) float32, from counts of the 256 values, so exact up to
    their own rounding; `constant` is (C,) bool, and the std of a constant channel is given as 1.

    >>> mean, std, constant = pixel_statistics(torch.tensor([[[[0, 255]]]], dtype=torch.uint8), 255.0)
    >>> mean.item(), std.item(), constant.item()
    (0.5, 0.5, False)
    """
    counts = torch.zeros(images.shape[1], 256, dtype=torch.int64)
    for part in images.split(4096):
        for channel in range(images.shape[1]):
            counts[channel] += torch.bincount(part[:, channel].reshape(-1), minlength=256)
    values = torch.arange(256)
    sums = torch.stack([(counts * values).sum(1), (counts * values**2).sum(1)])
    return statistics_of_sums(sums, count=images.numel() // images.shape[1], scale=scale)


def pixel_sums(images: torch.Tensor) -> torch.Tensor:
    """Returns (2, N, C) int64 of (N, C, H, W) uint8 images: the sum of each channel's pixels, and of their squares.

    >>> pixel_sums(torch.tensor([[[[2, 3]]]], dtype=torch.uint8)).flatten().tolist()
    [5, 13]
    """
    # NumPy in double precision, exact to 2**53: 4 times as fast as torch's sums of integers (torch 2.13, one core).
    flat = images.flatten(2).numpy().astype(np.float64)
    return torch.from_numpy(np.stack([flat.sum(2), np.einsum("ncp,ncp->nc", flat, flat)]).astype(np.int64))


def statistics_of_sums(
    sums: torch.Tensor, *, count: int, scale: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns what `pixel_statistics` does, of (2, C) int64 sums over `count` pixels a channel.

    The variance is taken in whole numbers, (count * squares - sum**2) / count**2, so nothing cancels.
    """
    means, stds, constant = [], [], []
    for total, squares in zip(*sums.tolist(), strict=True):
        spread = count * squares - total**2
        means.append(total / (count * scale))
        stds.append(math.sqrt(spread) / (count * scale) if spread else 1.0)
        constant.append(spread == 0)
    return torch.tensor(means), torch.tensor(stds), torch.tensor(constant)


def value_statistics(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns (mean, std, constant) of each feature of (N, D) values, or of each channel of (N, C, H, W).

    Population statistics, (D,) or (C,) float32, summed in float64 over chunks (the set is never copied
    whole); the std of a constant feature is given as 1.

    >>> mean, std, constant = value_statistics(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    >>> mean.tolist(), std.tolist(), constant.tolist()
    ([2.0, 5.0], [1.0, 1.0], [False, True])
    """
    return statistics_of_chunks(values.split(rows_in_chunk(values[0].numel())))


def rows_in_chunk(numbers: int) -> int:
    """Returns how many examples of so many numbers `value_statistics` sums at a time."""
    return max(1, 2**20 // max(1, numbers))


def statistics_of_chunks(
    chunks: Iterable[torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns what `value_statistics` does, of the chunks that it would cut, each looked at once.

    Sums are of differences to the first chunk's mean, so that the variance of numbers far from 0 does not
    cancel (Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance", shifted data).
    """
    shift = first = None
    count = 0
    for chunk in chunks:
        values = chunk.flatten(2) if chunk.dim() > 2 else chunk[:, :, None]
        wide = values.double()
        if shift is None or first is None:
            shift = wide.mean((0, 2))
            first = values[0, :, :1].clone()
            total = square = torch.zeros_like(shift)
            constant = torch.ones(len(shift), dtype=torch.bool)
        wide = wide - shift[:, None]
        total = total + wide.sum((0, 2))
        square = square + wide.square().sum((0, 2))
        constant = constant & (values == first).all(2).all(0)
        count += len(values) * values.shape[2]
    assert shift is not None, "no examples"
    mean = total / count
    std = (square / count - mean.square()).clamp(min=0).sqrt()
    constant = constant | (std == 0)
    return (shift + mean).float(), std.masked_fill(constant, 1.0).float(), constant
