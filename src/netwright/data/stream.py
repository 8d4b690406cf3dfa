"""A part of a data set that stays on disk: read chunk by chunk, in any order, while the network trains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from netwright.data.ahead import Pieces, Workers, read_pieces
from netwright.data.augmentation import Changes
from netwright.data.epochs import Epochs, batches_in_chunk
from netwright.data.mixing import Mixing
from netwright.data.preparation import Preparation


class Reader(Protocol):
    """Raw examples on disk, each of `shape` and `dtype`, that can be read in any order.

    A reader can be pickled, so that processes can read; it opens its files where it is used.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    by_processes: bool  # whether processes of their own read faster than a thread; else a thread reads

    def __len__(self) -> int: ...

    def read(self, rows: Tensor) -> Tensor:
        """Returns the raw examples (len(rows), *shape) in memory of their own; raises DataError naming the file."""
        ...

    def check_unchanged(self) -> None:
        """Raises DataError where a file is no longer the one that was looked at in the beginning."""
        ...

    def pools(self, rows: Tensor, *, seed: int, epoch: int) -> Tensor | None:
        """Returns (len(rows),) int64, the number of the pool in which each is read; None: any order is cheap."""
        ...


@dataclass(frozen=True, eq=False)
class StreamSplit(Epochs):
    """The same interface as Split over examples on disk, in memory that does not grow with their bytes.

    What is held is a few numbers an example (its row, target and place in the order), never its inputs.
    `rows` (N,) int64 are the reader's rows, `targets` (N, ...) as in Split. The batches are those of a Split
    over the same examples, bit for bit, whoever reads them: `workers` is 0 (read between the steps), "thread"
    (one thread reads ahead) or a number of processes. `pinned`: through page-locked memory, for CUDA.
    """

    reader: Reader
    rows: Tensor
    targets: Tensor
    preparation: Preparation
    names: tuple[str, ...] | None = None
    augmentation: Changes | None = None
    mixing: Mixing | None = None
    balanced: bool = False
    workers: Workers = "thread"
    pinned: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def take(self, count: int) -> StreamSplit:
        """Returns the first `count` examples (all of them if there are fewer)."""
        names = None if self.names is None else self.names[:count]
        return replace(self, rows=self.rows[:count], targets=self.targets[:count], names=names)

    def to(self, device: torch.device | str) -> StreamSplit:
        """Returns this part with batches that come out on a device."""
        return replace(
            self,
            targets=self.targets.to(device),
            preparation=self.preparation.on(device),
            device=torch.device(device),
        )

    def raw(self, indices: Tensor | slice) -> Tensor:
        """Returns these examples as they are on disk, (n, *shape) on the CPU, read now."""
        return self.reader.read(self.rows[indices if isinstance(indices, slice) else indices.cpu()])

    def prepared(self, indices: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Returns (x, y) of these examples, read now and ready for the network."""
        if not isinstance(indices, slice):
            indices = torch.as_tensor(indices)
        x = self.preparation.prepare_fresh(self.raw(indices).to(self.device))
        return x, self.targets[indices if isinstance(indices, slice) else indices.to(self.device)]

    def order(self, *, seed: int, epoch: int) -> Tensor:
        """Returns the (N,) int64 order of one epoch, a pure function of its arguments.

        Where any place can be read at once (arrays, images) it is the permutation that a Split has. Where
        examples lie in groups that are read whole (Parquet), the pools of groups come one after the other,
        and inside a pool the order is again a permutation.
        """
        order = super().order(seed=seed, epoch=epoch)
        pools = self.reader.pools(self.rows, seed=seed, epoch=epoch)
        return order if pools is None else order[torch.argsort(pools[order], stable=True)]

    def batches(
        self, batch: int, order: Tensor | None = None, start: int = 0, draws: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields (x, y) as Split.batches does; what lies before batch `start` is jumped over, not read."""
        self.reader.check_unchanged()
        order = torch.arange(len(self)) if order is None else order.cpu()
        done = start * batch
        if done >= len(order):
            return
        # Chunks lie where Split has them, so that every batch has the alignment it has there (see Split.batches).
        row_elements = torch.Size(self.reader.shape).numel()
        step = batch * batches_in_chunk(batch, self.preparation)
        begin = done - done % step
        rest = order[begin:]
        chunks = read_pieces(
            Pieces(self.reader.read, self.rows[rest], step),
            workers=self.workers,
            piece_bytes=step * row_elements * self.reader.dtype.itemsize,
            pin=self.pinned,
        )
        for raw, places in zip(chunks, _split(rest, step), strict=True):
            places = places.to(self.device)
            raw = raw.to(self.device, non_blocking=self.pinned)
            x = self.finished(raw, None if draws is None else draws[places])
            y = self.targets.index_select(0, places)
            if begin < done:  # a resumed epoch: the chunk that was being cut is made again, whole
                x, y = x[done - begin :], y[done - begin :]
                begin = done
            yield from zip(x.split(batch), y.split(batch), strict=True)


def _split(order: Tensor, step: int) -> Iterator[Tensor]:
    # Not order.split(step): a tuple of all its views takes memory that grows with the set.
    return (order[begin : begin + step] for begin in range(0, len(order), step))
