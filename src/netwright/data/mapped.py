"""A folder of NumPy's .npy files, x.npy and y.npy: into memory, or read through a memory map."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netwright.data.arrays import CHANNELS
from netwright.data.labels import encode, read_targets
from netwright.data.npz import KEYS, choose_pairs
from netwright.data.source import Source, StreamPart
from netwright.data.stamps import check_stamp, stamp_of
from netwright.data.survey import survey
from netwright.errors import DataError

PAGE = 4096
# The kernel maps up to so much around a page that is touched, where the file is in its cache (fault-around).
AROUND_BYTES = 16 * PAGE
# Touched pages count as ours until they are given back; giving back costs the next touch 1 microsecond a row.
MOST_MAPPED_BYTES = 48 << 20
BLOCK_ROWS_BYTES = 1 << 24
DENSE = 2  # rows in ascending order, of which every second one is wanted, are read as a run


def is_arrays_folder(folder: Path) -> bool:
    """Says whether a folder holds the .npy files of a set: x.npy and y.npy, or another pair of names."""
    names = {path.stem for path in folder.glob("*.npy")}
    return any(inputs in names or targets in names for pairs in KEYS.values() for inputs, targets in pairs)


def find_arrays(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Returns {"train": (inputs file, targets file), …}; raises DataError naming what is missing."""
    names = sorted(path.stem for path in folder.glob("*.npy"))
    found = choose_pairs(str(folder), names, what="files (.npy)")
    return {
        part: (folder / f"{inputs}.npy", folder / f"{targets}.npy")
        for part, (inputs, targets) in found.items()
    }


def bytes_needed(files: dict[str, tuple[Path, Path]]) -> int:
    """Returns what the inputs take in memory, as uint8 or float32."""
    needed = 0
    for inputs, _ in files.values():
        array = open_array(inputs)
        needed += array.size * (1 if array.dtype == np.uint8 else 4)
    return needed


def read_arrays(files: dict[str, tuple[Path, Path]]) -> dict[str, tuple[Any, Any]]:
    """Returns {"train": (inputs, targets), …}, mapped; what takes them copies them into memory."""
    return {part: (open_array(inputs), open_array(targets)) for part, (inputs, targets) in files.items()}


