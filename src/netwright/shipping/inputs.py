"""What goes into an exported network and what comes out of it, said so that a program without netwright can feed it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from netwright.data import Preparation
from netwright.data.columns import in_order
from netwright.data.preparation import ImagePreparation
from netwright.data.series import SeriesPreparation
from netwright.data.sound import SoundPreparation
from netwright.data.table import TablePreparation
from netwright.data.text import TextPreparation
from netwright.data.tokens import PADDING
from netwright.shipping.card import Card

DTYPES = {
    "uint8": torch.uint8,
    "int32": torch.int32,
    "int64": torch.int64,
    "float32": torch.float32,
    "float64": torch.float64,
}
NARROW = {"int64": "int32", "float64": "float32"}


@dataclass(frozen=True)
class Port:
    """One input or output: `shape` with N first; None is any number (of texts: any up to the length). `meaning`: in words."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    meaning: str

    def narrowed(self) -> Port:
        """Returns the same in 32 bits, for formats without numbers of 64."""
        return replace(self, dtype=NARROW.get(self.dtype, self.dtype))

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "shape": list(self.shape)}

    @staticmethod
    def from_dict(entries: dict[str, Any]) -> Port:
        return Port(entries["name"], entries["dtype"], tuple(entries["shape"]), entries["meaning"])

    def fitted(self, raw: Tensor) -> Tensor:
        """Returns a raw batch (n, ...) in this type; texts padded to the length where that is fixed."""
        raw = raw.to(DTYPES[self.dtype])
        if len(self.shape) > 1 and self.shape[1] is not None and raw.shape[1] < self.shape[1]:
            raw = torch.nn.functional.pad(raw, (0, self.shape[1] - raw.shape[1]), value=PADDING)
        return raw


def input_of(preparation: Preparation, *, batch: int | None, any_length: bool) -> Port:
    """Returns what a graph takes; `batch`: so many examples at a time, None any; `any_length`: of texts."""
    shape: tuple[int | None, ...] = (batch, *preparation.shape)
    if any_length:
        shape = (batch, None)
    return Port("input", dtype_of(preparation), shape, _meaning(preparation))


def outputs_of(
    card: Card, names: tuple[str, ...], example: tuple[Tensor, ...], *, batch: int | None
) -> list[Port]:
    """Returns what comes out, of the outputs (n, ...) for an example."""
    return [
        Port(name, str(values.dtype).removeprefix("torch."), (batch, *values.shape[1:]), _said(card, name))
        for name, values in zip(names, example, strict=True)
    ]


def dtype_of(preparation: Preparation) -> str:
    """Returns the name of the type in which `preparation.read` gives examples."""
    if isinstance(preparation, ImagePreparation):
        return "float32" if preparation.highest is None else "uint8"
    if isinstance(preparation, TextPreparation):
        return "int64"
    return "float64" if isinstance(preparation, SeriesPreparation) else "float32"


def _meaning(preparation: Preparation) -> str:
    if isinstance(preparation, ImagePreparation):
        highest = preparation.highest
        pixels = "float pixels as in training" if highest is None else f"whole numbers from 0 to {highest}"
        return f"images (N, channels, height, width), {pixels}; everything behind the decoding is inside"
    if isinstance(preparation, TextPreparation):
        return (
            f"token ids (N, tokens), padded with {PADDING} at the end, at most {preparation.length} a text, by the tokenizer "
            "in card.preparation.tokenizer"
        )
    if isinstance(preparation, SoundPreparation):
        return (
            f"waveforms (N, {preparation.shape[0]}) from -1 to 1, mono, {preparation.rate} samples a second; the spectrogram "
            "is inside"
        )
    if isinstance(preparation, SeriesPreparation):
        return (
            f"the last {preparation.window} rows by columns ({', '.join(preparation.columns)}) in their own units, without "
            "gaps; the scaling is inside"
        )
    if isinstance(preparation, TablePreparation):
        return _row(preparation)
    return "rows of numbers as in training; the scaling is inside"


def _row(preparation: TablePreparation) -> str:
    said = []
    for column in in_order(preparation.columns):
        if column.kind == "category":
            said.append(
                f"{column.name} (a category: 0 a gap, 1 one never seen, 2 on in the order of card.preparation.columns)"
            )
        else:
            centred = f", less {column.centre!r}" if column.centre else ""
            said.append(
                f"{column.name} ({column.kind}{f', {column.width} numbers' if column.width > 1 else ''}{centred})"
            )
    return f"rows of numbers, NaN for a gap, in this order: {'; '.join(said)}; scaling and one-hot codes are inside"


def _said(card: Card, name: str) -> str:
    if name == "probabilities":
        return f"a probability for each class, in the order of card.classes ({len(card.classes or ())})"
    if name == "strangeness":
        return "how unlike the training data; above card.strange_above it is to be distrusted"
    return "the values that are predicted, in the unit of the data"
