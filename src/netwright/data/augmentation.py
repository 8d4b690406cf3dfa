"""Changed copies of training images, made batch by batch: moved, mirrored, turned, with a hole."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from netwright.data.colours import recoloured
from netwright.data.preparation import Preparation
from netwright.data.randaugment import randaugmented
from netwright.errors import DataError, unknown_name

COLOURS = ("brightness", "contrast", "saturation", "hue")
# Of the numbers drawn for an example those from here on are RandAugment's, two for each operation.
COLOURS_FROM, RANDOM_FROM = 15, 19


# `eject` prints this function and the next with inspect.getsource: they may name nothing but torch, F and each other.
def augmentation_draws(count: int, *, seed: int, epoch: int, columns: int = 8) -> Tensor:
    """Returns (count, columns) float32 numbers from [0, 1), a pure function of its arguments; each kind of change has its columns.

    An example's numbers depend on its index and the epoch alone: neither on the batch that it is in, nor on where
    a run was interrupted, nor on how many processes share the work.

    >>> augmentation_draws(2, seed=0, epoch=0).shape
    torch.Size([2, 8])
    """
    generator = torch.Generator().manual_seed(((seed + 1) * 1_000_003 + epoch) % 2**63)
    return torch.rand(count, columns, generator=generator)


def augmented(
    images: Tensor,
    draws: Tensor,
    *,
    flip: bool = False,
    flip_vertical: bool = False,
    shift: int = 0,
    rotate: float = 0.0,
    zoom: float = 0.0,
    shear: float = 0.0,
    crop: float = 0.0,
    cutout: int = 0,
    edge: str = "black",
    fill: Tensor | float = 0.0,
) -> Tensor:
    """Returns changed images (N, C, H, W), whole numbers as they came unless they are turned, scaled, sheared or cropped.

    `draws` in [0, 1), (N, 8), or (N, 15) for vertical flips, shears and crops, decide: `flip` mirrors every second image from left to right, `flip_vertical`
    from top to bottom; `shift` moves by up to so many pixels in both directions, beyond the `edge` black (0) or a
    reflection; `rotate` turns by up to so many degrees, `zoom` scales by up to that share and `shear` slants both
    axes by up to so many degrees, both ways; `crop` shows a part of at least that share of the area, its sides in
    a ratio from 3:4 to 4:3 of the image's, at full size (Szegedy et al. 2014, arXiv:1409.4842, section 6); these four together, bilinearly.
    `cutout` puts a square of that side, filled with `fill`, at any place, part of it outside (DeVries and Taylor
    2017, arXiv:1708.04552).
    """
    count, _, height, width = images.shape
    if flip:
        images = torch.where((draws[:, 0] < 0.5)[:, None, None, None], images.flip(3), images)
    if flip_vertical:
        images = torch.where((draws[:, 8] < 0.5)[:, None, None, None], images.flip(2), images)
    if rotate or zoom or shear or crop:
        angle = (draws[:, 1] * 2 - 1) * (rotate * 3.141592653589793 / 180)
        size = 1 / (1 + (draws[:, 2] * 2 - 1) * zoom)
        # Where each pixel comes from, as affine_grid has it (sides go from -1 to 1), in a quarter of its time.
        x = (torch.arange(width, device=images.device) * 2 + 1) / width - 1
        y = ((torch.arange(height, device=images.device) * 2 + 1) / height - 1)[:, None]
        if crop:
            area = 1 - draws[:, 11] * (1 - crop)
            shape = ((draws[:, 12] * 2 - 1) * 0.28768207245178085).exp()  # log(4 / 3)
            wide, high = (area * shape).sqrt().clamp(max=1), (area / shape).sqrt().clamp(max=1)
            x = (wide * x[:, None] + (draws[:, 13] * 2 - 1) * (1 - wide)).T[:, None]
            y = (high * y + (draws[:, 14] * 2 - 1) * (1 - high)).T[:, :, None]
        if shear:
            slant, lean = ((draws[:, 9:11] * 2 - 1) * (shear * 3.141592653589793 / 180)).tan().unbind(1)
            x, y = (
                x + slant[:, None, None] * (height / width) * y,
                y + lean[:, None, None] * (width / height) * x,
            )
        cosine, sine = (angle.cos() * size)[:, None, None], (angle.sin() * size)[:, None, None]
        ratio = height / width
        grid = torch.stack([cosine * x - sine * (ratio * y), sine * (x / ratio) + cosine * y], dim=3)
        if crop:  # the outer half of a pixel at the edge is not half black
            most = torch.tensor([1 - 1 / width, 1 - 1 / height], device=images.device)
            grid = torch.where(grid.abs() <= 1, grid.clamp(-most, most), grid)
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
        """Returns raw examples that nobody else holds as the network takes them, changed by their draws (N, columns)."""
        ...

    @property
    def columns(self) -> int:
        """How many numbers are drawn for an example."""
        ...


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images, in the words of the recipe's section `augment`.

    >>> Augmentation.build({"shift": 2, "flip": True}).describe()
    'mirrored, moved by up to 2 pixels'
    >>> Augmentation.build({"shfit": 2})
    Traceback (most recent call last):
    netwright.errors.UnknownNameError: unknown augment option 'shfit': did you mean 'shift'? Known: brightness, contrast, crop, cutout, edge, flip, flip_vertical, hue, magnitude, randaugment, rotate, saturation, shear, shift, zoom
    """

    flip: bool = False
    flip_vertical: bool = False
    shift: int = 0
    rotate: float = 0.0
    zoom: float = 0.0
    shear: float = 0.0
    crop: float = 0.0
    cutout: int = 0
    edge: Literal["black", "reflect"] = "black"
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    randaugment: int = 0
    magnitude: float = 9.0

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
        idle = ("edge", "magnitude")
        return any(getattr(self, entry.name) for entry in fields(self) if entry.name not in idle)

    @property
    def columns(self) -> int:
        """How many numbers are drawn for an example: 8 where they suffice, so that older runs go on as they began."""
        later = (self.flip_vertical, self.shear, self.crop, self.randaugment, *self.colours().values())
        return RANDOM_FROM + 2 * self.randaugment if any(later) else 8

    def describe(self) -> str:
        """Returns what is done, in words."""
        words = []
        if self.flip:
            words.append("mirrored")
        if self.rotate:
            words.append(f"turned by up to {self.rotate:g} degrees")
        if self.flip_vertical:
            words.append("mirrored from top to bottom")
        if self.zoom:
            words.append(f"scaled by up to {self.zoom:.0%}")
        if self.shear:
            words.append(f"slanted by up to {self.shear:g} degrees")
        if self.crop:
            words.append(f"cropped to {self.crop:.0%} to 100% of their area")
        if self.shift:
            words.append(f"moved by up to {self.shift} pixels")
        if self.cutout:
            words.append(f"a square of {self.cutout} pixels blanked")
        words += [f"{name} changed by up to {share:.0%}" for name, share in self.colours().items()]
        if self.randaugment:
            words.append(f"{self.randaugment} operations of RandAugment, magnitude {self.magnitude:g}")
        return ", ".join(words)

    def colours(self) -> dict[str, float]:
        """Returns the entries that are not 0 as keyword arguments of `recoloured`."""
        return {name: getattr(self, name) for name in COLOURS if getattr(self, name)}

    def settings(self) -> dict[str, Any]:
        """Returns the entries that are not idle, as keyword arguments of `augmented`."""
        others = (*COLOURS, "randaugment", "magnitude")
        return {
            entry.name: getattr(self, entry.name)
            for entry in fields(self)
            if getattr(self, entry.name) != entry.default and entry.name not in others
        }

    def prepared(self, raw: Tensor, draws: Tensor, preparation: Preparation) -> Tensor:
        """Returns raw images as the network takes them, changed by their draws: RandAugment, then colours, then the rest.

        Holes get the mean colour of the training part.
        """
        return preparation.prepare_fresh(self.changed(raw, draws, preparation))

    def changed(self, raw: Tensor, draws: Tensor, preparation: Preparation) -> Tensor:
        """Returns changed raw images (N, C, H, W)."""
        highest = getattr(preparation, "highest", None)
        if self.randaugment:
            drawn = draws[:, RANDOM_FROM:]
            raw = randaugmented(
                raw, drawn, operations=self.randaugment, magnitude=self.magnitude, highest=float(highest or 0)
            )
        if self.colours():
            raw = recoloured(raw, draws[:, COLOURS_FROM:RANDOM_FROM], **self.colours(), highest=highest)
        settings = self.settings()
        if not settings:
            return raw
        if self.cutout:
            settings["fill"] = preparation.mean_colour
        return augmented(raw, draws, **settings)

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
        for option in ("saturation", "hue"):
            if getattr(self, option) and shape[0] != 3:
                raise DataError(
                    f"{name}: augment.{option} changes colours; these images have {shape[0]} channels"
                )
        if self.randaugment and getattr(preparation, "highest", None) is None:
            raise DataError(
                f"{name}: augment.randaugment takes images of whole numbers from 0 on, these are floats of any range"
            )


