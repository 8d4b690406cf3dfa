"""How each layer fared over the epochs: a small table of shades for each measure, and what stands out in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from netwright.report import figures
from netwright.report.letters import cut

LAYERS_AT_MOST, EPOCHS_AT_MOST = 16, 20
# A gradient so much smaller than another's learns next to nothing; half of a layer's units dead is no accident.
TIMES_SMALLER, DEAD_SHARE = 1000.0, 0.5
# What is measured, what it is called, and whether it is a share of 1 (else its shades are those of its logarithm).
MEASURES = (
    ("gradient", "Gradient (norm, last step of the epoch)", False),
    ("weights", "Weights (norm)", False),
    ("change", "Change of the weights since the epoch before", False),
    ("dead", "Dead units", True),
    ("saturated", "Saturated outputs", True),
)


def layer_tables(history: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Returns what the page shows of the epoch records' `layers`; None where there are none."""
    kept = [record for record in history if record.get("layers")]
    if not kept:
        return None
    names = list(kept[-1]["layers"])
    columns = [kept[place] for place in _spaced(len(kept), EPOCHS_AT_MOST)]
    tables = [_table(names, columns, *measure) for measure in MEASURES]
    return {
        "words": told(kept[-1]["layers"]),
        "epochs": [record["epoch"] for record in columns],
        "tables": [table for table in tables if table is not None],
    }


def told(layers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns sentences on what stands out in the last epoch.

    >>> told({"0": {"gradient": 1e-6}, "2": {"gradient": 0.5}, "1": {"dead": 0.75}})[0]
    'The gradient of layer 0 (1.0e-6) is more than 1,000 times smaller than that of layer 2 (0.5000): it hardly learns.'
    """
    said = []
    gradients = {name: one["gradient"] for name, one in layers.items() if one.get("gradient") is not None}
    if gradients:
        least, most = min(gradients, key=gradients.__getitem__), max(gradients, key=gradients.__getitem__)
        if gradients[least] * TIMES_SMALLER < gradients[most]:
            said.append(
                f"The gradient of layer {cut(least, 'name')} ({figures.loss(gradients[least])}) is more than "
                f"{TIMES_SMALLER:,.0f} times smaller than that of layer {cut(most, 'name')} "
                f"({figures.loss(gradients[most])}): it hardly learns."
            )
    for name, one in layers.items():
        if one.get("dead") is not None and one["dead"] >= DEAD_SHARE:
            said.append(
                f"{figures.percent(one['dead'])} of the units behind layer {cut(name, 'name')} are dead: they give the same "
                "for every example."
            )
    return said[:5] or [
        f"No layer's gradient is {TIMES_SMALLER:,.0f} times smaller than another's, and behind no activation half of the units are dead."
    ]


def _spaced(count: int, most: int) -> list[int]:
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, most))})


def _table(
    names: Sequence[str], columns: Sequence[Mapping[str, Any]], key: str, title: str, share: bool
) -> dict[str, Any] | None:
    own = [name for name in names if any(_value(record, name, key) is not None for record in columns)]
    if not own:
        return None
    shown = [own[place] for place in _spaced(len(own), LAYERS_AT_MOST)]
    values = [[_value(record, name, key) for record in columns] for name in shown]
    level = _levels([value for row in values for value in row if value is not None], share=share)
    show = figures.percent if share else figures.loss
    return {
        "title": title,
        "rows": [
            {
                "name": cut(name, "name"),
                "cells": [
                    {"shade": "none" if value is None else f"h{level(value)}", "text": show(value)}
                    for value in row
                ],
                "last": show(row[-1]),
            }
            for name, row in zip(shown, values, strict=True)
        ],
        "note": f"{len(shown)} of {len(own)} layers." if len(shown) < len(own) else "",
    }


def _value(record: Mapping[str, Any], name: str, key: str) -> float | None:
    return (record["layers"].get(name) or {}).get(key)


def _levels(values: Sequence[float], *, share: bool) -> Any:
    """Returns what gives a value its shade from 0 to 10: shares as they are, others by their logarithm within what occurs."""
    if share:
        return lambda value: math.ceil(10 * min(value, 1.0))
    positive = [math.log(value) for value in values if value > 0]
    low, high = (min(positive), max(positive)) if positive else (0.0, 0.0)

    def level(value: float) -> int:
        if value <= 0:
            return 0
        return 5 if high - low < 1e-9 else 1 + round(9 * (math.log(value) - low) / (high - low))

    return level
