"""Which example goes to which part: by class, by content, by seed.

`eject` prints these functions with inspect.getsource: they may name nothing but hashlib, numpy and torch.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def content_hashes(inputs: torch.Tensor) -> np.ndarray:
    """Returns (N,) uint64, one BLAKE2b hash of each example's raw bytes: equal examples have equal hashes.

    64 bits: among a million different examples two share a hash with probability 3e-8, and all that
    would follow is that the two stay in the same part.

    >>> hashes = content_hashes(torch.tensor([[1, 2], [3, 4], [1, 2]], dtype=torch.uint8))
    >>> bool(hashes[0] == hashes[2]), bool(hashes[0] == hashes[1])
    (True, False)
    """
    rows = inputs.reshape(len(inputs), -1).contiguous().numpy().view(np.uint8)
    digests = b"".join(hashlib.blake2b(row, digest_size=8).digest() for row in rows)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def last_of(times: np.ndarray, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns (kept, held_out): int64 indices, each ascending; held out are the last `size` by time (N,), with all of the same time.

    >>> kept, held_out = last_of(np.array([5, 1, 4, 4]), 2)
    >>> kept.tolist(), held_out.tolist()
    ([1], [0, 2, 3])
    """
    if not size:
        return torch.arange(len(times)), torch.arange(0)
    held_out = times >= np.sort(times)[-size]
    return torch.from_numpy(np.flatnonzero(~held_out)), torch.from_numpy(np.flatnonzero(held_out))


def fold_of(
    targets: np.ndarray | None, groups: np.ndarray, fold: tuple[int, int], seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns (kept, held_out) of fold `number` (from 1) of `count`: each example is held out in exactly one of them.

    scikit-learn cuts: stratified by `targets` (N,) class ids if there are any, and examples of one of `groups` (N,) stay together.
    """
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    number, count = fold
    several = len(np.unique(groups)) < len(groups)
    if targets is None and several:
        # Numbered anew in a drawn order: GroupKFold itself draws nothing.
        drawn = np.random.default_rng(seed).permutation(len(np.unique(groups)))
        groups = drawn[np.unique(groups, return_inverse=True)[1]]
        cuts = GroupKFold(count).split(groups, None, groups)
    elif targets is None:
        cuts = KFold(count, shuffle=True, random_state=seed).split(groups)
    elif several:
        cuts = StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(groups, targets, groups)
    else:
        cuts = StratifiedKFold(count, shuffle=True, random_state=seed).split(groups, targets)
    kept, held_out = list(cuts)[number - 1]
    return torch.from_numpy(np.sort(kept)), torch.from_numpy(np.sort(held_out))


def stratified_split(
    targets: np.ndarray | None, groups: np.ndarray, size: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns (kept, held_out): int64 indices, each ascending, together every example once.

    `targets` (N,) are class ids, or None for no stratification; `groups` (N,) name the examples that must
    stay together (equal content). Each class gives to `held_out`, which has `size` examples, its share by
    the largest remainders, and each class has at least one on either side where sizes allow it. A group is never divided,
    so with groups of several `held_out` can come out a little smaller or larger than `size`.

    >>> kept, held_out = stratified_split(np.array([0, 0, 0, 0, 1, 1]), np.arange(6), 2, seed=0)
    >>> len(kept), len(held_out), held_out[0] < 4 <= held_out[1]
    (4, 2, tensor(True))
    """
    count = len(groups)
    if not 0 <= size <= count:
        raise ValueError(f"expected a size from 0 to {count}, came {size}")
    rng = np.random.default_rng(seed)
    labels = np.zeros(count, np.int64) if targets is None else np.unique(targets, return_inverse=True)[1]
    _, first, group_of, group_size = np.unique(
        groups, return_index=True, return_inverse=True, return_counts=True
    )
    group_label = labels[first]  # a group whose members disagree goes with its first
    class_size = np.bincount(group_label, weights=group_size).astype(np.int64)

    # Largest remainders, in integers: floats would round differently on another machine.
    quota, remainder = np.divmod(class_size * size, count) if count else (class_size, class_size)
    quota[np.argsort(-remainder, kind="stable")[: size - quota.sum()]] += 1
    several = np.bincount(group_label) > 1
    if size >= len(quota):
        for poor in np.flatnonzero((quota == 0) & several):
            quota[poor] += 1
            quota[np.argmax(quota)] -= 1
    if count - size >= len(quota):
        for rich in np.flatnonzero((quota == class_size) & several):
            quota[rich] -= 1
            quota[np.argmax(class_size - quota)] += 1

    taken = np.zeros(len(first), bool)
    for label in range(len(quota)):
        candidates = rng.permutation(np.flatnonzero(group_label == label))
        left = int(quota[label])
        for group in candidates:
            if left == 0:
                break
            if group_size[group] <= left:
                taken[group] = True
                left -= int(group_size[group])
        if quota[label] > 0 and several[label] and not taken[candidates].any():
            taken[candidates[np.argmin(group_size[candidates])]] = True
    held_out = taken[group_of]
    return torch.from_numpy(np.flatnonzero(~held_out)), torch.from_numpy(np.flatnonzero(held_out))
