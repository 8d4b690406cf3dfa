"""Tables: rows of cells of any kind in, rows of numbers out; what was learned from the training part ships with the network."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from netwright.data.columns import (
    FIRST,
    GAP,
    UNKNOWN,
    Column,
    encode,
    encode_row,
    in_order,
)
from netwright.data.delimited import GAPS, Sheet, is_table, near, read_sheet, some
from netwright.data.preparation import Preparation
from netwright.data.target import Target
from netwright.errors import DataError, unknown_name

SCALINGS = ("auto", "standard", "min-max", "quantile", "piecewise", "none")
ENCODINGS = ("auto", "one-hot", "embedding")
# Above so many categories in a column `auto` prefers an embedding, where the network has one.
ONE_HOT_AT_MOST = 32
QUANTILES = 256
# Into how many pieces a number is cut where scaling is "piecewise".
PIECES = 32


@dataclass(frozen=True)
class TableOptions:
    """How a table is read and prepared.

    `kinds` {column: one of `columns.KINDS`} overrides what is inferred. A category that comes fewer than `rare` times in
    the training part, or is not among its `most` most frequent, is treated as one that was never seen.
    `task`: predict "classes" or "numbers" ("auto": as `target.choose_target` has it). `target_scaling`: numbers to
    predict are learned less their mean and over their standard deviation ("standard"), or as they are ("none"). `suits`
    {"scaling", "categories"}: what goes with the network, taken where these are "auto" (default: "standard" and "one-hot"). With
    `categories` "auto" even then, columns are embedded as soon as one of them has more than ONE_HOT_AT_MOST categories.
    """

    kinds: Mapping[str, str] | None = None
    scaling: str = "auto"
    categories: str = "auto"
    rare: int = 5
    most: int = 100
    task: str = "auto"
    target_scaling: str = "standard"
    encoding: str | None = None
    header: bool | str = "auto"
    separator: str | None = None
    gaps: Sequence[str] = GAPS
    suits: Mapping[str, str] | None = None

    def settled(self) -> TableOptions:
        """Returns the same options with what `suits` the network, or else everyone, where they say "auto"."""
        suits = {"scaling": "standard", "categories": "one-hot", **(self.suits or {})}
        return replace(
            self,
            scaling=suits["scaling"] if self.scaling == "auto" else self.scaling,
            categories=suits["categories"] if self.categories == "auto" else self.categories,
        )

    def __post_init__(self) -> None:
        for name, value, known in (
            ("scaling", self.scaling, SCALINGS),
            ("categories", self.categories, ENCODINGS),
            ("task", self.task, ("auto", "classes", "numbers")),
            ("target_scaling", self.target_scaling, ("standard", "none")),
        ):
            if value not in known:
                raise unknown_name(f"table.{name}", str(value), known)


class TablePreparation(Preparation):
    """Raw rows (N, D) float32 of `columns.encode` in, (N, P) float32 out.

    First come the numbers, scaled: less `mean` and over `std`, or ("quantile") to the normal distribution by the `quantiles`
    of the training part, or ("piecewise") each as its way through the pieces between quantiles (Gorishniy et al. 2022, equation 1).
    A gap becomes `fill`, the training part's mean (its median, where scaled by quantiles; zeros in pieces). Each
    number that had gaps there has a flag after the numbers: 1 for a gap. Then the categories: one-hot, where a gap and
    an unseen category have a place of their own if the training part had them, and are all zeros if not; or ("embedding") one
    number a column below its `facts["cardinalities"]`: 0 a gap, 1 an unseen one, for networks that learn an embedding of each.

    `columns`: dictionaries of `Column`; `inputs`: the names of all columns that a row may have, in order. `mean`, `std`, `fill`:
    one number for each of the numeric ones; `quantiles` (numbers, Q). `flags`: the numbers that have a flag.
    `known`: for each category column the raw numbers (`columns.encode`) that the training part had often enough.
    """

    kind: ClassVar[str] = "table"
    fill: Tensor
    flagged: Tensor
    quantiles: Tensor
    owners: Tensor
    lows: Tensor
    spans: Tensor
    least: Tensor
    most: Tensor
    starts: Tensor
    places: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        *,
        columns: Sequence[Mapping[str, Any]],
        inputs: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        fill: Sequence[float],
        quantiles: Sequence[Sequence[float]] = (),
        pieces: Sequence[Sequence[float]] = (),
        flags: Sequence[int] = (),
        known: Sequence[Sequence[int]] = (),
        encoding: str = "one-hot",
        gaps: Sequence[str] = GAPS,
        target: Mapping[str, Any] | None = None,
    ) -> None:
        self.columns = [Column.from_dict(entries) for entries in columns]
        used = in_order(self.columns)
        self.numeric = sum(column.width for column in used if column.kind != "category")
        super().__init__(shape, mean=mean, std=std)
        self.inputs, self.gaps, self.encoding = tuple(inputs), tuple(gaps), encoding
        self.target = None if target is None else Target.from_dict(target)
        self.flags, self.known = tuple(flags), tuple(tuple(places) for places in known)
        self.register_buffer("fill", self._column("fill", fill))
        self.register_buffer("quantiles", torch.tensor([list(row) for row in quantiles], dtype=torch.float32))
        self.edges = tuple(tuple(edges) for edges in pieces)
        self._cut_in_pieces()
        self.register_buffer("flagged", torch.tensor(self.flags, dtype=torch.int64))
        sizes = [FIRST + len(column.categories) for column in used if column.kind == "category"]
        self.register_buffer("starts", torch.tensor(np.cumsum([0, *sizes])[:-1], dtype=torch.int64))
        self.cardinalities: tuple[int, ...] = ()
        self.one_hot = 0
        places = self._embedded(sizes) if encoding == "embedding" else self._one_hot(sizes)
        self.register_buffer("places", torch.tensor(places, dtype=torch.int64))

    def _column(self, name: str, numbers: Sequence[float]) -> Tensor:
        column = torch.tensor(list(numbers), dtype=torch.float32)
        if column.shape != (self.numeric,) or not bool(column.isfinite().all()):
            raise DataError(
                f"preparation: expected {name} as {self.numeric} finite numbers, came {list(numbers)[:8]} ({len(numbers)})"
            )
        return column

    def _cut_in_pieces(self) -> None:
        owners = [place for place, edges in enumerate(self.edges) for _ in edges[1:]]
        lows = [low for edges in self.edges for low in edges[:-1]]
        highs = [high for edges in self.edges for high in edges[1:]]
        firsts = [number == 0 for edges in self.edges for number in range(len(edges) - 1)]
        lasts = [number == len(edges) - 2 for edges in self.edges for number in range(len(edges) - 1)]
        self.register_buffer("owners", torch.tensor(owners, dtype=torch.int64))
        self.register_buffer("lows", torch.tensor(lows, dtype=torch.float32))
        self.register_buffer("spans", torch.tensor(highs, dtype=torch.float32) - self.lows)
        # The way through the first piece may be below 0 and through the last above 1, but not without end.
        self.register_buffer("least", torch.tensor([-1.0 if first else 0.0 for first in firsts]))
        self.register_buffer("most", torch.tensor([2.0 if last else 1.0 for last in lasts]))

    def _embedded(self, sizes: Sequence[int]) -> list[int]:
        """Returns the embedding's number of each raw number, one column after the other."""
        places: list[int] = []
        for size, known in zip(sizes, self.known, strict=True):
            numbered = {
                raw: number for number, raw in enumerate((p for p in known if p >= FIRST), start=FIRST)
            }
            places += [GAP, UNKNOWN, *(numbered.get(raw, UNKNOWN) for raw in range(FIRST, size))]
            self.cardinalities += (FIRST + len(numbered),)
        return places

    def _one_hot(self, sizes: Sequence[int]) -> list[int]:
        """Returns where the 1 of each raw number goes, one column after the other; -1: nowhere."""
        places: list[int] = []
        for size, known in zip(sizes, self.known, strict=True):
            at = {raw: self.one_hot + number for number, raw in enumerate(known)}
            unknown = at.get(UNKNOWN, -1)
            places += [at.get(GAP, -1), unknown, *(at.get(raw, unknown) for raw in range(FIRST, size))]
            self.one_hot += len(known)
        return places

    @property
    def prepared_shape(self) -> tuple[int, ...]:
        numbers = len(self.owners) if self.edges else self.numeric
        return (numbers + len(self.flags) + (len(self.cardinalities) or self.one_hot),)

    @property
    def facts(self) -> dict[str, Any]:
        return {"cardinalities": self.cardinalities}

    def forward(self, raw: Tensor) -> Tensor:
        """Returns (N, *prepared_shape) float32 of raw rows (N, D) float32."""
        numbers = raw[:, : self.numeric]
        missing = numbers.isnan()
        parts = [
            self._pieces(numbers) if self.edges else torch.where(missing, self.fill, self._scaled(numbers))
        ]
        if self.flags:
            parts.append(missing[:, self.flagged].to(raw.dtype))
        if self.numeric < self.shape[0]:
            codes = self.places[raw[:, self.numeric :].long() + self.starts]
            parts.append(codes.to(raw.dtype) if self.cardinalities else self._ones(codes, raw))
        return torch.cat(parts, dim=1)

    def _scaled(self, numbers: Tensor) -> Tensor:
        return to_normal(numbers, self.quantiles) if len(self.quantiles) else (numbers - self.mean) / self.std

    def _pieces(self, numbers: Tensor) -> Tensor:
        way = numbers.index_select(1, self.owners).sub_(self.lows).div_(self.spans)
        return torch.clamp(way, self.least, self.most, out=way).nan_to_num_(0.0)

    def _ones(self, codes: Tensor, raw: Tensor) -> Tensor:
        # What goes nowhere goes to a last place, which is cut off.
        out = raw.new_zeros(len(raw), self.one_hot + 1)
        return out.scatter_(1, torch.where(codes < 0, self.one_hot, codes), 1.0)[:, :-1]

    def prepare_fresh(self, raw: Tensor) -> Tensor:
        return self(raw)

    def to_learn(self, targets: Tensor) -> Tensor:
        return targets if self.target is None else self.target.to_learn(targets)

    def in_units(self, values: Tensor) -> Tensor:
        return values if self.target is None else self.target.in_units(values)

    def describe(self) -> str:
        words = [f"{self.numeric} numbers"] if self.numeric else []
        words = [f"{self.numeric} numbers in {len(self.owners)} pieces"] if self.edges else words
        words += [f"{len(self.flags)} flags of gaps"] if self.flags else []
        if self.cardinalities:
            words.append(f"{len(self.cardinalities)} categories to embed")
        elif self.one_hot:
            words.append(f"{len(self.known)} categories as {self.one_hot} zeros and ones")
        return ": " + ", ".join(words)

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "shape": list(self.shape),
            "columns": [column.to_dict() for column in self.columns],
            "inputs": list(self.inputs),
            "mean": exact(self.mean),
            "std": exact(self.std),
            "fill": exact(self.fill),
            "quantiles": [exact(row) for row in self.quantiles],
            "pieces": [list(edges) for edges in self.edges],
            "flags": list(self.flags),
            "known": [list(places) for places in self.known],
            "encoding": self.encoding,
            "gaps": list(self.gaps),
            "target": None if self.target is None else self.target.to_dict(),
        }

    # Rows to predict

    def read(self, source: Any, *, where: str | None = None) -> Tensor:
        """Returns the raw row (D,) of {column: cell} or of cells in the order of `inputs`; raises DataError."""
        where = where or "row"
        if isinstance(source, np.ndarray | Tensor):
            source = source.tolist()
        if isinstance(source, list | tuple):
            if len(source) != len(self.inputs):
                raise DataError(
                    f"{where}: expected {len(self.inputs)} cells ({some(self.inputs)}), came {len(source)}"
                )
            source = dict(zip(self.inputs, source))
        if not isinstance(source, Mapping):
            raise DataError(
                f"{where}: expected a row as {{column: cell}} or a list of cells, came {type(source).__name__}"
            )
        self.check_has(where, list(source))
        nested = [name for name, cell in source.items() if isinstance(cell, list | tuple | dict)]
        if nested:
            raise DataError(f"{where}: expected one cell in column {nested[0]!r}, came {source[nested[0]]!r}")
        return torch.from_numpy(encode_row(source, self.columns, self.gaps))

    def read_many(self, inputs: Any) -> Iterator[Tensor]:
        if isinstance(inputs, Mapping) or (
            isinstance(inputs, list | tuple) and inputs and _is_cell(inputs[0])
        ):
            inputs = [inputs]
        rows = inputs.to_dict("records") if hasattr(inputs, "to_dict") else inputs
        if not hasattr(rows, "__len__") or not len(rows):
            raise DataError("input: expected rows, came none")
        for index, row in enumerate(rows):
            yield self.read(row, where=f"row {index}")

    def read_files(self, paths: Sequence[str | os.PathLike[str]]) -> Iterator[tuple[str, Tensor]]:
        for path in map(Path, paths):
            if not is_table(path):
                raise DataError(
                    f"{path}: expected a table (.csv, .tsv or .parquet) as in training, came another file"
                )
            sheet = read_sheet(path, gaps=self.gaps)
            for number, row in enumerate(self.encode(sheet), start=1):
                yield f"{path}, row {number}", row

    def encode(self, sheet: Sheet) -> Tensor:
        """Returns (N, D) float32, the raw rows of a table that has the columns of training; raises DataError."""
        self.check_has(sheet.where, sheet.names)
        return torch.from_numpy(encode(sheet, self.columns))

    def check_has(self, where: str, names: Sequence[str]) -> None:
        absent = [column.name for column in in_order(self.columns) if column.name not in names]
        if absent:
            raise DataError(
                f"{where}: expected the columns of training, without {some(absent)}{near(absent[0], names)}\n"
                f"Came: {some(list(names))}"
            )

    def remarks(self, raw: Tensor) -> list[str]:
        """Returns what was decided for one raw row (D,): gaps that training never had, categories that it never saw."""
        said, at = [], 0
        category = 0
        for column in in_order(self.columns):
            value = float(raw[at])
            if column.kind == "category":
                if int(value) == UNKNOWN:
                    said.append(f"{column.name}: a category that training never saw")
                elif int(value) == GAP and GAP not in self.known[category]:
                    said.append(f"{column.name}: a gap, which training never had")
                category += 1
            elif np.isnan(value) and at not in self.flags:
                said.append(f"{column.name}: a gap, which training never had; its mean is taken")
            at += column.width
        return said


def _is_cell(value: Any) -> bool:
    return value is None or isinstance(value, str | bool | int | float)


def exact(column: Tensor) -> list[float]:
    """Returns float32 numbers as the shortest decimals that are them."""
    return [float(str(number)) for number in column.flatten().cpu().numpy()]


def to_normal(numbers: Tensor, quantiles: Tensor) -> Tensor:
    """Returns (N, D) numbers as the values of a normal distribution at the same quantiles; `quantiles` (D, Q) ascending.

    The mean of what the first and the last of equal quantiles say, within 1e-7 of 0 and 1, as scikit-learn's
    QuantileTransformer(output_distribution="normal").
    """
    last = quantiles.shape[1] - 1
    columns = numbers.T.contiguous()
    share = torch.zeros_like(columns)
    for right in (False, True):
        place = torch.searchsorted(quantiles, columns, right=right).clamp(1, last)
        low, high = quantiles.gather(1, place - 1), quantiles.gather(1, place)
        step = ((columns - low) / (high - low)).nan_to_num(0.0 if right else 1.0).clamp(0, 1)
        share += (place - 1 + step) / (2 * last)
    return torch.special.ndtri(share.double().clamp(1e-7, 1 - 1e-7)).float().T
