"""Mean and standard deviation of the training part: exact for pixels, in double precision for numbers.

`eject` prints these functions with inspect.getsource: they may name nothing but torch.
"""

from __future__ import annotations

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
    values = torch.arange(256, dtype=torch.float64) / scale
    total = counts.sum(1)
    mean = (counts * values).sum(1) / total
    std = ((counts * (values - mean[:, None]) ** 2).sum(1) / total).sqrt()
    constant = (counts > 0).sum(1) == 1
    return mean.float(), std.masked_fill(constant, 1.0).float(), constant


def value_statistics(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns (mean, std, constant) of each feature of (N, D) values, or of each channel of (N, C, H, W).

    Population statistics, (D,) or (C,) float32, summed in float64 over chunks (the set is never copied
    whole); the std of a constant feature is given as 1.

    >>> mean, std, constant = value_statistics(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    >>> mean.tolist(), std.tolist(), constant.tolist()
    ([2.0, 5.0], [1.0, 1.0], [False, True])
    """
    dims = [0, *range(2, values.dim())]
    shape = [1, -1] + [1] * (values.dim() - 2)
    rows = max(1, 2**20 // max(1, values[0].numel()))
    count = values.numel() // values.shape[1]
    mean = sum(part.double().sum(dims) for part in values.split(rows)) / count
    square = sum((part.double() - mean.view(shape)).square().sum(dims) for part in values.split(rows))
    first = values[:1].reshape(1, values.shape[1], -1)[..., :1]
    alike = [
        (part.reshape(len(part), values.shape[1], -1) == first).all(2).all(0) for part in values.split(rows)
    ]
    constant = torch.stack(alike).all(0)
    std = (square / count).sqrt()
    return mean.float(), std.masked_fill(constant, 1.0).float(), constant
