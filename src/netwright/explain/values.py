"""What lies in a tensor, in a few numbers."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

BINS = 16
FIRST = 4
# A map of this side is still seen; larger ones are averaged down.
SIDE_AT_MOST, MAPS_AT_MOST = 48, 8


@dataclass(frozen=True)
class Values:
    """A tensor in a few numbers; those of `low` to `first` are of its finite values, in float.

    `zeros`: share of exact zeros, of all values; `nan`, `infinite`: how many; `histogram`: counts in 16 equal bins from `low`
    to `high`; `first`: the first values as they lie in memory. None or empty where there is no finite value.
    """

    shape: tuple[int, ...]
    dtype: str
    count: int
    nan: int
    infinite: int
    zeros: float
    low: float | None
    high: float | None
    mean: float | None
    deviation: float | None
    histogram: tuple[int, ...]
    first: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the same in JSON's types."""
        return {
            **asdict(self),
            "shape": list(self.shape),
            "histogram": list(self.histogram),
            "first": list(self.first),
        }


def dtype_name(tensor: Tensor) -> str:
    """Returns the name of a tensor's type, as people say it.

    >>> dtype_name(torch.zeros(1))
    'float32'
    """
    return str(tensor.dtype).removeprefix("torch.")


def values_of(tensor: Tensor, *, bins: int = BINS) -> Values:
    """Returns a tensor's values in a few numbers; `bins` 0 leaves the histogram out, which takes longest.

    The deviation is that of the population (divided by N). Complex numbers count by their size.

    >>> found = values_of(torch.tensor([0.0, 1.0, 3.0, float("nan")]))
    >>> found.low, found.high, found.nan, found.zeros, round(found.mean, 3)
    (0.0, 3.0, 1, 0.25, 1.333)
    """
    flat = tensor.detach().reshape(-1)
    shape, dtype, count = tuple(tensor.shape), dtype_name(tensor), flat.numel()
    if flat.device.type == "meta" or not count:
        return Values(shape, dtype, count, 0, 0, 0.0, None, None, None, None, (), ())
    flat = _in_float(flat)
    first = tuple(flat[:FIRST].tolist())
    zeros = 1 - int(torch.count_nonzero(flat)) / count
    low, high = (float(end) for end in torch.aminmax(flat))
    nan = infinite = 0
    if not math.isfinite(low) or not math.isfinite(high):
        nan, infinite = int(flat.isnan().sum()), int(flat.isinf().sum())
        flat = flat[flat.isfinite()]
        if not flat.numel():
            return Values(shape, dtype, count, nan, infinite, zeros, None, None, None, None, (), first)
        low, high = (float(end) for end in torch.aminmax(flat))
    deviation, mean = torch.std_mean(flat, correction=0)
    return Values(
        shape,
        dtype,
        count,
        nan,
        infinite,
        zeros,
        low,
        high,
        float(mean),
        float(deviation),
        _histogram(flat, low, high, bins),
        first,
    )


def _in_float(flat: Tensor) -> Tensor:
    if flat.is_complex():
        flat = flat.abs()
    if flat.is_quantized:
        flat = flat.dequantize()
    # Sums of many halves would overflow; float64 is kept.
    return flat if flat.dtype in (torch.float32, torch.float64) else flat.float()


def _histogram(flat: Tensor, low: float, high: float, bins: int) -> tuple[int, ...]:
    if not bins or not math.isfinite(high - low):
        return ()
    if low == high:
        # histc would widen the range to one around the value.
        return (*[0] * (bins // 2), flat.numel(), *[0] * (bins - bins // 2 - 1))
    counts = torch.histc(flat.cpu(), bins, low, high)
    return tuple(int(count) for count in counts.tolist())


def picture_of(tensor: Tensor) -> np.ndarray | None:
    """Returns the first example of (N, C, H, W) as a small picture, (H, W) or (H, W, 3) uint8, or None where it is none.

    1 channel is grey and 3 are colours; of more, up to 8 maps lie side by side, each from its own lowest (black) to its
    highest value. Maps of one pixel are no pictures.
    """
    if tensor.dim() != 4 or tensor.is_complex() or min(tensor.shape) < 1 or min(tensor.shape[2:]) < 3:
        return None
    maps = (
        tensor[0]
        .detach()[: 3 if tensor.shape[1] == 3 else MAPS_AT_MOST]
        .float()
        .cpu()
        .nan_to_num(0.0, 0.0, 0.0)
    )
    side = max(maps.shape[1:])
    if side > SIDE_AT_MOST:
        height, width = (max(1, round(length * SIDE_AT_MOST / side)) for length in maps.shape[1:])
        maps = torch.nn.functional.adaptive_avg_pool2d(maps[None], (height, width))[0]
    if len(maps) == 3 and tensor.shape[1] == 3:
        return _levels(maps[None])[0].permute(1, 2, 0).contiguous().numpy()
    if len(maps) == 1:
        return _levels(maps)[0].numpy()
    tiles = torch.nn.functional.pad(_levels(maps), (0, 1), value=128)
    return tiles.permute(1, 0, 2).reshape(tiles.shape[1], -1)[:, :-1].contiguous().numpy()


def _levels(maps: Tensor) -> Tensor:
    """Returns maps (M, ...), each stretched from its lowest to its highest value, as uint8."""
    low, high = maps.flatten(1).min(1).values, maps.flatten(1).max(1).values
    shape = (-1, *[1] * (maps.dim() - 1))
    span = (high - low).clamp(min=1e-12).view(shape)
    return ((maps - low.view(shape)) / span * 255).round().to(torch.uint8)
