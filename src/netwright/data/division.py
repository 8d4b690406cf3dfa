"""Parts held out for validation and test, and trials on few examples: every step is noted and can be repeated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from netwright.data.partition import fold_of, last_of, stratified_split
from netwright.data.source import Source
from netwright.errors import DataError


def fold_among(found: Source, fold: Sequence[int] | None) -> tuple[int, int] | None:
    if fold is None:
        return None
    whole = isinstance(fold, (list, tuple)) and all(
        isinstance(n, int) and not isinstance(n, bool) for n in fold
    )
    if not whole or len(fold) != 2 or not 1 <= fold[0] <= fold[1] or fold[1] < 2:
        raise DataError(
            f"data.fold: expected [number, count] with 1 <= number <= count and count from 2 on, came {fold!r}"
        )
    train = found.parts["train"]
    if getattr(train, "times", None) is not None:
        raise DataError(
            "data.fold goes with a drawn split, not with one by data.time: folds would be tested on their past"
        )
    if len(train) < fold[1]:
        raise DataError(f"{found.name}: an impossible split: {fold[1]} folds of {len(train):,} examples")
    return fold[0], fold[1]


def divide(
    found: Source, *, validation: Any, test_share: float, seed: int, fold: tuple[int, int] | None = None
) -> list[dict[str, Any]]:
    """Gives the source the parts that it lacks, cut from its training part; returns the cuts."""
    pool = found.parts["train"]
    if fold is not None:
        if found.parts.pop("test", None) is not None:
            found.notes.append("the set's own test part is left alone: folds are cut from its training part")
        test_share = 1 / fold[1]
    wanted = {}
    for part, share in (("test", test_share), ("validation", validation)):
        if part in found.parts:
            found.notes.append(f"{part}: the set's own {len(found.parts[part]):,} examples")
        else:
            wanted[part] = count_of(share, len(pool), option="test_share" if part == "test" else part)
    if sum(wanted.values()) >= len(pool):
        cuts = " and ".join(f"{count:,} for {part}" for part, count in wanted.items())
        raise DataError(
            f"{found.name}: an impossible split: {cuts} of {len(pool):,} examples leave none to train.\n"
            "Ask for smaller shares."
        )
    hashes = pool.hashes()
    groups = np.arange(len(pool)) if hashes is None else np.unique(hashes, return_inverse=True)[1]
    if found.grouped_by is None:
        _note_copies(found, groups, hashes)
    else:
        found.notes.append(
            f"rows of one {found.grouped_by} stay in one part: {len(np.unique(groups)):,} groups"
        )
    steps = []
    for part, count in wanted.items():
        if count:
            cut = fold if part == "test" else None
            groups = _hold_out(found, part, count, groups, seed, cut)
            steps.append(
                {"from": "train", "into": part, "size": count} | ({"fold": list(cut)} if cut else {})
            )
    return steps


def count_of(share: Any, total: int, *, option: str) -> int:
    """Returns how many examples a share (a float below 1) or a count (an int) asks for."""
    whole = isinstance(share, (int, np.integer)) and not isinstance(share, bool)
    if whole and share >= 0:
        return int(share)
    if whole or not isinstance(share, (float, np.floating)) or not 0 <= share < 1:
        raise DataError(
            f"{option}: an impossible split: expected a share from 0 up to, not including, 1, or a whole number "
            f"of examples; came {share!r}"
        )
    return max(1, round(float(share) * total)) if share else 0


def _hold_out(
    found: Source, part: str, count: int, groups: np.ndarray, seed: int, fold: tuple[int, int] | None
) -> np.ndarray:
    pool = found.parts["train"]
    ids = None if found.classes is None else pool.targets.numpy()
    if ids is not None and part == "test" and getattr(pool, "times", None) is None:
        _check_members(found, ids, groups)
    times = getattr(pool, "times", None)
    how = "" if ids is None else ", stratified by class"
    if times is not None:
        kept, held_out = last_of(times, count)
        how = ", those that come last"
    elif fold is not None:
        kept, held_out = fold_of(ids, groups, fold, seed)
        how = f", fold {fold[0]} of {fold[1]}{how}, seed {seed}"
    else:
        kept, held_out = stratified_split(ids, groups, count, seed)
        how += f", seed {seed}"
    if not len(kept) or (not len(held_out) and (times is not None or fold is not None)):
        raise DataError(
            f"{found.name}: an impossible split: {part} would take {len(held_out):,} of {len(pool):,} examples"
        )
    found.rows.setdefault("train", np.arange(len(pool)))
    found.rows[part] = found.rows["train"][held_out.numpy()]
    found.rows["train"] = found.rows["train"][kept.numpy()]
    found.parts["train"], found.parts[part] = pool.divide(kept, held_out)
    found.notes.append(f"{part}: {len(held_out):,} of {len(pool):,} examples held out{how}")
    return groups[kept.numpy()]


def _check_members(found: Source, ids: np.ndarray, groups: np.ndarray) -> None:
    assert found.classes is not None
    different = np.unique(np.stack([ids, groups]), axis=1)[0]
    members = np.bincount(different, minlength=len(found.classes))
    few = np.flatnonzero(members == 1)
    if len(few):
        shown = ", ".join(found.classes[index] for index in few[:5]) + (", …" if len(few) > 5 else "")
        advice = " If the labels are quantities, give them as floats." if len(few) > 20 else ""
        raise DataError(
            f"{found.name}: an impossible split: expected at least 2 different examples of each class, one to train "
            f"and one to test.\n{len(few)} of {len(found.classes)} classes have fewer: {shown}.\n"
            f"Add examples or leave these classes out, or give a test part of your own.{advice}"
        )


def _note_copies(found: Source, groups: np.ndarray, hashes: np.ndarray | None) -> None:
    if hashes is None:
        return
    distinct = int(groups.max()) + 1 if len(groups) else 0
    if distinct < len(groups):
        found.notes.append(
            f"{len(groups) - distinct:,} of {len(groups):,} training examples are copies of others; "
            "copies are kept in the same part"
        )
        _note_contradictions(found, groups)
    for part in ("validation", "test"):
        other = found.parts[part].hashes() if part in found.parts else None
        if other is not None and (crossing := int(np.isin(other, hashes).sum())):
            found.notes.append(
                f"{crossing:,} of the {len(other):,} examples of the set's own {part} part are copies of "
                "training examples and were left in place"
            )


def _note_contradictions(found: Source, groups: np.ndarray) -> None:
    if found.classes is None:
        return
    ids = found.parts["train"].targets.numpy()
    pairs = np.unique(np.stack([groups, ids]), axis=1)[0]
    several = int((np.bincount(pairs) > 1).sum())
    if several:
        found.notes.append(f"{several:,} training examples occur with different labels")


def note_absent(found: Source, part: str) -> None:
    if found.classes is None:
        return
    counts = torch.bincount(found.parts[part].targets, minlength=len(found.classes))
    absent = [name for name, count in zip(found.classes, counts.tolist(), strict=True) if not count]
    if absent:
        shown = ", ".join(absent[:5]) + (", …" if len(absent) > 5 else "")
        found.notes.append(f"{part} has no example of {len(absent)} of {len(found.classes)} classes: {shown}")


def shorten(found: Source, *, limit: int | None, overfit: int | None, seed: int) -> list[dict[str, Any]]:
    """Keeps `limit` examples of each part, or the same `overfit` training examples for all; returns the steps."""
    steps: list[dict[str, Any]] = []
    for option, count in (("limit", limit), ("overfit", overfit)):
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
            raise DataError(f"{option}: expected a whole number of examples, at least 1, came {count!r}")
    for part in list(found.parts):
        if limit is not None and limit < len(found.parts[part]):
            _keep(found, part, limit, seed, "limit")
            steps.append({"limit": part, "size": limit})
    if overfit is not None:
        if overfit < len(found.parts["train"]):
            _keep(found, "train", overfit, seed, "overfit")
            steps.append({"limit": "train", "size": overfit})
        few = found.parts["train"]
        found.parts = {"train": few, "validation": few, "test": few}
        steps.append({"overfit": len(few)})
        found.notes.append(
            f"overfit: the same {len(few):,} examples train, validate and test; scores say nothing else"
        )
    return steps


def _keep(found: Source, part: str, count: int, seed: int, option: str) -> None:
    whole = found.parts[part]
    ids = None if found.classes is None else whole.targets.numpy()
    _, chosen = stratified_split(ids, np.arange(len(whole)), count, seed)
    found.parts[part] = whole.select(chosen)
    if part in found.rows:
        found.rows[part] = found.rows[part][chosen.numpy()]
    found.notes.append(f"{option}: {count:,} of {len(whole):,} examples of {part} are used, seed {seed}")
