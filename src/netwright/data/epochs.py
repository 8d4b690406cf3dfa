"""What all parts of a data set have in common: epochs of batches that are pure functions of seed and epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from netwright.data.augmentation import Changes, augmentation_draws
from netwright.data.mixing import Mixing
from netwright.data.order import balanced_order, epoch_order, share_of_epoch
from netwright.data.preparation import Preparation

# Bytes of float32 that are gathered and prepared at once. MNIST, batch 64, microseconds a batch on one Xeon
# core, torch 2.13: 93 batch by batch, 61 with chunks of 0.5 MB, 44 with 1 MB, 39 with 2 MB, 43 with 4 MB.
CHUNK_BYTES = 1 << 21
# Numbers of prepared examples that an evaluation holds at once: 4 MB, and of a network's first map many times as much. A step of
# few examples wastes a GPU, so that large ones go through by 32, of 32 MB in all at most.
EVALUATION_NUMBERS, LARGE_NUMBERS, LARGE_AT_ONCE = 1 << 20, 1 << 23, 32


class Epochs:
    """A part with `targets` (N, ...), a `preparation`, perhaps an `augmentation`, and `batches` in any order."""

    targets: Tensor
    preparation: Preparation
    augmentation: Changes | None
    mixing: Mixing | None
    balanced: bool
    device: torch.device

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def evaluation_batch(self) -> int:
        """How many examples are evaluated at once."""
        return at_once(self.preparation.prepared_shape, most=1000)

    def order(self, *, seed: int, epoch: int) -> Tensor:
        """Returns the (N,) int64 order of one epoch, a pure function of its arguments.

        A permutation, or, if the split is `balanced`, each class equally often.
        """
        if self.balanced:
            return balanced_order(self.targets, seed=seed, epoch=epoch)
        return epoch_order(len(self), seed=seed, epoch=epoch)

    def arranged(self, batch: int, *, seed: int, epoch: int) -> Tensor:
        """Returns the order of one epoch as it is cut into batches of `batch`."""
        return self.order(seed=seed, epoch=epoch)

    def epoch(
        self, batch: int, *, seed: int, epoch: int, start: int = 0, share: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields the batches of one epoch of training, from batch `start` on: a pure function of its arguments.

        `share` (rank, world): only this process's part of each batch, as `share_of_epoch` has it. With `mixing` the
        examples of a batch, or of this part of it, are mixed. Raises DataError
        where a file has changed since the set was loaded.
        """
        order = self.arranged(batch, seed=seed, epoch=epoch)
        if share[1] > 1:
            order, batch = share_of_epoch(order, batch, share)
        batches = self.batches(batch, order, start, self.draws(seed=seed, epoch=epoch))
        if not self.mixing:
            return batches
        mixing = self.mixing
        return (mixing(x, y, (seed, epoch, number)) for number, (x, y) in enumerate(batches, start))

    def draws(self, *, seed: int, epoch: int) -> Tensor | None:
        """Returns the numbers (N, columns) that decide how an epoch changes its examples; None where it does not."""
        if not self.augmentation:
            return None
        columns = self.augmentation.columns
        return augmentation_draws(len(self), seed=seed, epoch=epoch, columns=columns).to(self.device)

    def batches(
        self, batch: int, order: Tensor | None = None, start: int = 0, draws: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields (x, y), prepared; with `draws` (N, columns), those of an epoch for all examples, changed."""
        raise NotImplementedError

    def finished(self, raw: Tensor, draws: Tensor | None) -> Tensor:
        """Returns raw examples that nobody else holds as the network takes them; with their `draws`, changed."""
        if draws is not None and self.augmentation:
            return self.augmentation.prepared(raw, draws, self.preparation)
        return self.preparation.prepare_fresh(raw)


def batches_in_chunk(batch: int, preparation: Preparation) -> int:
    """Returns how many batches are gathered and prepared at once, so that each begins at a multiple of 64 bytes.

    One, where an example's bits could depend on how many are prepared with it: a Fourier transform, a matrix product.
    """
    row_bytes = 4 * math.prod(preparation.prepared_shape)
    if not preparation.elementwise or (batch * row_bytes) % 64:
        return 1
    return max(1, CHUNK_BYTES // (batch * row_bytes))


def at_once(shape: Sequence[int], *, most: int) -> int:
    """Returns how many prepared examples of this shape go through a network at once outside training, at most `most`.

    >>> at_once((1, 28, 28), most=1000), at_once((1, 64, 1001), most=1000)
    (1000, 32)
    """
    size = max(1, math.prod(shape))
    return max(1, min(most, max(EVALUATION_NUMBERS // size, min(LARGE_AT_ONCE, LARGE_NUMBERS // size))))
