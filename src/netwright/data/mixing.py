"""Batches whose examples are mixed with one another, and their targets likewise: mixup and CutMix."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from netwright.errors import DataError

OPTIONS = ("mixup", "cutmix")


# `eject` prints this function with inspect.getsource: it may name nothing but np and Tensor.
def mixed(
    x: Tensor, y: Tensor, place: tuple[int, int, int], *, mixup: float = 0.0, cutmix: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Returns (x, y) where each example is mixed with that at the other end of the batch.

    `x` (N, C, H, W) prepared, `y` (N, ...) float: shares of the classes, or numbers. `mixup` is the alpha of
    the Beta(alpha, alpha) from which the share of the own example comes (Zhang et al. 2017, arXiv:1710.09412);
    `cutmix` that of the share of its area: a rectangle of the other takes the rest (Yun et al. 2019,
    arXiv:1905.04899). With both, either by the throw of a coin. One share a batch, decided by `place`: seed, epoch and
    number of the batch.
    """
    draw = np.random.default_rng(place)
    cuts = bool(cutmix) and (not mixup or draw.random() < 0.5)
    own = float(draw.beta(cutmix, cutmix) if cuts else draw.beta(mixup, mixup))
    if cuts:
        height, width = x.shape[2:]
        rows, columns = int(height * (1 - own) ** 0.5), int(width * (1 - own) ** 0.5)
        top, left = int(draw.integers(height)) - rows // 2, int(draw.integers(width)) - columns // 2
        bottom, right = min(top + rows, height), min(left + columns, width)
        top, left = max(top, 0), max(left, 0)
        other = x.flip(0)
        x = x.clone()
        x[:, :, top:bottom, left:right] = other[:, :, top:bottom, left:right]
        own = 1 - (bottom - top) * (right - left) / (height * width)
    else:
        x = x * own + x.flip(0) * (1 - own)
    return x, y * own + y.flip(0) * (1 - own)


@dataclass(frozen=True)
class Mixing:
    """How the examples of a batch are mixed: alphas of `mixup` and `cutmix`, 0 for none; `num_classes`, None for numbers."""

    mixup: float = 0.0
    cutmix: float = 0.0
    num_classes: int | None = None

    @classmethod
    def build(cls, entries: Mapping[str, Any], *, num_classes: int | None) -> Mixing:
        """Returns the mixing of the entries `mixup` and `cutmix` among others; raises DataError."""
        for name in OPTIONS:
            value = entries.get(name, 0.0)
            number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
            if not (number and value >= 0):
                raise DataError(
                    f"augment.{name}: expected the alpha of a Beta distribution, from 0 on, came {value!r}"
                )
        if entries.get("cutmix") and num_classes is None:
            raise DataError(
                "augment.cutmix mixes classes by area; these targets are numbers, for which only augment.mixup goes"
            )
        return cls(**{name: entries[name] for name in OPTIONS if name in entries}, num_classes=num_classes)

    def __bool__(self) -> bool:
        return bool(self.mixup or self.cutmix)

    def describe(self) -> str:
        """Returns what is done, in words."""
        words = [f"{name} (alpha {alpha:g})" for name, alpha in self.settings().items()]
        return " or ".join(words)

    def settings(self) -> dict[str, float]:
        """Returns the entries that are not 0, as keyword arguments of `mixed`."""
        return {name: getattr(self, name) for name in OPTIONS if getattr(self, name)}

    def __call__(self, x: Tensor, y: Tensor, place: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
        """Returns the mixed batch; class ids (N,) become shares (N, C) float."""
        if self.num_classes is not None:
            y = F.one_hot(y, self.num_classes).float()
        return mixed(x, y, place, **self.settings())
