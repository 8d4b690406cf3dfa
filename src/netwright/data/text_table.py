"""Texts in a column of tables: delimited files and Parquet, one or a folder of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from netwright.data.delimited import is_table, read_sheet, some
from netwright.data.labels import encode, read_targets
from netwright.data.part_files import find_parts
from netwright.data.source import Source
from netwright.data.text import TextOptions
from netwright.data.text_files import note_empty
from netwright.data.text_parts import TextPart
from netwright.errors import DataError


def read_text_table(
    path: Path,
    options: TextOptions,
    *,
    table: Mapping[str, Any],
    target: str | None,
    classes: Any,
    unreadable: float,
) -> Source:
    """Returns the texts in the column `options.column` with what the column `target` says of them.

    `table` may have `encoding`, `header`, `separator` and `gaps`, as `read_sheet` takes them. Strings, whole numbers and booleans are classes, other numbers are predicted as numbers. Rows whose text or target is
    missing, and texts of nothing but white space, are left out and counted. Of a folder's files those named train-…,
    validation-… and test-…, or in folders so named, are parts. Raises DataError.
    """
    if "encoding" in table:
        options = replace(options, encoding=table["encoding"])
    reading = {name: table[name] for name in ("header", "separator", "gaps") if name in table}
    reading |= {"encoding": options.encoding, "unreadable": unreadable}
    found = Source(path.stem if path.is_file() else path.name, "text", {}, None, image=False)
    texts: dict[str, list[str]] = {}
    names: dict[str, list[str]] = {}
    targets: dict[str, np.ndarray] = {}
    parts = find_parts(path, is_table)
    for part, files in parts.items():
        texts[part], names[part], values = [], [], []
        for file in files:
            some_texts, some_targets, rows = _read(
                file, options, target=target, reading=reading, notes=found.notes
            )
            texts[part] += some_texts
            values.append(some_targets)
            names[part] += [
                f"row {row:,}" if len(files) == 1 else f"{file.name}, row {row:,}" for row in rows
            ]
        targets[part] = _joined(values, where=f"{path}, {target}")
        if not texts[part]:
            raise DataError(f"{path}: expected texts with a target in {part}, came none")
    _check_not_names(targets["train"], where=f"{path}, column {target!r}")
    if classes is not None and all(
        set(map(str, values.tolist())) <= set(classes) for values in targets.values()
    ):
        targets = {
            part: values.astype(str) for part, values in targets.items()
        }  # by name, and not by their places
    encoded, found.classes, notes = encode(targets, classes, name=f"{found.name}, column {target!r}")
    found.notes += notes
    found.parts = {part: TextPart(tuple(texts[part]), encoded[part], tuple(names[part])) for part in texts}
    found.paths = tuple(str(file) for files in parts.values() for file in files)
    found.entries = {"text": options.entries(), "unit": "line"}
    return found


def _read(
    file: Path, options: TextOptions, *, target: str | None, reading: Mapping[str, Any], notes: list[str]
) -> tuple[list[str], np.ndarray, list[int]]:
    """Returns texts, targets and numbers of the rows that have both."""
    sheet = read_sheet(file, **reading)
    assert options.column is not None
    if target is None:
        raise DataError(
            f"{file}: expected to be told which column to predict: --target COLUMN (data.target).\nColumns: {some(sheet.names)}"
        )
    written, wanted = sheet.column(options.column), sheet.column(target)
    if options.column == target:
        raise DataError(f"{file}: {target!r} is the column of texts and cannot be the target as well")
    notes += sheet.notes
    texts = _strings(written, where=f"{file}, column {options.column!r}")
    there = wanted.is_valid().to_numpy(zero_copy_only=False)
    empty = [f"row {row:,}" for row, text in enumerate(texts, start=1) if text is None or not text.strip()]
    note_empty(notes, empty, len(texts) - len(empty), f" in {options.column!r}")
    if not there.all():
        notes.append(f"{int((~there).sum()):,} of {len(there):,} rows have no {target!r} and are left out")
    kept = [row for row, text in enumerate(texts) if there[row] and text is not None and text.strip()]
    values = wanted.take(np.array(kept, np.int64)) if kept else wanted.slice(0, 0)
    return (
        [str(texts[row]).strip() for row in kept],
        _targets(values, f"{file}, column {target!r}"),
        [row + 1 for row in kept],
    )


def _strings(column: Any, *, where: str) -> list[str | None]:
    from pyarrow import string, types

    if types.is_dictionary(column.type):
        column = column.cast(string())
    if not (types.is_string(column.type) or types.is_large_string(column.type)):
        raise DataError(f"{where}: expected texts, came {column.type}")
    return column.to_pylist()


def _targets(column: Any, where: str) -> np.ndarray:
    from pyarrow import string, types

    if types.is_dictionary(column.type):
        column = column.cast(string())
    return read_targets(column.to_numpy(zero_copy_only=False), where=where)


def _joined(values: list[np.ndarray], *, where: str) -> np.ndarray:
    kinds = {array.dtype.kind for array in values if len(array)}
    if len(kinds) > 1:
        raise DataError(f"{where}: expected targets of one kind in every file, came strings and numbers")
    return np.concatenate([array for array in values if len(array)] or values)


def _check_not_names(values: np.ndarray, *, where: str) -> None:
    if values.dtype.kind != "f" and len(values) > 2 and len(np.unique(values)) == len(values):
        raise DataError(
            f"{where}: expected classes that occur more than once, came another value in each of {len(values):,} rows.\n"
            "Is it a number or name of the row? Quantities need a decimal point somewhere to be predicted as numbers."
        )
