"""Lets a training on processors use its memory again, step after step."""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

# Parameters of glibc's mallopt (malloc.h), and what its thresholds grow to by themselves on 64 bits.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_GROWN_MMAP, _GROWN_TRIM, _MAPS_AT_MOST = 32 << 20, 64 << 20, 65536

_lock = threading.Lock()
_inside = 0


@contextmanager
def memory_kept(device: torch.device) -> Iterator[None]:
    """Keeps what a step frees for the next one, on a processor under glibc; elsewhere nothing is changed.

    glibc asks the system anew for every block above 32 MB, and gives it back when it is freed: of the maps of a CNN at a batch of
    1,024 every step pays for each page again, half of its time (EXPERIMENTS.md). Inside the `with` all blocks lie in the heap,
    which is not made smaller; after the outermost one what is free goes back to the system. Where MALLOC_... or GLIBC_TUNABLES say
    how memory is to be had, they are left alone.
    """
    global _inside
    library = _glibc() if device.type == "cpu" else None
    if library is None or _decided_elsewhere():
        yield
        return
    with _lock:
        _inside += 1
        if _inside == 1:
            library.mallopt(_MMAP_MAX, 0)
            library.mallopt(_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                library.mallopt(_MMAP_MAX, _MAPS_AT_MOST)
                library.mallopt(_MMAP_THRESHOLD, _GROWN_MMAP)
                library.mallopt(_TRIM_THRESHOLD, _GROWN_TRIM)
                library.malloc_trim(0)


def give_back(device: torch.device) -> None:
    """Gives what is free in the heap back to the system, as `memory_kept` does at its end, where it would do anything at all.

    Between phases that need blocks of other sizes, such as training, test and report: what one has left lies in pieces in which the
    next one's blocks find no place, and the heap grows with each of them.
    """
    library = _glibc() if device.type == "cpu" else None
    if library is not None and not _decided_elsewhere():
        library.malloc_trim(0)


@functools.cache
def _glibc() -> Any:
    try:
        library = ctypes.CDLL(None)
        _ = library.gnu_get_libc_version, library.mallopt, library.malloc_trim
    except (OSError, TypeError, AttributeError):
        return None
    library.malloc_trim.argtypes = [ctypes.c_size_t]
    return library


def _decided_elsewhere() -> bool:
    names = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
    return any(name in os.environ for name in names) or "malloc" in os.environ.get("GLIBC_TUNABLES", "")
