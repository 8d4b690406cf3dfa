"""The order in which an epoch visits its examples."""

from __future__ import annotations

import torch


# `eject` prints this function with inspect.getsource: it may name nothing but torch.
def epoch_order(count: int, *, seed: int, epoch: int) -> torch.Tensor:
    """Returns the (count,) int64 permutation of one epoch, a pure function of its arguments.

    The generator is its own: the global ones are neither read nor moved, so an order can be had again
    at any moment, in any process.

    >>> epoch_order(5, seed=0, epoch=1).tolist() == epoch_order(5, seed=0, epoch=1).tolist()
    True
    """
    generator = torch.Generator()
    # Two odd multipliers keep (seed, epoch) and (seed + 1, epoch - 1) apart; the mask is what a seed may be.
    generator.manual_seed((seed * 1_000_003 + epoch * 7_919 + 12_345) & 0x7FFF_FFFF_FFFF_FFFF)
    return torch.randperm(count, generator=generator)