def _check(name: str, value: Any) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    number = whole or (isinstance(value, float) and math.isfinite(value))
    expected, fits = {
        "flip": ("true or false", isinstance(value, bool)),
        "flip_vertical": ("true or false", isinstance(value, bool)),
        "shift": ("a whole number of pixels", whole and value >= 0),
        "cutout": ("a whole number of pixels", whole and value >= 0),
        "rotate": ("degrees from 0 to 180", number and 0 <= value <= 180),
        "zoom": ("a share from 0 up to, not including, 1", number and 0 <= value < 1),
        "shear": ("degrees from 0 up to, not including, 90", number and 0 <= value < 90),
        "crop": ("a share of the area, above 0 and at most 1, or 0 for none", number and 0 <= value <= 1),
        "brightness": ("a share from 0 to 1", number and 0 <= value <= 1),
        "contrast": ("a share from 0 to 1", number and 0 <= value <= 1),
        "saturation": ("a share from 0 to 1", number and 0 <= value <= 1),
        "hue": ("a share of the circle from 0 to 0.5", number and 0 <= value <= 0.5),
        "randaugment": ("a whole number of changes", whole and value >= 0),
        "magnitude": ("a magnitude from 0 to 30", number and 0 <= value <= 30),
        "edge": ("black or reflect", value in ("black", "reflect")),
    }[name]
    if not fits:
        raise DataError(f"augment.{name}: expected {expected}, came {value!r}")
