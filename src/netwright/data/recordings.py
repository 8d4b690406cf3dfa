"""Sound files to waveforms: what a header says, and how each file becomes (samples,) float32 at one rate."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from netwright.data.images import explain_absent
from netwright.data.stamps import check_stamp
from netwright.errors import DataError

# libsndfile says this many where a file does not tell its length.
UNKNOWN_LENGTH = 2**62


# `eject` prints this function and the next with inspect.getsource: they may name nothing but math, np, Any and each other;
# the libraries are imported within.
def read_waveform(file: Any) -> tuple:
    """Returns ((n,) float32, rate in hertz) of one recording, its channels averaged: a path, an open file or bytes.

    Full scale is 1. Raises what soundfile raises for damaged files, ValueError for one that ends before the length that
    its header states, holds no samples, NaN or infinite ones, or more than 2**28 (an hour and a half at 48 kHz).
    """
    import io

    import soundfile

    if isinstance(file, (bytes, bytearray)):
        file = io.BytesIO(file)
    with soundfile.SoundFile(file) as opened:
        stated, rate = opened.frames, opened.samplerate
        if 2**28 < stated * opened.channels < 2**62:
            raise ValueError(f"{stated} samples in {opened.channels} channels, more than 2**28")
        wave = opened.read(dtype="float32", always_2d=True)
    if len(wave) < stated < 2**62:
        raise ValueError(f"cut off: {len(wave)} of {stated} samples are there")
    if not len(wave):
        raise ValueError("no samples")
    if not np.isfinite(wave).all():
        raise ValueError("NaN or infinite samples")
    return wave[:, 0] if wave.shape[1] == 1 else wave.mean(1), rate


def fitted_waveform(wave: np.ndarray, came: int, rate: int, samples: int) -> np.ndarray:
    """Returns a (n,) float32 waveform at `came` hertz as (samples,) float32 at `rate`.

    Another rate is resampled by a polyphase filter that lets no alias through (scipy.signal.resample_poly, a Kaiser
    window). What is longer is cut to its middle, what is shorter gets zeros on both sides, alike.
    """
    if came != rate:
        from scipy.signal import resample_poly

        divisor = math.gcd(came, rate)
        wave = resample_poly(wave, rate // divisor, came // divisor)
    fitted = np.zeros(samples, np.float32)
    if len(wave) >= samples:
        start = (len(wave) - samples) // 2
        fitted[:] = wave[start : start + samples]
    else:
        start = (samples - len(wave)) // 2
        fitted[start : start + len(wave)] = wave
    return fitted


@dataclass(frozen=True)
class Header:
    """What a sound file's header says: hertz, channels, and samples of one channel (None: it does not tell)."""

    rate: int
    channels: int
    samples: int | None

    @property
    def seconds(self) -> float | None:
        return None if self.samples is None else self.samples / self.rate


def read_header(file: str) -> Header:
    """Returns the header of a file; raises as `read_waveform` does, and ValueError for a WAV that was cut off.

    libsndfile takes the samples that are left of such a file for the whole; its header still says how many there were.
    An OGG that ends with a whole page cannot be told from a shorter recording.
    """
    import soundfile

    with open(file, "rb") as opened:
        _check_whole_wav(opened)
    with soundfile.SoundFile(file) as opened_sound:
        if not opened_sound.frames:
            raise ValueError("no samples")
        known = opened_sound.frames < UNKNOWN_LENGTH
        return Header(opened_sound.samplerate, opened_sound.channels, opened_sound.frames if known else None)


def _check_whole_wav(file: BinaryIO) -> None:
    """Raises ValueError where a RIFF file's samples end before the length that is written before them.

    The format: Microsoft and IBM, "Multimedia Programming Interface and Data Specifications 1.0", 1991. Programs that
    write into a pipe leave the length 0 or 2**32 - 1, which says nothing.
    """
    size = os.fstat(file.fileno()).st_size
    head = file.read(12)
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return
    while len(chunk := file.read(8)) == 8:
        name, length = struct.unpack("<4sI", chunk)
        if name == b"data":
            there = size - file.tell()
            if there < length < 2**32 - 1:
                raise ValueError(f"cut off: {there:,} of {length:,} bytes of sound are there")
            return
        file.seek(length + length % 2, os.SEEK_CUR)


def decode_recording(file: Any, rate: int, samples: int) -> np.ndarray:
    """Returns the (samples,) float32 waveform of one recording, by the rules of the two functions above."""
    if isinstance(file, (str, os.PathLike)):
        with open(file, "rb") as opened:
            _check_whole_wav(opened)
    wave, came = read_waveform(file)
    return fitted_waveform(wave, came, rate, samples)


def check_soundfile(where: Any) -> None:
    """Raises DataError where the package that reads sound files is not installed."""
    try:
        import soundfile  # noqa: F401
    except (ImportError, OSError):  # OSError: the package without the library that it stands on
        raise DataError(
            f"{where}: reading sound files needs soundfile, which is not installed: pip install 'netwright[sound]'"
        ) from None


def explain_unreadable_sound(source: Any, error: Exception) -> str:
    """Returns, in a few words, why a sound file could not be read."""
    absent = explain_absent(source, "recording")
    if absent is not None:
        return absent
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, ValueError):  # our own
        return str(error)
    text = getattr(error, "error_string", "") or (
        f"libsndfile's error {error.code}" if hasattr(error, "code") else str(error) or type(error).__name__
    )
    return f"damaged, cut off, or no sound ({text.splitlines()[0].rstrip('.')})"


class RecordingReader:
    """The recordings behind a list of files as (samples,) float32 at one rate, decoded when they are asked for.

    `stamps` (N, 2) int64 are what `stamp_of` said of each file when it was first decoded.
    """

    dtype = torch.float32
    by_processes = True

    def __init__(self, files: Sequence[str], rate: int, samples: int, stamps: np.ndarray) -> None:
        self.files, self.rate, self.stamps = tuple(files), rate, stamps
        self.shape: tuple[int, ...] = (samples,)

    def __len__(self) -> int:
        return len(self.files)

    def read(self, rows: Tensor) -> Tensor:
        """Returns (len(rows), samples) float32.

        Raises DataError for the first file that is not what it was when the set was loaded.
        """
        waves = torch.empty(len(rows), *self.shape)
        for row, place in zip(waves.numpy(), rows.tolist(), strict=True):
            file = self.files[place]
            check_stamp(file, (int(self.stamps[place, 0]), int(self.stamps[place, 1])))
            try:
                row[:] = decode_recording(file, self.rate, self.shape[0])
            except Exception as error:  # soundfile and the system raise what they like
                raise DataError(
                    f"{file}: {explain_unreadable_sound(file, error)}; it could be read when the data was loaded.\n"
                    "Put it back and go on with: netwright resume RUN; or start anew, which leaves it out and says so."
                ) from None
        return waves

    def check_unchanged(self) -> None:
        """Does nothing: files are not looked at before each epoch, but each when it is read."""

    def pools(self, rows: Tensor, *, seed: int, epoch: int) -> None:
        return None
