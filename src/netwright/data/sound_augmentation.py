"""Changed copies of training recordings, made batch by batch: moved in time, with bands and moments masked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from netwright.data.preparation import Preparation
from netwright.data.sound import SoundPreparation
from netwright.errors import DataError, unknown_name


# `eject` prints this function and the next with inspect.getsource: they may name nothing but torch, Tensor and F.
def shifted(waves: Tensor, draws: Tensor, *, samples: int) -> Tensor:
    """Returns waveforms (N, n) moved by up to `samples` to either side; beyond their ends is silence.

    `draws` (N, 8) in [0, 1) decide, by their first column.
    """
    offsets = (draws[:, 0] * (2 * samples + 1)).long()
    windows = F.pad(waves, (samples, samples)).unfold(1, waves.shape[1], 1)
    return windows[torch.arange(len(waves), device=waves.device), offsets]


def masked(spectrograms: Tensor, draws: Tensor, *, frames: int, bands: int) -> Tensor:
    """Returns standardised spectrograms (N, 1, mels, T) with one block of bands and one of frames set to 0, the mean.

    Each block is as wide as drawn from 0 to `bands` or `frames`, and lies anywhere (SpecAugment: Park et al. 2019,
    arXiv:1904.08779, section 2, whose F and T these are). `draws` (N, 8) in [0, 1) decide, by columns 1 to 4.
    """
    for axis, most, columns in ((2, bands, (1, 2)), (3, frames, (3, 4))):
        count = spectrograms.shape[axis]
        width = (draws[:, columns[0]] * (min(most, count) + 1)).long()
        first = (draws[:, columns[1]] * (count - width + 1)).long()
        places = torch.arange(count, device=spectrograms.device)
        hidden = (places >= first[:, None]) & (places < (first + width)[:, None])
        hidden = hidden[:, None, :, None] if axis == 2 else hidden[:, None, None, :]
        spectrograms = spectrograms.masked_fill(hidden, 0.0)
    return spectrograms


@dataclass(frozen=True)
class SoundAugmentation:
    """What is done to training recordings, in the words of the recipe's section `augment`: seconds, seconds and bands.

    A set takes at most half of an example for each (`bounded`), and says what it takes.

    >>> SoundAugmentation.build({"time_shift": 0.1, "mask_frequency": 8}).describe()
    'moved by up to 0.1 s, up to 8 mel bands masked'
    """

    time_shift: float = 0.0
    mask_time: float = 0.0
    mask_frequency: int = 0

    @classmethod
    def build(cls, entries: Mapping[str, Any]) -> SoundAugmentation:
        """Returns the augmentation of these entries; raises DataError or UnknownNameError."""
        known = [entry.name for entry in fields(cls)]
        for name, value in entries.items():
            if name not in known:
                raise unknown_name("augment option", name, known)
            whole = isinstance(value, int) and not isinstance(value, bool)
            number = whole or (isinstance(value, float) and math.isfinite(value))
            bands = name == "mask_frequency"
            if not ((whole if bands else number) and value >= 0):
                expected = "a whole number of mel bands" if bands else "seconds"
                raise DataError(f"augment.{name}: expected {expected} from 0 on, came {value!r}")
        return cls(**entries)

    @property
    def columns(self) -> int:
        """How many numbers are drawn for an example."""
        return 8

    def __bool__(self) -> bool:
        return bool(self.time_shift or self.mask_time or self.mask_frequency)

    def describe(self) -> str:
        """Returns what is done, in words."""
        words = []
        if self.time_shift:
            words.append(f"moved by up to {self.time_shift:.3g} s")
        if self.mask_frequency:
            words.append(f"up to {self.mask_frequency} mel bands masked")
        if self.mask_time:
            words.append(f"up to {self.mask_time:.3g} s masked")
        return ", ".join(words)

    def bounded(self, preparation: SoundPreparation) -> SoundAugmentation:
        """Returns the same, but for what would hide or move more than half of an example: that is half of it."""
        half = preparation.seconds / 2
        return SoundAugmentation(
            min(self.time_shift, half),
            min(self.mask_time, half),
            min(self.mask_frequency, preparation.mels // 2),
        )

    def check(self, preparation: Preparation, *, name: str) -> None:
        """Does nothing: what `bounded` returns fits every recording."""

    def shift(self, preparation: SoundPreparation) -> dict[str, int]:
        """Returns the keyword arguments of `shifted`."""
        return {"samples": round(self.time_shift * preparation.rate)}

    def masks(self, preparation: SoundPreparation) -> dict[str, int]:
        """Returns the keyword arguments of `masked`."""
        frames = round(self.mask_time * preparation.rate / preparation.hop)
        return {"frames": frames, "bands": self.mask_frequency}

    def prepared(self, raw: Tensor, draws: Tensor, preparation: Preparation) -> Tensor:
        """Returns raw recordings as the network takes them, changed by their draws."""
        assert isinstance(preparation, SoundPreparation)
        if self.time_shift:
            raw = shifted(raw, draws, **self.shift(preparation))
        prepared = preparation.prepare_fresh(raw)
        if self.mask_time or self.mask_frequency:
            prepared = masked(prepared, draws, **self.masks(preparation))
        return prepared
