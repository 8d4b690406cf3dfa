"""Tables: rows of cells of any kind in, rows of numbers out; what was learned from the training part ships with the network."""

from __future__ import annotations

import hashlib
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
    dates,
    encode,
    encode_row,
    in_order,
    look_at,
    numbers,
)
from netwright.data.delimited import GAPS, Sheet, is_table, near, read_sheet, some
from netwright.data.preparation import Preparation
from netwright.data.source import Part, Source
from netwright.data.target import Target, choose_target, in_sequence, read_target
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
        way = (numbers[:, self.owners] - self.lows) / self.spans
        return torch.minimum(torch.maximum(way, self.least), self.most).nan_to_num(0.0)

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
        self._check_has(where, list(source))
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
        self._check_has(sheet.where, sheet.names)
        return torch.from_numpy(encode(sheet, self.columns))

    def _check_has(self, where: str, names: Sequence[str]) -> None:
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


# Reading and fitting


def read_table(
    parts: Mapping[str, Sequence[Path]],
    *,
    name: str,
    target: str | None,
    features: Sequence[str] | None,
    options: TableOptions,
    unreadable: float,
    like: Any = None,
    classes: Sequence[str] | None = None,
    group: str | None = None,
    time: str | None = None,
) -> Source:
    """Returns the rows of the files of each part, encoded, with what fits their preparation to the training part.

    `like`: a TablePreparation, whose columns and target are read instead of looked for. Raises DataError.
    """
    found = Source(name, "table", {}, None, image=False)
    found.paths = tuple(str(file) for files in parts.values() for file in files)
    sheets = {part: _read_sheets(files, options, unreadable, found.notes) for part, files in parts.items()}
    train = sheets["train"]
    if isinstance(like, TablePreparation):
        assert like.target is not None
        chosen, why = like.target, ""
        if target is not None and target != chosen.name:
            raise DataError(f"{train.where}: the run predicts {chosen.name!r}, not {target!r}")
    else:
        chosen, why = _target(train, target, options)
    sheets = {part: _with_targets(sheet, chosen.name, found.notes) for part, sheet in sheets.items()}
    if isinstance(like, TablePreparation):
        inputs, columns = list(like.inputs), like.columns
        like._check_has(train.where, train.names)
    else:
        inputs = [name for name in _inputs(train, chosen.name, features) if name != group]
        columns, notes = look_at(sheets["train"], inputs, options.kinds or {})
        found.notes += [
            f"predicts {chosen.task} ({chosen.name}: {why})",
            *_story(sheets["train"], columns),
            *notes,
        ]
        if not in_order(columns):
            raise DataError(
                f"{train.where}: expected a column to predict from, came none beside {chosen.name!r}"
            )
    labels = {part: read_target(sheet.column(chosen.name), chosen) for part, sheet in sheets.items()}
    if chosen.task == "classes":
        found.classes = (
            tuple(classes)
            if classes is not None
            else in_sequence(np.concatenate([*labels.values()]).tolist())
        )
    for part, sheet in sheets.items():
        y = _as_targets(labels[part], found.classes, f"{name}, {part}")
        hashed = _row_hashes(sheet, sheet.names if group is None else [group])
        times = None if time is None else _times(sheet, time)
        encoded = torch.from_numpy(encode(sheet, columns))
        found.parts[part] = Part(encoded, y, owned=True, hashed=hashed, times=times)
    found.grouped_by = group
    found.prepare = _Fit(columns, inputs, chosen, options)
    return found


def _read_sheets(files: Sequence[Path], options: TableOptions, unreadable: float, notes: list[str]) -> Sheet:
    import pyarrow

    sheets = [
        read_sheet(
            file,
            encoding=options.encoding,
            header=options.header,  # type: ignore[arg-type]
            separator=options.separator,
            gaps=options.gaps,
            unreadable=unreadable,
        )
        for file in files
    ]
    several = len(sheets) > 1
    notes += [
        f"{Path(sheet.where).name}: {note}" if several else note for sheet in sheets for note in sheet.notes
    ]
    if not several:
        return sheets[0]
    for sheet in sheets[1:]:
        if set(sheet.names) != set(sheets[0].names):
            raise DataError(
                f"{sheet.where}: expected the columns of {sheets[0].where} ({some(sheets[0].names)}), came {some(sheet.names)}"
            )
    try:
        table = pyarrow.concat_tables([sheet.table for sheet in sheets], promote_options="permissive")
    except pyarrow.ArrowException as error:
        raise DataError(
            f"{sheets[0].where} and the files beside it: columns of different types ({error})"
        ) from None
    return Sheet(sheets[0].where, table)


