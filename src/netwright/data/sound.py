"""What turns waveforms into what the network sees: a log-mel spectrogram, computed batch by batch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netwright.data.media import RECORDINGS, find_inputs
from netwright.data.preparation import Preparation, as_numbers
from netwright.data.recordings import (
    check_soundfile,
    decode_recording,
    explain_unreadable_sound,
    fitted_waveform,
)
from netwright.errors import DataError


# `eject` prints these functions with inspect.getsource: they may name nothing but torch, Tensor and each other.
def mel_filters(rate: int, fft: int, mels: int) -> Tensor:
    """Returns (mels, fft // 2 + 1) float32: triangles of height 1 over the frequencies of a transform of `fft` samples.

    Their corners are equally far apart in mel from 0 to half the `rate`; neighbours cross at half their height.
    Mel of f hertz: 2595 log10(1 + f / 700) (O'Shaughnessy, "Speech Communication", 1987; Young et al., "The HTK Book" 3.4,
    equation 5.13, and figure 5.3 for the triangles).

    >>> mel_filters(8000, 256, 2).shape
    torch.Size([2, 129])
    """
    top = 2595 * torch.log10(1 + torch.tensor(rate / 2, dtype=torch.float64) / 700)
    corners = 700 * (10 ** (torch.linspace(0, 1, mels + 2, dtype=torch.float64) * top / 2595) - 1)
    hertz = torch.arange(fft // 2 + 1, dtype=torch.float64) * rate / fft
    rising = (hertz - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    falling = (corners[2:, None] - hertz) / (corners[2:] - corners[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0).float()


def log_mel(waves: Tensor, filters: Tensor, taper: Tensor, *, hop: int, fft: int) -> Tensor:
    """Returns (N, 1, mels, 1 + samples // hop) float32 from -8 to 0: bels below the loudest place of the example.

    That is the log10 of the power that each filter lets through, so that how loud a recording is as a whole, which the
    microphone decides, counts nothing. What lies more than 80 dB below the loudest place is raised to that; an example of
    silence is -8 everywhere. `waves` (N, samples) float; frames lie `hop` samples apart, the first centred on the first
    sample, beyond the ends zeros; each is weighted by `taper` and transformed over `fft` samples.
    """
    with torch.autocast(waves.device.type, enabled=False):
        waves = waves.float()
        spectrum = torch.stft(
            waves, fft, hop, len(taper), taper, center=True, pad_mode="constant", return_complex=True
        )
        power = torch.matmul(filters, spectrum.real.square() + spectrum.imag.square())
        bels = power.clamp(min=1e-16).log10()
        loudest = bels.amax((1, 2), keepdim=True).clamp(min=-8)
        return (bels - loudest).clamp(min=-8).unsqueeze(1)


class SoundPreparation(Preparation):
    """The preparation of recordings: raw (samples,) float32 waveforms at `rate` hertz, mean and std one a mel band.

    `window` and `hop` are samples. The transform is as long as the smallest power of two that holds a window and leaves
    no filter empty. (N, samples) in, (N, 1, mels, 1 + samples // hop) float32 out.

    >>> prepare = SoundPreparation((8000,), rate=8000, mels=40, window=200, hop=80)
    >>> prepare(torch.zeros(2, 8000)).shape, prepare.fft
    (torch.Size([2, 1, 40, 101]), 256)
    """

    kind = "sound"
    elementwise = False
    filters: Tensor
    taper: Tensor

    def __init__(
        self, shape: Sequence[int], *, rate: int, mels: int, window: int, hop: int, **numbers: Any
    ) -> None:
        _check(shape, rate=rate, mels=mels, window=window, hop=hop)
        # Before the parent's part, which asks how many numbers mean and std have.
        self.rate, self.mels, self.window, self.hop = rate, mels, window, hop
        super().__init__(shape, **numbers)
        self.fft = _transform_length(rate, mels, window)
        # Not saved with the run: they follow from the four numbers.
        self.register_buffer("filters", mel_filters(rate, self.fft, mels), persistent=False)
        self.register_buffer("taper", torch.hann_window(window), persistent=False)

    def _column(self, name: str, numbers: Sequence[float]) -> Tensor:
        return self.checked_column(name, numbers, count=self.mels, of="mel band").view(-1, 1)

    @property
    def seconds(self) -> float:
        """How long an example is."""
        return self.shape[0] / self.rate

    @property
    def prepared_shape(self) -> tuple[int, ...]:
        return 1, self.mels, 1 + self.shape[0] // self.hop

    def describe(self) -> str:
        standardised = ", each standardised" if bool((self.std != 1).any()) else ""
        return (
            f": log-mel spectrogram of {self.seconds:.4g} s at {self.rate:,} Hz, {self.mels} bands{standardised}, "
            f"a frame every {1000 * self.hop / self.rate:.3g} ms"
        )

    def spectrogram(self, raw: Tensor) -> Tensor:
        """Returns (N, 1, mels, frames) float32, the log-mel spectrogram not yet standardised."""
        return log_mel(raw, self.filters, self.taper, hop=self.hop, fft=self.fft)

    def forward(self, raw: Tensor) -> Tensor:
        return (self.spectrogram(raw) - self.mean) / self.std

    def prepare_fresh(self, raw: Tensor) -> Tensor:
        return self.spectrogram(raw).sub_(self.mean).div_(self.std)

    def with_statistics(self, mean: Sequence[float], std: Sequence[float]) -> SoundPreparation:
        """Returns the same preparation with other numbers for mean and std."""
        entries = {key: value for key, value in self.to_dict().items() if key != "kind"}
        return SoundPreparation(**{**entries, "mean": mean, "std": std})

    def picture(self, raw: Tensor) -> np.ndarray:
        """Returns one raw example, (samples,), as a picture (mels, frames) uint8: low notes below, loud places bright."""
        bels = self.spectrogram(raw[None])[0, 0].flip(0)
        low, high = bels.min(), bels.max()
        return ((bels - low) / (high - low).clamp(min=1e-12) * 255).round().byte().cpu().numpy()

    def to_dict(self) -> dict[str, Any]:
        entries = super().to_dict()
        del entries["scale"]
        return entries | {"rate": self.rate, "mels": self.mels, "window": self.window, "hop": self.hop}

    def read_files(self, paths: Sequence[str | os.PathLike[str]]) -> Iterator[tuple[str, Tensor]]:
        for file in find_inputs(paths, RECORDINGS):
            yield str(file), self.read(file)

    def read(self, source: Any, *, where: str | None = None) -> Tensor:
        """Returns the raw waveform, (samples,), of a sound file, of its bytes, or of a row of numbers at `rate` hertz.

        A row of any length is taken, and cut or filled up as a file is.
        """
        if isinstance(source, (str, Path, bytes, bytearray)):
            if where is None:
                where = str(source) if isinstance(source, (str, Path)) else "recording"
            check_soundfile(where)
            try:
                return torch.from_numpy(decode_recording(source, self.rate, self.shape[0]))
            except Exception as error:  # soundfile and the system raise what they like on damaged files
                raise DataError(f"{where}: {explain_unreadable_sound(source, error)}") from None
        where = where or "input"
        wave = as_numbers(source, where)
        if wave.ndim != 1 or not len(wave):
            raise DataError(
                f"{where}: expected one recording as a row of samples at {self.rate:,} Hz, came numbers of shape "
                f"{wave.shape}"
            )
        fitted = fitted_waveform(wave.astype(np.float32), self.rate, self.rate, self.shape[0])
        return self.read_numbers(fitted, where=where)

    def _is_one(self, inputs: Any) -> bool:
        return getattr(inputs, "ndim", None) == 1 or (
            isinstance(inputs, (list, tuple)) and bool(inputs) and not isinstance(inputs[0], Iterable)
        )

    def extra_repr(self) -> str:
        return f"rate={self.rate}, mels={self.mels}, window={self.window}, hop={self.hop}, {super().extra_repr()}"


def _transform_length(rate: int, mels: int, window: int) -> int:
    """Returns the smallest power of two that holds a window and at which every filter meets a frequency."""
    length = 1 << max(1, (window - 1).bit_length())
    while not bool((mel_filters(rate, length, mels).sum(1) > 0).all()):
        length *= 2
    return length


def _check(shape: Sequence[int], **entries: Any) -> None:
    for name, value in entries.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise DataError(f"preparation: expected {name} as a whole number above 0, came {value!r}")
    if entries["window"] < 2 or entries["mels"] > 512:
        raise DataError(
            f"preparation: expected a window of 2 samples or more and at most 512 mel bands, came {entries['window']} "
            f"and {entries['mels']}"
        )
    if len(shape) != 1 or shape[0] < 1:
        raise DataError(f"preparation: expected a waveform's shape as (samples,), came {tuple(shape)}")
