"""What a data set holds: counts, ranges, gaps, copies of one example, and labels that may be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from netwright.data.columns import GAP, in_order
from netwright.data.split import Split
from netwright.data.stream import StreamSplit
from netwright.data.table import TablePreparation
from netwright.metrics.labels import suspicious_labels

if TYPE_CHECKING:
    from netwright.data import Data

PARTS = ("train", "validation", "test")
# Bytes of raw examples beyond which copies are not looked for: 1 GB is hashed in about 2 s.
BYTES_AT_MOST = 2_000_000_000
COLUMNS_AT_MOST, PAIRS_AT_MOST, SUSPECTS_AT_MOST = 100, 5, 8
# With fewer examples of a class its threshold is mostly chance.
LABELLED_AT_LEAST = 50


def inventory(data: Data, *, learned: bool) -> dict[str, Any]:
    """Returns what result.json keeps of the data: {`parts`, `classes`, `range`, `gaps`, `copies`}, each None where it has no meaning.

    `learned`: validation and test are the training part. `parts` {name: examples}; `classes` a list of {`class`, and a count of each
    part}; `range` [lowest, highest] raw number in training; `gaps` a list of {`column`, `gaps`} of the training part; `copies`
    {`within`, `between`, `differing`, `pairs`}, or {`reason`} where nobody looked.
    """
    parts = {name: getattr(data, name) for name in PARTS}
    return {
        "parts": {name: len(part) for name, part in parts.items()},
        "classes": _classes(data, parts),
        "range": _range(data.train),
        "gaps": _gaps(data.train),
        "copies": {"reason": "validation and test are the training part"} if learned else _copies(parts),
    }


def _classes(data: Data, parts: dict[str, Any]) -> list[dict[str, Any]] | None:
    if data.classes is None:
        return None
    counts = {
        name: torch.bincount(part.targets.cpu().long().reshape(-1), minlength=len(data.classes)).tolist()
        for name, part in parts.items()
        if hasattr(part, "targets")
    }
    return [
        {"class": label, **{name: counted[place] for name, counted in counts.items()}}
        for place, label in enumerate(data.classes)
    ]


def _range(part: Any) -> list[float] | None:
    """Returns the lowest and the highest raw number; None for texts, tables and what lies on disk."""
    if type(part) is not Split or isinstance(part.preparation, TablePreparation) or not len(part):
        return None
    low, high = part.inputs.aminmax()
    return [float(low), float(high)]


def _gaps(part: Any) -> list[dict[str, Any]] | None:
    preparation = part.preparation
    if not isinstance(part, Split) or not isinstance(preparation, TablePreparation):
        return None
    found, at = [], 0
    for column in in_order(preparation.columns):
        values = part.inputs[:, at]
        missing = int((values == GAP).sum() if column.kind == "category" else values.isnan().sum())
        at += column.width
        if missing:
            found.append({"column": column.name, "gaps": missing})
    return found[:COLUMNS_AT_MOST]


def _copies(parts: dict[str, Any]) -> dict[str, Any]:
    """Returns how many examples have the content of an earlier one, in the same part and in an earlier part, and the first pairs."""
    reason = _why_not(parts)
    if reason:
        return {"reason": reason}
    hashes = np.concatenate([part.hashes for part in parts.values()])
    owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts.values()])
    labels = np.concatenate([_labels(part) for part in parts.values()])
    _, first, group = np.unique(hashes, return_index=True, return_inverse=True)
    original = first[group]
    copies = np.flatnonzero(original != np.arange(len(hashes)))
    same = owner[copies] == owner[original[copies]]
    # What leaks from training into the test comes first, then what is in one part twice; of those first what differs in its label.
    differing = np.array(labels[copies] != labels[original[copies]])
    order = np.lexsort((copies, ~differing, same))
    return {
        "within": int(same.sum()),
        "between": int((~same).sum()),
        "differing": int(differing.sum()),
        "pairs": [
            [_named(parts, int(place)) for place in (original[copy], copy)]
            for copy in copies[order][:PAIRS_AT_MOST]
        ],
    }


def _why_not(parts: dict[str, Any]) -> str:
    for part in parts.values():
        if isinstance(part, StreamSplit):
            return "the examples lie on disk and are not read once more for it"
        if not isinstance(part, Split):
            return "its examples are not held one by one"
    size = sum(part.inputs.numel() * part.inputs.element_size() for part in parts.values())
    return f"{size / 1e9:.1f} GB are not hashed" if size > BYTES_AT_MOST else ""


def _labels(part: Split) -> np.ndarray:
    """Returns (N,) float64 targets; of several numbers for an example their sum, which differs where they do."""
    return (
        part.targets.cpu().double().flatten(1).sum(1).numpy()
        if part.targets.dim() > 1
        else part.targets.cpu().double().numpy()
    )


def _named(parts: dict[str, Any], place: int) -> str:
    for name, part in parts.items():
        if place < len(part):
            return part.names[place] if part.names else f"{name} example {place}"
        place -= len(part)
    raise AssertionError(place)


def suspects(
    data: Data, answers: dict[str, tuple[Tensor, Tensor] | None]
) -> tuple[int, list[tuple[str, int, int, int, float]]] | None:
    """Returns how many labels may be wrong among the examples looked at, and the surest: (part, place, label, guess, margin).

    `answers`: {part: (probabilities (N, C), targets (N,))} of parts that were not trained on. None where there are no classes or too few examples.
    """
    known = {
        name: one
        for name, one in answers.items()
        if one is not None and len(one[0]) == len(getattr(data, name))
    }
    if data.classes is None or sum(len(one[1]) for one in known.values()) < LABELLED_AT_LEAST:
        return None
    shares = torch.cat([one[0] for one in known.values()]).double().numpy()
    labels = torch.cat([one[1] for one in known.values()]).numpy()
    if not np.isfinite(shares).all():
        return None
    found = suspicious_labels(shares, labels)
    homes = [(name, place) for name, one in known.items() for place in range(len(one[1]))]
    chosen = [
        (*homes[row], int(labels[row]), int(guess), float(margin))
        for row, guess, margin in zip(
            found.rows[:SUSPECTS_AT_MOST], found.guesses, found.margins, strict=False
        )
    ]
    return len(found.rows), chosen
