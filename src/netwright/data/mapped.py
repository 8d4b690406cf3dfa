"""A folder of NumPy's .npy files, x.npy and y.npy: into memory, or read row by row as it goes."""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path
from typing import Any, NoReturn

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
    return {
        part: (open_array(inputs), np.array(open_array(targets))) for part, (inputs, targets) in files.items()
    }


def open_array(path: Path) -> np.ndarray:
    """Returns the array of a .npy file, mapped for reading; raises DataError naming the file."""
    try:
        with open(path, "rb") as file:
            begins = file.read(6)
        if begins not in (b"", b"\x93NUMPY"):
            raise DataError(f"{path}: expected NumPy's .npy format, came another file (it begins {begins!r})")
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, DataError):
            raise
        if "Python objects" in str(error):
            raise DataError(
                f"{path}: expected numbers or strings, came pickled objects, which are never loaded.\n"
                "Save it with a dtype of its own, as np.save(path, np.asarray(values, dtype=np.float32))."
            ) from None
        shown = f"cut off or empty ({path.stat().st_size:,} bytes; {error})"
        raise DataError(f"{path}: expected a whole .npy file, came one that is {shown}") from None


def stream_arrays(folder: Path, files: dict[str, tuple[Path, Path]], classes: Any, *, name: str) -> Source:
    """Returns the set with its inputs on disk and its targets in memory; every example is looked at once."""
    found = Source(name, "arrays", {}, None, image=False)
    raw, readers = {}, {}
    for part, (inputs, targets) in files.items():
        readers[part] = _reader(inputs, found)
        raw[part] = read_targets(np.array(open_array(targets)), where=str(targets))
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
    """The rows of one .npy file, each read from its place in the file.

    Not through a memory map: mapped pages count as the process's own until they are given back, and the kernel maps
    up to 2 MB around a row that is touched, so that giving them back in time costs 11 microseconds a row of 3 kB
    beside the 2 of a read of its own (one Xeon core, the file in the kernel's cache). A file that is cut off while
    it is read is an error here, where a map ends the process (SIGBUS).
    """

    by_processes = True

    def __init__(self, path: Path, *, channels_last: bool, bytes_: bool) -> None:
        self.path, self.channels_last = path, channels_last
        self.stamp = stamp_of(path)
        array = open_array(path)
        self.stored, self.count, inner = array.dtype, len(array), array.shape[1:]
        self.stored_shape = inner
        self.offset = int(array.offset)  # type: ignore[attr-defined]
        self.row_bytes = array[:1].nbytes
        if channels_last:
            inner = (inner[2], inner[0], inner[1])
        self.shape = inner if len(inner) != 2 else (1, *inner)
        self.dtype = torch.uint8 if bytes_ else torch.float32
        self._descriptor: int | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.count

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_descriptor": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= {**state, "_lock": threading.Lock()}

    def read(self, rows: Tensor) -> Tensor:
        places = rows.numpy()
        wanted = torch.empty(len(places), *self.shape, dtype=self.dtype)
        out = wanted.numpy()
        if not self.channels_last and self.stored == out.dtype:
            self._fill(out, places)
            return wanted
        stored = np.empty((len(places), *self.stored_shape), self.stored)
        self._fill(stored, places)
        if self.channels_last:
            stored = stored.transpose(0, 3, 1, 2)
        with np.errstate(over="ignore"):  # what overflows becomes infinite, and the survey names it
            np.copyto(out, stored.reshape(out.shape), casting="unsafe")
        return wanted

    def check_unchanged(self) -> None:
        check_stamp(self.path, self.stamp)

    def pools(self, rows: Tensor, *, seed: int, epoch: int) -> None:
        return None

    def _fill(self, out: np.ndarray, places: np.ndarray) -> None:
        """Reads the rows at `places` into `out`; raises DataError where the file ends before them."""
        if len(places) and _is_dense(places):
            first, last = int(places[0]), int(places[-1])
            count = (last - first + 1) * (self.row_bytes // self.stored.itemsize)
            run = np.fromfile(self.path, self.stored, count, offset=self.offset + first * self.row_bytes)
            if len(run) < count:
                self._cut_off(last)
            np.take(
                run.reshape(-1, *self.stored_shape),
                places - first,
                axis=0,
                out=out.reshape(-1, *self.stored_shape),
                mode="clip",
            )
            return
        memory = memoryview(out.reshape(-1).view(np.uint8).data)
        size, begin = self.row_bytes, 0
        for place in places.tolist():
            if self._read_at(memory[begin : begin + size], self.offset + place * size) < size:
                self._cut_off(place)
            begin += size

    def _read_at(self, memory: memoryview, offset: int) -> int:
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            weakref.finalize(self, os.close, self._descriptor)
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        if hasattr(os, "preadv"):
            return os.preadv(self._descriptor, (memory,), offset)
        with self._lock:  # two threads would move each other's place
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            content = os.read(self._descriptor, len(memory))
        memory[: len(content)] = content
        return len(content)

    def _cut_off(self, place: int) -> NoReturn:
        self.check_unchanged()
        raise DataError(f"{self.path}: the file ends before row {place:,} of {self.count:,}")


def _is_dense(places: np.ndarray) -> bool:
    """Says whether rows in ascending order lie so close that one read of the whole run is cheaper than one for each."""
    span = int(places[-1]) - int(places[0]) + 1
    return len(places) <= span <= DENSE * len(places) and bool((np.diff(places) > 0).all())
