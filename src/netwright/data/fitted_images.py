"""Images of any size and colour as a network of one size takes them: what a pretrained network's data goes through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn.functional import interpolate

from netwright.data.preparation import ImagePreparation, Preparation
from netwright.errors import DataError


class FittedImages(ImagePreparation):
    """The preparation of images that are brought to the size and channels `takes` (C, H, W) before they are standardised.

    Raw (c, h, w) uint8 from 0 to `highest`, or float32; grey is repeated in each channel. The smallest size that covers H x W
    (bilinear, antialiased) is cut at its centre, as pictures of a folder are. `mean` and `std` are those of the network.

    >>> import torch
    >>> fitted = FittedImages((1, 2, 2), takes=(3, 4, 4), scale=255.0, mean=[0.5], std=[0.5])
    >>> fitted(torch.full((1, 1, 2, 2), 255, dtype=torch.uint8)).shape, fitted.prepared_shape
    (torch.Size([1, 3, 4, 4]), (3, 4, 4))
    """

    kind = "fitted-image"
    # The kernels of `interpolate` differ with the number of images that are given at once.
    elementwise = False

    def __init__(self, shape: Sequence[int], *, takes: Sequence[int], **numbers: Any) -> None:
        self.takes = tuple(int(side) for side in takes)
        if len(self.takes) != 3 or min(self.takes) < 1:
            raise DataError(
                f"preparation: expected what a network takes as (channels, height, width), came {self.takes}"
            )
        super().__init__(shape, **numbers)

    def _column(self, name: str, numbers: Sequence[float]) -> Tensor:
        return self.checked_column(name, numbers, count=self.takes[0], of="channel").view(-1, 1, 1)

    @property
    def prepared_shape(self) -> tuple[int, ...]:
        return self.takes

    @property
    def mean_colour(self) -> Tensor:
        colour = self.mean * self.scale
        return colour if len(colour) == self.shape[0] else colour.mean(0, keepdim=True)

    def describe(self) -> str:
        if self.shape == self.takes:
            return super().describe()
        return f" made of {' x '.join(map(str, self.shape))}{super().describe()}"

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "takes": list(self.takes)}

    def forward(self, raw: Tensor) -> Tensor:
        return (self._brought(raw) - self.mean) / self.std

    def prepare_fresh(self, raw: Tensor) -> Tensor:
        return self(raw)

    def _brought(self, raw: Tensor) -> Tensor:
        """Returns images (N, C, H, W) float32, divided by the scale, in the size and the channels that the network takes."""
        images = raw.float() / self.scale
        channels, height, width = self.takes
        high, wide = self.shape[1:]
        if (high, wide) != (height, width):
            ratio = max(width / wide, height / high)
            size = max(height, round(high * ratio)), max(width, round(wide * ratio))
            images = interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
            top, left = (size[0] - height) // 2, (size[1] - width) // 2
            images = images[:, :, top : top + height, left : left + width]
        return images.expand(-1, channels, -1, -1) if self.shape[0] == 1 else images

    def onto(
        self, shape: Sequence[int], *, highest: int | None, where: str, notes: list[str]
    ) -> FittedImages:
        """Returns the same for raw images of this shape; adds to `notes` what happens to them. Raises DataError.

        `highest`: the largest value that a raw pixel can have; None for floats.
        """
        shape = tuple(shape)
        wanted = " x ".join(map(str, self.takes))
        if len(shape) != 3:
            raise DataError(
                f"{where}: the network takes images ({wanted}), came examples of shape {' x '.join(map(str, shape))}"
            )
        if highest is None:
            raise DataError(
                f"{where}: the network was trained on pixels of a known range, came float images, whose range is not known.\n"
                "Give them as whole numbers from 0 to 255 (uint8)."
            )
        if shape[0] not in (1, self.takes[0]):
            raise DataError(
                f"{where}: the network takes images of {self.takes[0]} channels ({wanted}), came {shape[0]} channels.\n"
                "Give grey images, which are taken for every channel, or as many channels as it takes."
            )
        if shape[1:] != self.takes[1:]:
            size = " x ".join(map(str, self.takes[1:]))
            notes.append(
                f"images of {shape[1]} x {shape[2]} are brought to {size}, which the network takes (transfer, data.size)"
            )
        if shape[0] < self.takes[0]:
            notes.append(f"grey images are repeated in each of {self.takes[0]} channels")
        scale = self.scale * highest / (self.highest or highest)
        numbers = {"mean": self.mean.flatten().tolist(), "std": self.std.flatten().tolist()}
        return FittedImages(shape, takes=self.takes, scale=scale, highest=highest, **numbers)


def fitted_to(preparation: Preparation, *, size: int | None) -> Preparation:
    """Returns the preparation of a network's data as one for other images: of `size`, or of the size that it had.

    What is no preparation of pixels comes back as it is; raises DataError for a size with it.
    """
    if not isinstance(preparation, ImagePreparation) or preparation.highest is None:
        if size is not None:
            raise DataError("data.size= goes with a network of images; this one takes something else")
        return preparation
    takes = preparation.prepared_shape if size is None else (preparation.prepared_shape[0], size, size)
    entries = {**preparation.to_dict(), "takes": list(takes), "shape": list(takes)}
    entries.pop("kind")
    return FittedImages(**entries)
