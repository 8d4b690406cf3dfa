"""Targets of any kind to class ids or numbers, by stated rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netwright.errors import DataError


def read_targets(targets: Any, *, where: str) -> np.ndarray:
    """Returns (N,) integers, booleans or strings (classes), or (N,) or (N, D) float32 (regression).

    Raises DataError for other dimensions, NaN or infinite numbers, and objects that are not strings.
    """
    values = as_array(targets, where=where)
    if values.dtype.kind == "O" and all(isinstance(value, str) for value in values.flat):
        values = values.astype(str)
    if values.dtype.kind not in "buifU":
        kind = type(values.flat[0]).__name__ if values.dtype.kind == "O" and values.size else values.dtype
        raise DataError(
            f"{where}: expected targets as integers, strings (classes) or floats (numbers), came {kind}"
        )
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.dtype.kind == "f":
        if values.ndim not in (1, 2) or (values.ndim == 2 and not values.shape[1]):
            raise DataError(f"{where}: expected targets of shape (N,) or (N, D), came {values.shape}")
        check_finite(values, where=where)
        return values.astype(np.float32, copy=False)
    if values.ndim != 1:
        one_hot = values.ndim == 2 and values.dtype.kind in "bui" and bool((values.sum(1) == 1).all())
        advice = "One-hot rows become labels with .argmax(1)." if one_hot else "Float targets may be (N, D)."
        raise DataError(f"{where}: expected one label an example, shape (N,), came {values.shape}. {advice}")
    return values


def encode(
    parts: dict[str, np.ndarray], classes: Sequence[str] | None, *, name: str
) -> tuple[dict[str, Tensor], tuple[str, ...] | None, list[str]]:
    """Returns (targets of each part, classes or None for regression, notes).

    Classes are the sorted distinct labels of all parts; where `classes` are given, integer labels index
    them and strings are among them. Raises DataError.
    """
    kinds = {part: "numbers" if values.dtype.kind == "f" else "classes" for part, values in parts.items()}
    if len(set(kinds.values())) > 1:
        raise DataError(f"{name}: expected targets of one kind in every part, came {_listed(kinds)}")
    if "numbers" in kinds.values():
        return _numbers(parts, classes, name=name)
    if classes is not None:
        names = tuple(str(entry) for entry in classes)
        encoded = {part: _index(values, names, where=f"{name}, {part}") for part, values in parts.items()}
        notes = []
    else:
        distinct = np.unique(np.concatenate([np.unique(values) for values in parts.values()]))
        names = tuple(str(entry) for entry in distinct.tolist())
        encoded = {
            part: torch.from_numpy(np.searchsorted(distinct, values).astype(np.int64))
            for part, values in parts.items()
        }
        notes = _gaps(distinct)
    if len(names) < 2:
        raise DataError(f"{name}: expected at least two classes, came {len(names)}: {', '.join(names)}")
    return encoded, names, notes


def _numbers(
    parts: dict[str, np.ndarray], classes: Sequence[str] | None, *, name: str
) -> tuple[dict[str, Tensor], None, list[str]]:
    if classes is not None:
        raise DataError(f"{name}: classes= goes with integer or string labels, came floats")
    widths = {part: values.shape[1:] for part, values in parts.items()}
    if len(set(widths.values())) > 1:
        raise DataError(f"{name}: expected as many targets in every part, came shapes {_listed(widths)}")
    notes = []
    train = parts["train"]
    if train.ndim == 1 and len(distinct := np.unique(train)) <= 20 and (distinct == np.rint(distinct)).all():
        notes.append(
            f"the float targets take {len(distinct)} whole values and are predicted as numbers; "
            "give them as integers to predict classes"
        )
    return (
        {part: torch.from_numpy(np.ascontiguousarray(values)) for part, values in parts.items()},
        None,
        notes,
    )


def _index(values: np.ndarray, names: tuple[str, ...], *, where: str) -> Tensor:
    if values.dtype.kind == "U":
        known = {entry: index for index, entry in enumerate(names)}
        for index, value in enumerate(values.tolist()):
            if value not in known:
                raise DataError(
                    f"{where}: expected labels among {', '.join(names[:10])}; came {value!r} at {index}"
                )
        return torch.tensor([known[value] for value in values.tolist()], dtype=torch.int64)
    ids = values.astype(np.int64)
    wrong = np.flatnonzero((ids < 0) | (ids >= len(names)))
    if len(wrong):
        raise DataError(
            f"{where}: expected labels from 0 to {len(names) - 1} ({len(names)} classes), "
            f"came {ids[wrong[0]]} at index {wrong[0]}{f' and {len(wrong) - 1} more' if len(wrong) > 1 else ''}"
        )
    return torch.from_numpy(ids)


def _gaps(distinct: np.ndarray) -> list[str]:
    if distinct.dtype.kind not in "ui" or (distinct == np.arange(len(distinct))).all():
        return []
    return [
        f"the labels are not 0 to {len(distinct) - 1}: the {len(distinct)} distinct ones, "
        f"{distinct[0]} to {distinct[-1]}, became classes in ascending order"
    ]


def as_array(values: Any, *, where: str) -> np.ndarray:
    """Returns the NumPy array behind a tensor, array, list or data frame, sharing its memory if it can."""
    if isinstance(values, Tensor):
        if values.layout != torch.strided or values.is_complex() or values.is_quantized:
            raise DataError(
                f"{where}: expected a dense tensor of real numbers, came {values.layout}, {values.dtype}"
            )
        values = values.detach().cpu()
        values = values.float() if values.dtype in (torch.bfloat16,) else values
        return values.numpy()
    try:
        array = np.asarray(values)
    except ValueError:  # NumPy's answer to rows of different lengths
        raise DataError(f"{where}: expected rows of equal length, came rows of different lengths") from None
    return array


def check_finite(values: np.ndarray, *, where: str) -> None:
    """Raises DataError with the count and the first place of NaN or infinite numbers."""
    bad, first = 0, None
    rows = max(1, 2**22 // max(1, values[:1].size))
    for begin in range(0, len(values), rows):
        wrong = ~np.isfinite(values[begin : begin + rows])
        if wrong.any():
            bad += int(wrong.sum())
            if first is None:
                at = np.argwhere(wrong)[0]
                first = (begin + int(at[0]), *(int(place) for place in at[1:]))
    if first is not None:
        shown = first[0] if len(first) == 1 else list(first)
        raise DataError(
            f"{where}: expected finite numbers, came {bad:,} NaN or infinite; the first is {values[first]} "
            f"at index {shown}.\nFill or drop these examples before loading."
        )


def _listed(entries: dict[str, Any]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in entries.items())
