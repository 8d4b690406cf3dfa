"""A part of a data set: whole tensors in memory, indexed by a permutation, prepared batch by batch."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from netwright.data.augmentation import Changes
from netwright.data.epochs import Epochs, batches_in_chunk
from netwright.data.mixing import Mixing
from netwright.data.partition import content_hashes
from netwright.data.preparation import Preparation

# Raw numbers that are hashed together.
NUMBERS_AT_ONCE = 1 << 22


@dataclass(frozen=True, eq=False)
class Split(Epochs):
    """One part of a set, whole in memory.

    `inputs` (N, ...) uint8 or float32, raw; `targets` (N,) int64 class ids, or float32 (N,) or (N, D);
    `names`, where there are files, one for each example. `augmentation` is what `epoch` does to images before they
    are prepared; `batches` leaves them as they are.

    >>> from netwright.data import load
    >>> x, y = next(load("digits").train.batches(64))
    >>> tuple(x.shape), x.dtype, y.dtype
    ((64, 1, 8, 8), torch.float32, torch.int64)
    """

    inputs: Tensor
    targets: Tensor
    preparation: Preparation
    names: tuple[str, ...] | None = None
    augmentation: Changes | None = None
    mixing: Mixing | None = None
    balanced: bool = False

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self.inputs.device

    @cached_property
    def hashes(self) -> np.ndarray:
        """(N,) uint64, one hash of each raw example, as `content_hashes` has them; computed once."""
        if not len(self):
            return np.empty(0, np.uint64)
        at_once = max(1, NUMBERS_AT_ONCE // max(1, math.prod(self.inputs.shape[1:])))
        return np.concatenate([content_hashes(piece.cpu()) for piece in self.inputs.split(at_once)])

    def take(self, count: int) -> Split:
        """Returns the first `count` examples (all of them if there are fewer), sharing their memory."""
        names = None if self.names is None else self.names[:count]
        return replace(self, inputs=self.inputs[:count], targets=self.targets[:count], names=names)

    def to(self, device: torch.device | str) -> Split:
        """Returns this part, raw, with its preparation, on a device."""
        return replace(
            self,
            inputs=self.inputs.to(device),
            targets=self.targets.to(device),
            preparation=self.preparation.on(device),
        )

    def raw(self, indices: Tensor | slice) -> Tensor:
        """Returns these examples as `preparation` takes them, (n, *shape)."""
        return self.inputs[indices]

    def prepared(self, indices: Tensor | slice, draws: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Returns (x, y) of these examples, ready for the network, in memory of their own.

        With `draws`, those of an epoch for all examples, the images are changed by the augmentation first.
        """
        if isinstance(indices, slice):
            inputs, targets = self.inputs[indices].clone(), self.targets[indices].clone()
        else:
            # Not self.inputs[indices]: for uint8 rows that takes 20 times as long (torch 2.13, CPU).
            indices = torch.as_tensor(indices).to(self.device)
            inputs, targets = self.inputs.index_select(0, indices), self.targets.index_select(0, indices)
        return self.finished(inputs, None if draws is None else draws[indices]), targets

    def batches(
        self, batch: int, order: Tensor | None = None, start: int = 0, draws: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields (x, y), prepared, on this part's device; the last batch may be smaller.

        `order` (int64 indices) defaults to the stored order; `start` batches are jumped over. A chunk of
        batches is gathered and prepared at a time and then cut: fewer calls a step. The cuts lie where
        they would lie from the epoch's beginning, and on addresses that are multiples of 64, because the
        bits of a matrix product in MKL depend on the alignment of its operands: a resumed epoch and one
        gathered batch by batch must see the same.
        """
        count = len(self) if order is None else len(order)
        if order is not None:
            order = order.to(self.device)
        step = batch * batches_in_chunk(batch, self.preparation)
        done = start * batch
        for begin in range(done - done % step, count if done < count else 0, step):
            chunk = slice(begin, min(begin + step, count))
            x, y = self.prepared(chunk if order is None else order[chunk], draws)
            if begin < done:  # a resumed epoch: the chunk that was being cut is made again, whole
                x, y = x[done - begin :], y[done - begin :]
            yield from zip(x.split(batch), y.split(batch), strict=True)


@dataclass(frozen=True, eq=False)
class DatasetSplit(Epochs):
    """The same interface over a map-style Dataset whose items are random or do not fit in memory.

    `dataset[i]` is the raw tensor of one example; `targets` as in Split.
    """

    dataset: Dataset[Tensor]
    targets: Tensor
    preparation: Preparation
    names: tuple[str, ...] | None = None
    augmentation: Changes | None = None
    mixing: Mixing | None = None
    balanced: bool = False
    workers: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def take(self, count: int) -> DatasetSplit:
        """Returns the first `count` examples (all of them if there are fewer)."""
        chosen = torch.utils.data.Subset(self.dataset, range(min(count, len(self))))
        names = None if self.names is None else self.names[:count]
        return replace(self, dataset=chosen, targets=self.targets[:count], names=names)

    def to(self, device: torch.device | str) -> DatasetSplit:
        """Returns this part with batches that come out on a device."""
        return replace(
            self,
            targets=self.targets.to(device),
            preparation=self.preparation.on(device),
            device=torch.device(device),
        )

    def raw(self, indices: Tensor | slice) -> Tensor:
        """Returns these examples as the dataset gives them now, (n, *shape) on the CPU."""
        if isinstance(indices, slice):
            indices = torch.arange(len(self))[indices]
        return torch.stack([self.dataset[int(index)] for index in indices.tolist()])

    def prepared(self, indices: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Returns (x, y) of these examples, read now and ready for the network."""
        if isinstance(indices, slice):
            indices = torch.arange(len(self))[indices]
        indices = torch.as_tensor(indices)
        inputs = self.raw(indices)
        return self.preparation.prepare_fresh(inputs.to(self.device)), self.targets[indices.to(self.device)]

    def batches(
        self, batch: int, order: Tensor | None = None, start: int = 0, draws: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields (x, y) as Split.batches does.

        With no worker processes the items' random draws come from the global generators at the moment
        a batch is read, so that a run which restores those generators resumes bit for bit; with workers
        the draws of a resumed epoch are others.
        """
        order = torch.arange(len(self)) if order is None else order.cpu()
        # Without a generator of its own a DataLoader draws a seed from the global one, and a resumed
        # epoch would draw once more than the uninterrupted one.
        generator = torch.Generator().manual_seed(zlib.crc32(order.numpy().tobytes()))
        rest = order[start * batch :]
        if not len(rest):
            return
        loader = DataLoader(
            self.dataset, batch, sampler=rest.tolist(), num_workers=self.workers, generator=generator
        )
        for inputs, rows in zip(loader, rest.split(batch), strict=True):
            rows = rows.to(self.device)
            x = self.finished(inputs.to(self.device), None if draws is None else draws[rows])
            yield x, self.targets[rows]