def _target(sheet: Sheet, name: str | None, options: TableOptions) -> tuple[Target, str]:
    if name is None:
        raise DataError(
            f"{sheet.where}: expected to be told which column to predict: --target COLUMN (data.target).\n"
            f"Columns: {some(list(map(repr, sheet.names)))}"
        )
    return choose_target(sheet.where, name, sheet.column(name), options.task)


def _with_targets(sheet: Sheet, name: str, notes: list[str]) -> Sheet:
    """Returns the rows that have a target, and notes how many have none."""
    cells = sheet.column(name)
    if not cells.null_count:
        return sheet
    if cells.null_count == len(cells):
        raise DataError(f"{sheet.where}: expected targets in column {name!r}, came nothing but gaps")
    notes.append(f"{cells.null_count:,} of {len(cells):,} rows have no target ({name}) and are left out")
    return replace(sheet, table=sheet.table.filter(cells.is_valid()))


def _times(sheet: Sheet, name: str) -> np.ndarray:
    """Returns (N,) float64 of the column by whose order the parts are cut; raises DataError for gaps and for what has no order."""
    cells = sheet.column(name)
    (column,), _ = look_at(sheet, [name], {})
    if column.kind == "date":
        values = dates(cells, column)
    elif column.kind in ("number", "id") and not _is_words(cells):
        values = numbers(cells)
    else:
        raise DataError(
            f"{sheet.where}: expected dates or numbers in column {name!r}, the time, came {column.why or column.kind}"
        )
    missing = int(np.isnan(values).sum())
    if missing:
        raise DataError(
            f"{sheet.where}: expected a time in every row, came {missing:,} gaps in column {name!r}"
        )
    return values


def _is_words(cells: Any) -> bool:
    from pyarrow import types

    return types.is_string(cells.type) or types.is_large_string(cells.type)


def _row_hashes(sheet: Sheet, names: Sequence[str]) -> np.ndarray:
    """Returns (N,) uint64 that are equal where the cells of these columns are, and else differ but for one pair in 2^64.

    Rows are copies if they are alike in every column: in what is used of them they are often alike without being copies.
    """
    hashes = np.zeros(len(sheet), np.uint64)
    for name in names:
        # Multiply and fold, as splitmix64 mixes its state (Steele et al. 2014).
        hashes = (hashes ^ _cell_values(sheet.column(name))) * np.uint64(0x9E3779B97F4A7C15)
        hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        hashes ^= hashes >> np.uint64(27)
    return hashes


def _cell_values(cells: Any) -> np.ndarray:
    """Returns (N,) uint64 that are equal where cells are; all 0 for lists and other nested cells."""
    import pyarrow
    from pyarrow import types

    if types.is_integer(cells.type) or types.is_floating(cells.type):
        return numbers(cells).view(np.uint64)
    try:
        coded = cells.dictionary_encode()
    except pyarrow.ArrowException:
        return np.zeros(len(cells), np.uint64)
    digests = b"".join(
        hashlib.blake2b(str(value).encode(errors="replace"), digest_size=8).digest()
        for value in coded.dictionary.to_pylist()
    )
    values = np.append(np.frombuffer(digests, "<u8"), np.uint64(0)).astype(np.uint64)
    return values[coded.indices.fill_null(len(values) - 1).to_numpy(zero_copy_only=False)]


def _inputs(sheet: Sheet, target: str, features: Sequence[str] | None) -> list[str]:
    if features is None:
        return [name for name in sheet.names if name != target]
    for name in features:
        if name not in sheet.names:
            raise DataError(
                f"{sheet.where}: no column {name!r}{near(name, sheet.names)}\nColumns: {some(sheet.names)}"
            )
    if target in features:
        raise DataError(f"{sheet.where}: {target!r} is the target and cannot be among the features")
    return list(features)