def open_array(path: Path) -> np.ndarray:
    """Returns the array of a .npy file, mapped for reading; raises DataError naming the file."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError) as error:
        said = str(error)
        if "pickle" in said or "Python objects" in said:
            raise DataError(
                f"{path}: expected numbers or strings, came pickled objects, which are never loaded.\n"
                "Save it with a dtype of its own, as np.save(path, np.asarray(values, dtype=np.float32))."
            ) from None
        if "mmap" in said or "end of file" in said.lower() or not path.stat().st_size:
            shown = f"cut off or empty ({path.stat().st_size:,} bytes; {said})"
            raise DataError(f"{path}: expected a whole .npy file, came one that is {shown}") from None
        raise DataError(f"{path}: expected NumPy's .npy format, came another file ({said})") from None


def stream_arrays(folder: Path, files: dict[str, tuple[Path, Path]], classes: Any, *, name: str) -> Source:
    """Returns the set with its inputs on disk and its targets in memory; every example is looked at once."""
    found = Source(name, "arrays", {}, None, image=False)
    raw, readers = {}, {}
    for part, (inputs, targets) in files.items():
        readers[part] = _reader(inputs, found)
        raw[part] = read_targets(open_array(targets), where=str(targets))
        if len(readers[part]) != len(raw[part]):
            raise DataError(
                f"{folder}: expected a target for each of {len(readers[part]):,} inputs in {inputs.name}, "
                f"came {len(raw[part]):,} in {targets.name}"
            )
    encoded, found.classes, notes = encode(raw, classes, name=name)
    for part, reader in readers.items():
        seen = survey(reader, str(files[part][0]))
        found.parts[part] = StreamPart(reader, torch.arange(len(reader)), encoded[part], seen)
    found.notes += notes
    return found


def _reader(path: Path, found: Source) -> ArrayReader:
    array = open_array(path)
    if array.dtype.kind not in "buif":
        raise DataError(f"{path}: expected an array of numbers, came {array.dtype}, shape {array.shape}")
    if array.ndim not in (2, 3, 4) or 0 in array.shape:
        raise DataError(
            f"{path}: expected (N, D) features or (N, H, W), (N, C, H, W), (N, H, W, C) images with N > 0, "
            f"came {array.shape}"
        )
    if not array.flags.c_contiguous:
        raise DataError(
            f"{path}: expected examples one after the other, came an array saved in Fortran's order, whose examples "
            "are spread over the whole file.\nSave it once more, with np.save(path, np.ascontiguousarray(x))."
        )
    found.image = array.ndim > 2
    last = array.ndim == 4 and array.shape[3] in CHANNELS and array.shape[1] not in CHANNELS
    if last:
        found.notes.append(
            f"the images lie with their channels last, {array.shape[1:]}, and are read channels first"
        )
    bytes_ = array.dtype == np.uint8 or (found.image and _holds_bytes(path, array))
    kept = np.uint8 if bytes_ else np.float32
    if array.dtype != kept:
        found.notes.append(f"the {array.dtype} inputs are read as {np.dtype(kept)}")
    if bytes_:
        found.highest = 255 if found.image else None
    return ArrayReader(path, channels_last=last, bytes_=bytes_)


def _holds_bytes(path: Path, array: np.ndarray) -> bool:
    """Says whether images of another integer type hold whole numbers from 0 to 255 alone; stops at the first other."""
    if array.dtype.kind not in "bui":
        return False
    rows = max(1, BLOCK_ROWS_BYTES // max(1, array[:1].nbytes))
    for begin in range(0, len(array), rows):
        block = open_array(path)[begin : begin + rows]  # a map of its own, whose pages go with it
        if block.min() < 0 or block.max() > 255:
            return False
    return True


class ArrayReader:
    """The rows of one .npy file, read through a memory map whose pages are given back.

    A row of 784 bytes takes 0.2 microseconds from pages that are mapped and 1.2 from pages that were given back
    (2.4 by a read of its own for each; one Xeon core, file in the kernel's cache).
    """

    by_processes = True

    def __init__(self, path: Path, *, channels_last: bool, bytes_: bool) -> None:
        self.path, self.channels_last = path, channels_last
        self.stamp = stamp_of(path)
        shape = open_array(path).shape
        self.count, inner = shape[0], shape[1:]
        if channels_last:
            inner = (inner[2], inner[0], inner[1])
        self.shape = inner if len(inner) != 2 else (1, *inner)
        self.dtype = torch.uint8 if bytes_ else torch.float32
        self._array: np.ndarray | None = None

    def __len__(self) -> int:
        return self.count

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_array": None, "_map": None}

    def read(self, rows: Tensor) -> Tensor:
        # Also the guard against SIGBUS, with which the kernel answers who reads a mapped file past its end.
        self.check_unchanged()
        places = rows.numpy()
        taken, at = self._around(places)
        wanted = torch.empty(len(places), *self.shape, dtype=self.dtype)
        out = wanted.numpy()
        # mode="clip", because "raise" fills a second buffer first; rows lie in 0 … N - 1 by construction.
        if not self.channels_last and taken.dtype == out.dtype:
            taken.take(at, axis=0, out=out.reshape(len(at), *taken.shape[1:]), mode="clip")
        else:
            chosen = taken.take(at, axis=0, mode="clip")
            if self.channels_last:
                chosen = chosen.transpose(0, 3, 1, 2)
            with np.errstate(over="ignore"):  # what overflows becomes infinite, and the survey names it
                np.copyto(out, chosen.reshape(out.shape), casting="unsafe")
        self._give_back(len(places))
        return wanted

    def check_unchanged(self) -> None:
        check_stamp(self.path, self.stamp)

    def pools(self, rows: Tensor, *, seed: int, epoch: int) -> None:
        return None

    def _around(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns an array and where in it the rows lie: the map, or, of rows in a run, what a plain read gives.

        A disk reads a run at its full speed, while a map of many small rows asks for it page by page.
        """
        array = self._mapped()
        if len(places):
            first, last = int(places[0]), int(places[-1])
            if len(places) * DENSE > last - first >= 0 and bool((np.diff(places) > 0).all()):
                count = (last - first + 1) * (array[:1].size)
                offset = self._offset + first * self._row_bytes
                run = np.fromfile(self.path, array.dtype, count, offset=offset)
                return run.reshape(-1, *array.shape[1:]), places - first
        return array, places

    def _mapped(self) -> np.ndarray:
        if self._array is None:
            array = open_array(self.path)
            with open(self.path, "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._offset = int(array.offset)  # type: ignore[attr-defined]
            flat = np.frombuffer(self._map, array.dtype, array.size, self._offset)
            self._array = flat.reshape(array.shape)
            self._row_bytes = self._array[:1].nbytes
            self._touched = 0
            if self._row_bytes < AROUND_BYTES and hasattr(mmap, "MADV_RANDOM"):
                # Else the kernel reads 128 kB of a slow disk for every small row.
                self._map.madvise(mmap.MADV_RANDOM)
        return self._array

    def _give_back(self, count: int) -> None:
        self._touched += count * (self._row_bytes + AROUND_BYTES)
        if self._touched >= MOST_MAPPED_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
            self._touched = 0
