"""Picture files, decoded when they are asked for."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from netwright.data.images import decode_image, explain_unreadable
from netwright.data.stamps import check_stamp
from netwright.errors import DataError


class PictureReader:
    """The pictures behind a list of files as (C, H, W) uint8 of one shape, by the rules of `decode_image`.

    `stamps` (N, 2) int64 are what `stamp_of` said of each file when it was first decoded.
    """

    dtype = torch.uint8
    by_processes = True

    def __init__(self, files: Sequence[str], shape: tuple[int, int, int], stamps: np.ndarray) -> None:
        self.files, self.stamps = tuple(files), stamps
        self.shape: tuple[int, ...] = shape

    def __len__(self) -> int:
        return len(self.files)

    def read(self, rows: Tensor) -> Tensor:
        """Returns (len(rows), C, H, W) uint8.

        Raises DataError for the first file that is not what it was: all of them could be decoded when the set was
        loaded, so one that cannot be any more stops the run, and is not left out of an epoch in silence.
        """
        _quieten_pillow()
        wanted = torch.empty(len(rows), *self.shape, dtype=torch.uint8)
        for row, place in zip(wanted.numpy(), rows.tolist(), strict=True):
            row[:] = self._decode(place)
        return wanted

    def _decode(self, place: int) -> np.ndarray:
        file = self.files[place]
        check_stamp(file, (int(self.stamps[place, 0]), int(self.stamps[place, 1])))
        try:
            return decode_image(file, self.shape[0], self.shape[1], self.shape[2])
        except Exception as error:  # Pillow's plug-ins raise what they like on damaged files
            raise DataError(
                f"{file}: {explain_unreadable(file, error)}; it could be read when the data was loaded.\n"
                "Put it back and go on with: netwright resume RUN; or start anew, which leaves it out and says so."
            ) from None

    def check_unchanged(self) -> None:
        """Does nothing: a million files are not looked at before each epoch, but each when it is read."""

    def pools(self, rows: Tensor, *, seed: int, epoch: int) -> None:
        return None


def _quieten_pillow() -> None:
    """Silences Pillow's own warnings for good, what matters of them being checked in decode_image.

    `warnings.catch_warnings` is not for threads: two that overlap put back each other's filters.
    """
    if not any(str(getattr(entry[3], "pattern", "")) == "PIL" for entry in warnings.filters):
        warnings.filterwarnings("ignore", module="PIL")