def _as_targets(labels: np.ndarray, classes: tuple[str, ...] | None, where: str) -> Tensor:
    if classes is None:
        return torch.from_numpy(np.ascontiguousarray(labels))
    known = {name: number for number, name in enumerate(classes)}
    unknown = sorted(set(labels.tolist()) - set(known))
    if unknown:
        raise DataError(f"{where}: expected labels among {some(classes)}; came {some(unknown)}")
    return torch.tensor([known[label] for label in labels.tolist()], dtype=torch.int64)


def _story(sheet: Sheet, columns: Sequence[Column]) -> list[str]:
    """Returns a line for each kind of column: their names, and what a reader must know of each."""
    kinds = {"number": "numbers", "boolean": "true or false", "date": "dates", "category": "categories"}
    lines = []
    for kind, title in kinds.items():
        chosen = [column for column in columns if column.kind == kind]
        if chosen:
            lines.append(f"{title}: {some([_shown(sheet, column) for column in chosen])}")
    out = [f"{column.name} ({column.why})" for column in columns if not column.width]
    return lines + ([f"left out: {some(out)}"] if out else [])


def _shown(sheet: Sheet, column: Column) -> str:
    facts = [str(len(column.categories))] if column.kind == "category" else []
    facts += [column.format] if column.format not in ("", "%Y-%m-%d") else []
    count = sheet.column(column.name).null_count
    facts += [f"{count:,} gaps"] if count else []
    return f"{column.name} ({', '.join(facts)})" if facts else column.name


@dataclass(frozen=True)
class _Fit:
    """Fits the preparation of a table to its training part."""

    columns: Sequence[Column]
    inputs: Sequence[str]
    target: Target
    options: TableOptions

    def __call__(self, train: Part, mode: str, notes: list[str]) -> TablePreparation:
        """Returns the preparation; `mode` "none" leaves the numbers as they are. Adds to `notes` what was decided."""
        used = in_order(self.columns)
        numeric = sum(column.width for column in used if column.kind != "category")
        scaling = "none" if mode == "none" else self.options.scaling
        if len(train):
            numbers = _fit_numbers(train.inputs[:, :numeric], scaling)
        else:
            numbers = {"mean": [0.0] * numeric, "std": [1.0] * numeric, "fill": [0.0] * numeric}
        known = self._known(train.inputs[:, numeric:], [c for c in used if c.kind == "category"], notes)
        notes += telltales(train.inputs, train.targets, used, self.target)
        target = self.target
        if target.task == "numbers" and self.options.target_scaling == "standard":
            target = target.scaled_to(train.targets)
        return TablePreparation(
            (numeric + len(known),),
            columns=[column.to_dict() for column in self.columns],
            inputs=self.inputs,
            known=known,
            encoding=self._encoding(known),
            gaps=self.options.gaps,
            target=target.to_dict(),
            **numbers,
        )

    def _known(self, raw: Tensor, columns: Sequence[Column], notes: list[str]) -> list[list[int]]:
        known, rare = [], []
        for place, column in enumerate(columns):
            counts = torch.bincount(raw[:, place].long(), minlength=FIRST + len(column.categories)).tolist()
            often = [code for code in range(FIRST, len(counts)) if counts[code] >= max(1, self.options.rare)]
            often = sorted(sorted(often, key=lambda code: -counts[code])[: self.options.most])
            seldom = sum(counts[FIRST:]) - sum(counts[code] for code in often)
            kinds = sum(count > 0 for count in counts[FIRST:]) - len(often)
            if seldom:
                rare.append(f"{column.name} ({kinds:,} in {seldom:,} rows)")
            known.append(([GAP] if counts[GAP] else []) + ([UNKNOWN] if seldom else []) + often)
        if rare:
            notes.append(f"rare categories are treated as unseen ones: {some(rare)}")
        return known

    def _encoding(self, known: Sequence[Sequence[int]]) -> str:
        if self.options.categories != "auto":
            return self.options.categories
        return "embedding" if any(len(places) > ONE_HOT_AT_MOST for places in known) else "one-hot"


