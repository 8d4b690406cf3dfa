"""Changed copies of training images, made batch by batch: moved, mirrored, turned, with a hole."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from netwright.data.preparation import Preparation
from netwright.errors import DataError, unknown_name


# `eject` prints this function and the next with inspect.getsource: they may name nothing but torch, F and each other.
def augmentation_draws(count: int, *, seed: int, epoch: int) -> Tensor:
    """Returns (count, 8) float32 numbers from [0, 1), a pure function of its arguments; each kind of change has its columns.

    An example's numbers depend on its index and the epoch alone: neither on the batch that it is in, nor on where
    a run was interrupted, nor on how many processes share the work.

    >>> augmentation_draws(2, seed=0, epoch=0).shape
    torch.Size([2, 8])
    """
    generator = torch.Generator().manual_seed(((seed + 1) * 1_000_003 + epoch) % 2**63)
    return torch.rand(count, 8, generator=generator)


def augmented(
    images: Tensor,
    draws: Tensor,
    *,
    flip: bool = False,
    shift: int = 0,
    rotate: float = 0.0,
    zoom: float = 0.0,
    cutout: int = 0,
    edge: str = "black",
    fill: Tensor | float = 0.0,
) -> Tensor:
    """Returns changed images (N, C, H, W), whole numbers as they came unless they are turned or scaled.

    `draws` (N, 8) in [0, 1) decide: `flip` mirrors every second image from left to right; `shift` moves by up to
    so many pixels in both directions, beyond the `edge` black (0) or a reflection; `rotate` turns by up to so many
    degrees and `zoom` scales by up to that share, both ways, bilinearly; `cutout` puts a square of that side,
    filled with `fill`, at any place, part of it outside (DeVries and Taylor 2017, arXiv:1708.04552).
    """
    count, _, height, width = images.shape
    if flip:
        images = torch.where((draws[:, 0] < 0.5)[:, None, None, None], images.flip(3), images)
    if rotate or zoom:
        angle = (draws[:, 1] * 2 - 1) * (rotate * 3.141592653589793 / 180)
        size = 1 / (1 + (draws[:, 2] * 2 - 1) * zoom)
        # Where each pixel comes from, as affine_grid has it (sides go from -1 to 1), in a quarter of its time.
        x = (torch.arange(width, device=images.device) * 2 + 1) / width - 1
        y = ((torch.arange(height, device=images.device) * 2 + 1) / height - 1)[:, None]
        cosine, sine = (angle.cos() * size)[:, None, None], (angle.sin() * size)[:, None, None]
        ratio = height / width
        grid = torch.stack([cosine * x - sine * (ratio * y), sine * (x / ratio) + cosine * y], dim=3)
        padding = "reflection" if edge == "reflect" else "zeros"
        images = F.grid_sample(images.float(), grid, padding_mode=padding, align_corners=False)
    if shift:
        down, right = (draws[:, 3:5] * (2 * shift + 1)).long().unbind(1)
        sides = (shift, shift, shift, shift)
        # Reflection is not written for whole numbers in every PyTorch; float32 holds them exactly.
        wider = (
            F.pad(images.float(), sides, mode="reflect").to(images.dtype)
            if edge == "reflect"
            else F.pad(images, sides)
        )
        windows = wider.unfold(2, height, 1).unfold(3, width, 1)
        images = windows[torch.arange(count, device=images.device), :, down, right]
    if cutout:
        top = (draws[:, 5] * height).long() - cutout // 2
        left = (draws[:, 6] * width).long() - cutout // 2
        y = torch.arange(height, device=images.device) - top[:, None]
        x = torch.arange(width, device=images.device) - left[:, None]
        hole = ((y >= 0) & (y < cutout))[:, None, :, None] & ((x >= 0) & (x < cutout))[:, None, None, :]
        colour = torch.as_tensor(fill, device=images.device)
        colour = colour if images.is_floating_point() else colour.round()
        images = torch.where(hole, colour.to(images.dtype), images)
    return images


class Changes(Protocol):
    """What is done to the raw examples of an epoch before, or while, they are prepared."""

    def __bool__(self) -> bool: ...

    def describe(self) -> str: ...

    def check(self, preparation: Preparation, *, name: str) -> None:
        """Raises DataError unless examples that this prepares can be changed so."""
        ...

    def prepared(self, raw: Tensor, draws: Tensor, preparation: Preparation) -> Tensor:
        """Returns raw examples that nobody else holds as the network takes them, changed by their draws (N, 8)."""
        ...


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images, in the words of the recipe's section `augment`.

    >>> Augmentation.build({"shift": 2, "flip": True}).describe()
    'mirrored, moved by up to 2 pixels'
    >>> Augmentation.build({"shfit": 2})
    Traceback (most recent call last):
    netwright.errors.UnknownNameError: unknown augment option 'shfit': did you mean 'shift'? Known: cutout, edge, flip, rotate, shift, zoom
    """

    flip: bool = False
    shift: int = 0
    rotate: float = 0.0
    zoom: float = 0.0
    cutout: int = 0
    edge: Literal["black", "reflect"] = "black"

    @classmethod
    def build(cls, entries: Mapping[str, Any]) -> Augmentation:
        """Returns the augmentation of these entries; raises DataError or UnknownNameError."""
        known = {entry.name: entry.default for entry in fields(cls)}
        for name, value in entries.items():
            if name not in known:
                raise unknown_name("augment option", name, sorted(known))
            _check(name, value)
        return cls(**entries)

    def __bool__(self) -> bool:
        return bool(self.flip or self.shift or self.rotate or self.zoom or self.cutout)

    def describe(self) -> str:
        """Returns what is done, in words."""
        words = []
        if self.flip:
            words.append("mirrored")
        if self.rotate:
            words.append(f"turned by up to {self.rotate:g} degrees")
        if self.zoom:
            words.append(f"scaled by up to {self.zoom:.0%}")
        if self.shift:
            words.append(f"moved by up to {self.shift} pixels")
        if self.cutout:
            words.append(f"a square of {self.cutout} pixels blanked")
        return ", ".join(words)

    def settings(self) -> dict[str, Any]:
        """Returns the entries that are not idle, as keyword arguments of `augmented`."""
        return {
            entry.name: getattr(self, entry.name)
            for entry in fields(self)
            if getattr(self, entry.name) != entry.default
        }

    def prepared(self, raw: Tensor, draws: Tensor, preparation: Preparation) -> Tensor:
        """Returns raw images as the network takes them, changed by their draws.

        Holes get the mean colour of the training part.
        """
        settings = self.settings()
        if self.cutout:
            settings["fill"] = preparation.mean * preparation.scale
        return preparation.prepare_fresh(augmented(raw, draws, **settings))

    def check(self, preparation: Preparation, *, name: str) -> None:
        """Raises DataError unless images that this prepares can be changed so."""
        shape = preparation.prepared_shape
        if len(shape) != 3:
            raise DataError(
                f"{name}: augment.* changes images; one example here is {' x '.join(map(str, shape))} numbers.\n"
                "Leave the section augment out."
            )
        side = min(shape[1:])
        for option in ("shift", "cutout"):
            if getattr(self, option) >= side:
                raise DataError(
                    f"{name}: augment.{option}={getattr(self, option)} leaves nothing of images of {shape[1]} x {shape[2]} pixels"
                )


def _check(name: str, value: Any) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    number = whole or (isinstance(value, float) and math.isfinite(value))
    expected, fits = {
        "flip": ("true or false", isinstance(value, bool)),
        "shift": ("a whole number of pixels", whole and value >= 0),
        "cutout": ("a whole number of pixels", whole and value >= 0),
        "rotate": ("degrees from 0 to 180", number and 0 <= value <= 180),
        "zoom": ("a share from 0 up to, not including, 1", number and 0 <= value < 1),
        "edge": ("black or reflect", value in ("black", "reflect")),
    }[name]
    if not fits:
        raise DataError(f"augment.{name}: expected {expected}, came {value!r}")
