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


# `eject` prints this function too.
def balanced_order(targets: torch.Tensor, *, seed: int, epoch: int) -> torch.Tensor:
    """Returns the (N,) int64 order of an epoch that visits each class of `targets` (N,) equally often, as far as N divides.

    An example comes a second time only after all others of its class have come, in another order; of a class with more examples than its
    share those that do not come change from epoch to epoch. A pure function of its arguments.

    >>> order = balanced_order(torch.tensor([0, 0, 0, 0, 0, 1]), seed=0, epoch=1)
    >>> order.eq(5).sum().item(), len(order)
    (3, 6)
    """
    generator = torch.Generator()
    generator.manual_seed((seed * 1_000_003 + epoch * 7_919 + 12_345) & 0x7FFF_FFFF_FFFF_FFFF)
    targets = targets.cpu()
    classes = targets.unique()
    chosen = []
    for place in range(len(classes)):
        members = torch.nonzero(targets == classes[place]).flatten()
        wanted = len(targets) // len(classes) + (place < len(targets) % len(classes))
        rounds = [
            members[torch.randperm(len(members), generator=generator)]
            for _ in range(-(-wanted // len(members)))
        ]
        chosen.append(torch.cat(rounds)[:wanted])
    order = torch.cat(chosen)
    return order[torch.randperm(len(order), generator=generator)]


# `eject` prints this function with inspect.getsource: it may name nothing but torch and epoch_order.
def order_by_length(
    order: torch.Tensor, lengths: torch.Tensor, batch: int, *, seed: int, epoch: int
) -> torch.Tensor:
    """Returns the same (N,) int64 order of an epoch, so that its batches hold examples of like length: a pure function.

    `lengths` (N,) of the examples that `order` names. The order is sorted by length within pools of 50 batches; then the batches
    change places. What is left for a smaller last batch stays where it was, at the end.

    >>> order = order_by_length(torch.arange(5), torch.tensor([1, 9, 2, 8, 1]), 2, seed=0, epoch=0)
    >>> sorted(sorted(batch.tolist()) for batch in order.split(2)), len(order)
    ([[0, 2], [1, 3], [4]], 5)
    """
    full = len(order) // batch * batch
    pools = order[:full].split(50 * batch)
    like = [pool[lengths[pool].argsort(stable=True)] for pool in pools]
    batches = torch.cat([*like, order[:0]]).view(-1, batch)
    # Another seed than that of the permutation, so that the two have nothing to do with each other.
    places = epoch_order(len(batches), seed=seed + 500_009, epoch=epoch)
    return torch.cat([batches[places].view(-1), order[full:]])


def share_of(count: int, share: tuple[int, int]) -> slice:
    """Returns the rows of `count` that are process `rank`'s of `world`, for a share (rank, world).

    Parts are contiguous, in the order of the ranks, and of equal size, but that the first `count % world` have
    one row more (the rule of `torch.tensor_split`). Fewer rows never mean a larger part.

    >>> [share_of(7, (rank, 3)) for rank in range(3)]
    [slice(0, 3, None), slice(3, 5, None), slice(5, 7, None)]
    """
    rank, world = share
    each, more = divmod(count, world)
    begin = rank * each + min(rank, more)
    return slice(begin, begin + each + (rank < more))


def share_of_epoch(order: torch.Tensor, batch: int, share: tuple[int, int]) -> tuple[torch.Tensor, int]:
    """Returns one process's part of each batch of an epoch, as an order of its own, and how many rows a batch of it has.

    `order` (N,) int64 is that of the whole epoch in batches of `batch`, at least as many as there are processes.
    Together the processes see each example once. Where the last batch leaves nothing for this process, its first
    row stands in, to be weighted 0: every process must take part in every step.

    >>> order, batch = share_of_epoch(torch.arange(7), 3, (1, 2))
    >>> [rows.tolist() for rows in order.split(batch)]
    [[2], [5], [6]]
    """
    own = share_of(batch, share)
    full = len(order) // batch * batch
    last = order[full:]
    rest = last[share_of(len(last), share)]
    if len(last) and not len(rest):
        rest = last[:1]
    return torch.cat([order[:full].view(-1, batch)[:, own].reshape(-1), rest]), own.stop - own.start