def telltales(raw: Tensor, targets: Tensor, columns: Sequence[Column], target: Target) -> list[str]:
    """Returns a note for each column that alone tells the target: it may be known only when the target is (a leak).

    A small decision tree (scikit-learn) on one column learns from half of up to 4,000 training rows and is scored on the other half: balanced
    accuracy from 0.99, or R2 of the targets' ranks from 0.99, is telling. Nothing is said of fewer than 100 rows.
    """
    from scipy.stats import rankdata
    from sklearn.metrics import balanced_accuracy_score, r2_score
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    if len(raw) < 100:
        return []
    rows = torch.linspace(0, len(raw) - 1, min(len(raw), 4000)).long()
    values, true = raw[rows].nan_to_num(-1e30).numpy(), targets[rows].numpy()
    if target.task == "numbers":
        true = rankdata(true)
    half, at, said = len(rows) // 2, 0, []
    order = np.random.default_rng(0).permutation(len(rows))
    learn, judge = order[:half], order[half:]
    if len(np.unique(true[judge])) < 2:
        return []
    for column in columns:
        cells = values[:, at : at + column.width]
        at += column.width
        if target.task == "classes":
            tree = DecisionTreeClassifier(max_depth=6, class_weight="balanced", random_state=0)
            score = balanced_accuracy_score(
                true[judge], tree.fit(cells[learn], true[learn]).predict(cells[judge])
            )
        else:
            tree = DecisionTreeRegressor(max_depth=12, min_samples_leaf=3, random_state=0)
            score = r2_score(true[judge], tree.fit(cells[learn], true[learn]).predict(cells[judge]))
        if score >= 0.99:
            said.append(column.name)
    return [
        f"{name} alone tells {target.name}: is it known before the target is? If not: --set table.kinds={{{name}: skip}}"
        for name in said
    ]


def _fit_numbers(raw: Tensor, scaling: str) -> dict[str, Any]:
    """Returns mean, std, fill (and quantiles, flags) of the training part's numbers (N, D), gaps left out."""
    values = raw.double().numpy()
    missing = np.isnan(values)
    counts = np.maximum((~missing).sum(0), 1)
    mean = np.where(missing, 0, values).sum(0) / counts
    spread = np.sqrt(np.where(missing, 0, (values - mean) ** 2).sum(0) / counts)
    fitted: dict[str, Any] = {"flags": np.flatnonzero(missing.any(0)).tolist()}
    zeros, ones = np.zeros_like(mean), np.ones_like(mean)
    if scaling == "standard":
        numbers = mean, np.where(spread > 0, spread, 1), zeros
    elif scaling == "min-max":
        low = np.where(missing, np.inf, values).min(0, initial=np.inf)
        high = np.where(missing, -np.inf, values).max(0, initial=-np.inf)
        low, high = np.where(np.isfinite(low), low, 0), np.where(np.isfinite(high), high, 0)
        span = np.where(high > low, high - low, 1)
        numbers = low, span, (mean - low) / span
    elif scaling == "quantile":
        numbers = zeros, ones, zeros
        fitted["quantiles"] = _quantiles(values, QUANTILES)
    elif scaling == "piecewise":
        numbers = zeros, ones, zeros
        fitted["pieces"] = [_edges(row) for row in _quantiles(values, PIECES + 1)]
    else:
        numbers = zeros, ones, mean
    return fitted | {name: column.tolist() for name, column in zip(("mean", "std", "fill"), numbers)}


def _edges(quantiles: Sequence[float]) -> list[float]:
    """Returns the different ones of a column's quantiles, as float32 has them, at least two."""
    edges = np.unique(np.asarray(quantiles, np.float32))
    if len(edges) == 1:
        edges = np.array([edges[0], edges[0] + max(1.0, abs(edges[0]))], np.float32)
    return [float(str(edge)) for edge in edges]


def _quantiles(values: np.ndarray, most: int) -> list[list[float]]:
    count = min(most, len(values))
    shares = np.linspace(0, 1, max(2, count))
    rows = []
    for column in values.T:
        present = column[~np.isnan(column)]
        rows.append(np.quantile(present, shares).tolist() if len(present) else np.zeros(len(shares)).tolist())
    return rows
