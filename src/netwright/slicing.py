"""Which parts of a test set a person would ask about, for each kind of data, and how well each was judged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from netwright.data.columns import FIRST, GAP, UNKNOWN, Column, in_order
from netwright.data.sound import SoundPreparation
from netwright.data.table import TablePreparation
from netwright.data.text import TextPreparation
from netwright.data.text_parts import TextSplit
from netwright.metrics.classification import decide
from netwright.metrics.slices import Slice, quarters, slice_accuracies, slice_errors

if TYPE_CHECKING:
    from netwright.data import Data
    from netwright.run import Decision

# What keeps result.json and the time small whatever the data: test examples that are cut into slices, columns of a table, slices kept.
EXAMPLES_AT_MOST, COLUMNS_AT_MOST, SLICES_AT_MOST = 20_000, 40, 200
# More categories are too many to ask about one by one.
CATEGORIES_AT_MOST = 20
# Raw numbers that are looked at together.
NUMBERS_AT_ONCE = 1 << 19


def sliced(
    data: Data, answers: Tensor | None, targets: Tensor | None, *, decision: Decision | None = None
) -> dict[str, Any] | None:
    """Returns what result.json keeps of the test part's slices: {`examples`, `rows`, `left_out`}; None for data that has none.

    `answers` (N, C) probabilities, or (N,) or (N, D) values; `targets` (N, ...); on the CPU. `rows` as in `netwright.metrics.slices`,
    `left_out` what was not looked at, in a sentence, or "".
    """
    if answers is None or targets is None or len(answers) != len(data.test):
        return None
    places = torch.linspace(0, len(targets) - 1, min(len(targets), EXAMPLES_AT_MOST)).long().unique()
    found, left_out = slices_of(data.test, places)
    if not found:
        return None
    if len(places) < len(targets):
        left_out.append(
            f"{len(places):,} of {len(targets):,} test examples, evenly spaced, were cut into slices"
        )
    answers, targets = answers[places].double(), targets[places]
    if data.classes is None:
        errors = (answers.reshape(len(places), -1) - targets.reshape(len(places), -1)).square().mean(1)
        rows = slice_errors(found, errors.numpy())
    else:
        taken = decide(answers.numpy(), None if decision is None else decision.rule)
        rows = slice_accuracies(found, taken == targets.numpy())
    if len(rows) > SLICES_AT_MOST:
        left_out.append(f"{len(rows) - SLICES_AT_MOST:,} further slices are not kept")
        rows = sorted(rows, key=lambda row: row["p"])[:SLICES_AT_MOST]
    return {"examples": len(places), "rows": rows, "left_out": "; ".join(left_out)} if rows else None


def slices_of(part: Any, places: Tensor) -> tuple[list[Slice], list[str]]:
    """Returns the slices of the examples at `places` (M,) of a part of the data, and what was left out."""
    preparation = part.preparation
    if isinstance(preparation, TablePreparation):
        return _of_table(_raw(part, places), preparation)
    if isinstance(part, TextSplit):
        return _of_texts(part, places), []
    if not hasattr(part, "raw"):
        return [], []
    if isinstance(preparation, SoundPreparation):
        return _of_recordings(part, places), []
    if len(preparation.shape) == 3 and preparation.shape[0] in (1, 3):
        return _of_images(part, places), []
    return [], []


def _raw(part: Any, places: Tensor) -> np.ndarray:
    return part.raw(places).cpu().numpy()


def _in_pieces(part: Any, places: Tensor) -> list[Tensor]:
    """Returns `places` cut so that the raw examples of a piece are few numbers."""
    return list(places.split(max(1, NUMBERS_AT_ONCE // max(1, int(np.prod(part.preparation.shape))))))


def _of_table(rows: np.ndarray, preparation: TablePreparation) -> tuple[list[Slice], list[str]]:
    columns, left_out = in_order(preparation.columns), []
    if len(columns) > COLUMNS_AT_MOST:
        left_out.append(f"slices are those of the first {COLUMNS_AT_MOST} of {len(columns):,} columns")
    slices: list[Slice] = []
    at = 0
    for column in columns[:COLUMNS_AT_MOST]:
        values = rows[:, at].astype(np.float64)
        at += column.width
        if column.kind == "category":
            slices += _of_categories(values, column)
        elif column.kind == "date":
            slices += _renamed(
                quarters(values, column.name), ("the earliest", "the second", "the third", "the latest")
            )
        else:
            slices += quarters(values + column.centre, column.name)
        gaps = np.isnan(values)
        if gaps.any():
            slices.append(Slice(column.name, "a gap", gaps))
    return slices, left_out


def _of_categories(codes: np.ndarray, column: Column) -> list[Slice]:
    if len(column.categories) > CATEGORIES_AT_MOST:
        return []
    names = {GAP: "a gap", UNKNOWN: "unseen in training"}
    names |= dict(enumerate(column.categories, start=FIRST))
    return [Slice(column.name, name, codes == code) for code, name in names.items() if (codes == code).any()]


def _renamed(slices: list[Slice], names: tuple[str, ...]) -> list[Slice]:
    if len(slices) != len(names):
        return []
    return [Slice(one.by, f"{name} quarter", one.members) for one, name in zip(slices, names)]


def _of_images(part: Any, places: Tensor) -> list[Slice]:
    light, contrast = [], []
    for piece in _in_pieces(part, places):
        pixels = part.raw(piece).reshape(len(piece), -1).float().cpu()
        light.append(pixels.mean(1))
        contrast.append(pixels.std(1))
    names = ("the darkest", "the second", "the third", "the lightest")
    steps = ("the lowest", "the second", "the third", "the highest")
    return [
        *_renamed(quarters(torch.cat(light).double().numpy(), "brightness"), names),
        *_renamed(quarters(torch.cat(contrast).double().numpy(), "contrast"), steps),
    ]


def _of_recordings(part: Any, places: Tensor) -> list[Slice]:
    powers = [part.raw(piece).float().square().mean(1).cpu() for piece in _in_pieces(part, places)]
    # Full scale is 0 dB; silence is named by the floor of 16 bits.
    loudness = 10 * torch.cat(powers).double().clamp(min=2.0**-30).log10()
    return quarters(loudness.numpy(), "loudness", shown=lambda value: f"{value:.0f} dB")


def _of_texts(part: TextSplit, places: Tensor) -> list[Slice]:
    lengths = np.array([len(part.texts[place]) for place in places.tolist()], dtype=np.float64)
    slices = quarters(lengths, "length", shown=lambda value: f"{value:,.0f}")
    slices = [Slice(one.by, f"{one.name} characters", one.members) for one in slices]
    assert isinstance(part.preparation, TextPreparation)
    sign = part.preparation.tokenizer.unknown
    if sign < 0:
        return slices
    unknown = (part.inputs[places.to(part.inputs.device)] == sign).sum(1).cpu().numpy()
    shares = unknown / np.maximum(part.lengths[places].numpy(), 1)
    often = "more than a tenth unknown"
    for name, members in (
        ("none unknown", shares == 0),
        ("up to a tenth unknown", (shares > 0) & (shares <= 0.1)),
        (often, shares > 0.1),
    ):
        if members.any() and not members.all():
            slices.append(Slice("tokens", name, members))
    return slices
