"""A table read from its files, and its preparation fitted to the training part."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
    in_order,
    look_at,
    numbers,
)
from netwright.data.delimited import Sheet, import_pyarrow, near, read_sheet, some
from netwright.data.source import Part, Source
from netwright.data.table import ONE_HOT_AT_MOST, PIECES, QUANTILES, TableOptions, TablePreparation
from netwright.data.target import Target, choose_target, in_sequence, read_target
from netwright.errors import DataError

# Rows that are looked at together where all of them, as float64, would be held several times.
ROWS_AT_ONCE = 1 << 14


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
    sheets = {part: read_sheets(files, options, unreadable, found.notes) for part, files in parts.items()}
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
        like.check_has(train.where, train.names)
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
            else in_sequence(np.unique(np.concatenate([*labels.values()])).tolist())
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


def read_sheets(files: Sequence[Path], options: TableOptions, unreadable: float, notes: list[str]) -> Sheet:
    pyarrow = import_pyarrow(files[0])

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
    distinct, places = np.unique(labels, return_inverse=True)
    unknown = sorted(set(distinct.tolist()) - set(known))
    if unknown:
        raise DataError(f"{where}: expected labels among {some(classes)}; came {some(unknown)}")
    return torch.tensor([known[label] for label in distinct.tolist()], dtype=torch.int64)[places]


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
    from sklearn.metrics import r2_score, recall_score
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
            taken = tree.fit(cells[learn], true[learn]).predict(cells[judge])
            score = recall_score(true[judge], taken, labels=np.unique(true[judge]), average="macro")
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
    present = _sum(raw, lambda values: ~np.isnan(values))
    counts = np.maximum(present, 1)
    mean = _sum(raw, _without_gaps) / counts
    spread = np.sqrt(_sum(raw, lambda values: _without_gaps((values - mean) ** 2)) / counts)
    fitted: dict[str, Any] = {"flags": np.flatnonzero(present < len(raw)).tolist()}
    zeros, ones = np.zeros_like(mean), np.ones_like(mean)
    if scaling == "standard":
        numbers = mean, np.where(spread > 0, spread, 1), zeros
    elif scaling == "min-max":
        low = torch.where(raw.isnan(), math.inf, raw).amin(0).double().numpy()
        high = torch.where(raw.isnan(), -math.inf, raw).amax(0).double().numpy()
        low, high = np.where(np.isfinite(low), low, 0), np.where(np.isfinite(high), high, 0)
        span = np.where(high > low, high - low, 1)
        numbers = low, span, (mean - low) / span
    elif scaling == "quantile":
        numbers = zeros, ones, zeros
        fitted["quantiles"] = _quantiles(raw, QUANTILES)
    elif scaling == "piecewise":
        numbers = zeros, ones, zeros
        fitted["pieces"] = [_edges(row) for row in _quantiles(raw, PIECES + 1)]
    else:
        numbers = zeros, ones, mean
    return fitted | {name: column.tolist() for name, column in zip(("mean", "std", "fill"), numbers)}


def _edges(quantiles: Sequence[float]) -> list[float]:
    """Returns the different ones of a column's quantiles, as float32 has them, at least two."""
    edges = np.unique(np.asarray(quantiles, np.float32))
    if len(edges) == 1:
        edges = np.array([edges[0], edges[0] + max(1.0, abs(edges[0]))], np.float32)
    return [float(str(edge)) for edge in edges]


def _without_gaps(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values), 0, values)


def _sum(raw: Tensor, of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Returns the sum over rows of what `of` makes of them as float64; some at a time, so that they are never held twice."""
    total = np.zeros(raw.shape[1])
    for rows in raw.split(ROWS_AT_ONCE):
        # Row after row, whatever their number: the same bits for every way of cutting.
        total = np.concatenate([total[None], of(rows.double().numpy())]).sum(0)
    return total


def _quantiles(raw: Tensor, most: int) -> list[list[float]]:
    count = min(most, len(raw))
    shares = np.linspace(0, 1, max(2, count))
    rows = []
    for column in (one.double().numpy() for one in raw.T):
        present = column[~np.isnan(column)]
        rows.append(np.quantile(present, shares).tolist() if len(present) else np.zeros(len(shares)).tolist())
    return rows
