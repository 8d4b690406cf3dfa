"""A part of a data set: whole tensors in memory, indexed by a permutation, prepared batch by batch."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from netwright.data.augmentation import Augmentation, augmentation_draws, augmented
from netwright.data.order import epoch_order, share_of_epoch
from netwright.data.preparation import Preparation

# Bytes of float32 that are gathered and prepared at once. MNIST, batch 64, microseconds a batch on one Xeon
# core, torch 2.13: 93 batch by batch, 61 with chunks of 0.5 MB, 44 with 1 MB, 39 with 2 MB, 43 with 4 MB.
CHUNK_BYTES = 1 << 21


@dataclass(frozen=True, eq=False)
class Split:
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
    augmentation: Augmentation | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def device(self) -> torch.device:
        return self.inputs.device

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
        if draws is not None and self.augmentation:
            inputs = changed(inputs, draws[indices], self.augmentation, self.preparation)
        return self.preparation.prepare_fresh(inputs), targets

    def epoch(
        self, batch: int, *, seed: int, epoch: int, start: int = 0, share: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields the batches of one epoch of training, from batch `start` on: a pure function of its arguments.

        `share` (rank, world): only this process's part of each batch, as `share_of_epoch` has it.
        """
        order = epoch_order(len(self), seed=seed, epoch=epoch)
        if share[1] > 1:
            order, batch = share_of_epoch(order, batch, share)
        draws = None
        if self.augmentation:
            draws = augmentation_draws(len(self), seed=seed, epoch=epoch).to(self.device)
        return self.batches(batch, order, start, draws)

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
        step = batch * self._batches_in_chunk(batch)
        done = start * batch
        for begin in range(done - done % step, count if done < count else 0, step):
            x, y = self._gather(order, slice(begin, min(begin + step, count)), draws)
            if begin < done:  # a resumed epoch: the chunk that was being cut is made again, whole
                x, y = x[done - begin :], y[done - begin :]
            yield from zip(x.split(batch), y.split(batch), strict=True)

    def _batches_in_chunk(self, batch: int) -> int:
        row_bytes = 4 * (self.inputs[0].numel() if len(self) else 1)
        if (batch * row_bytes) % 64:
            return 1
        return max(1, CHUNK_BYTES // (batch * row_bytes))

    def _gather(self, order: Tensor | None, chunk: slice, draws: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.prepared(chunk if order is None else order[chunk], draws)


@dataclass(frozen=True, eq=False)
class DatasetSplit:
    """The same interface over a map-style Dataset whose items are random or do not fit in memory.

    `dataset[i]` is the raw tensor of one example; `targets` as in Split.
    """

    dataset: Dataset[Tensor]
    targets: Tensor
    preparation: Preparation
    names: tuple[str, ...] | None = None
    augmentation: Augmentation | None = None
    workers: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __len__(self) -> int:
        return len(self.targets)

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

    def prepared(self, indices: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Returns (x, y) of these examples, read now and ready for the network."""
        if isinstance(indices, slice):
            indices = torch.arange(len(self))[indices]
        indices = torch.as_tensor(indices)
        inputs = torch.stack([self.dataset[int(index)] for index in indices.tolist()])
        return self.preparation.prepare_fresh(inputs.to(self.device)), self.targets[indices.to(self.device)]

    def epoch(
        self, batch: int, *, seed: int, epoch: int, start: int = 0, share: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields the batches of one epoch of training, from batch `start` on; `share` as Split.epoch has it."""
        order = epoch_order(len(self), seed=seed, epoch=epoch)
        if share[1] > 1:
            order, batch = share_of_epoch(order, batch, share)
        draws = None
        if self.augmentation:
            draws = augmentation_draws(len(self), seed=seed, epoch=epoch).to(self.device)
        return self.batches(batch, order, start, draws)

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
        indices = rest.split(batch)
        for inputs, rows in zip(loader, indices, strict=True):
            inputs = inputs.to(self.device)
            if draws is not None and self.augmentation:
                inputs = changed(inputs, draws[rows.to(self.device)], self.augmentation, self.preparation)
            yield self.preparation.prepare_fresh(inputs), self.targets[rows.to(self.device)]


def changed(raw: Tensor, draws: Tensor, augmentation: Augmentation, preparation: Preparation) -> Tensor:
    """Returns raw images (N, C, H, W) after the augmentation; holes get the mean colour of the training part."""
    settings = augmentation.settings()
    if augmentation.cutout:
        settings["fill"] = preparation.mean * preparation.scale
    return augmented(raw, draws, **settings)
