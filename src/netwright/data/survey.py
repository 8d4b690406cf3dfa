"""One look at every example on disk, in constant memory: content hashes, sums of pixels, NaN."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from netwright.data.partition import content_hashes
from netwright.data.statistics import pixel_sums
from netwright.data.stream import Reader
from netwright.errors import DataError

BLOCK_BYTES = 1 << 20  # that are looked at together


@dataclass(frozen=True, eq=False)
class Survey:
    """What was seen of N examples: `hashes` (N,) uint64 as content_hashes has them, and, of uint8 images,
    `sums` (2, N, C) int64: of the pixels, and of their squares."""

    hashes: np.ndarray
    sums: Tensor | None


def survey(reader: Reader, where: str) -> Survey:
    """Reads every example once; raises DataError naming the first one that holds NaN or infinite numbers.

    A set of a million images of three channels leaves 56 bytes of each: 56 MB, whatever their size.
    """
    count = len(reader)
    hashes = np.empty(count, np.uint64)
    pixels = reader.dtype == torch.uint8 and len(reader.shape) == 3
    sums = torch.empty(2, count, reader.shape[0], dtype=torch.int64) if pixels else None
    bad, first = 0, None
    for begin, block in blocks(reader, torch.arange(count)):
        end = begin + len(block)
        hashes[begin:end] = content_hashes(block)
        if sums is not None:
            sums[:, begin:end] = pixel_sums(block)
        elif block.is_floating_point() and not bool(torch.isfinite(block).all()):
            wrong = ~torch.isfinite(block)
            bad += int(wrong.sum())
            if first is None:
                at = torch.nonzero(wrong)[0].tolist()
                first = f"{float(block[tuple(at)])} in row {begin + at[0]}, place {at[1:]}"
    if first is not None:
        raise DataError(
            f"{where}: expected finite numbers (as float32), came {bad:,} NaN or infinite; the first is {first}.\n"
            "Fill or drop these examples before training."
        )
    return Survey(hashes, sums)


def blocks(reader: Reader, rows: Tensor, *, size: int | None = None) -> Iterator[tuple[int, Tensor]]:
    """Yields (begin, raw examples) of `rows`, `size` at a time (default: 1 MB)."""
    if size is None:
        size = max(1, BLOCK_BYTES // max(1, torch.Size(reader.shape).numel() * reader.dtype.itemsize))
    for begin in range(0, len(rows), size):
        yield begin, reader.read(rows[begin : begin + size])
