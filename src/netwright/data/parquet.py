"""Parquet files, one or a folder of them: columns of numbers to rows of features, one column to targets.

A row of a Parquet file cannot be read by itself: its row group (some thousand to a million rows) is decoded
whole. So an epoch takes the row groups in random order, several of them (up to POOL_BYTES as float32) at a time as
one pool, and visits the rows of a pool in random order. Memory holds one pool and one group, however large the set.

How well this shuffles a file that is sorted: a batch sees the groups of one pool only. With k groups in a pool the mean
over a batch of b rows of anything that the file is sorted by spreads as if its k groups were drawn first: by
about s / sqrt(k) beside the s / sqrt(b) of a full shuffle, s the spread of a single row. Files in random order lose nothing.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netwright.data.delimited import first_line, import_pyarrow, near, some
from netwright.data.labels import check_finite, encode
from netwright.data.memory import Stream, choose_stream, size_in_words
from netwright.data.order import epoch_order
from netwright.data.part_files import find_parts, list_files
from netwright.data.source import Part, Source, StreamPart
from netwright.data.stamps import check_stamp, stamp_of
from netwright.data.survey import survey
from netwright.errors import DataError

POOL_BYTES = 1 << 26


def is_parquet(path: Path) -> bool:
    """Says whether a path is a .parquet file, or a folder that holds some (or whose folders train, test, … do).

    >>> is_parquet(Path("there is no such.parquet"))
    False
    """
    if path.is_file():
        return has_parquet_name(path)
    return path.is_dir() and bool(list_files(path, has_parquet_name))


def has_parquet_name(path: Path) -> bool:
    """Says whether a file is Parquet by its name."""
    return path.suffix.lower() == ".parquet"


@dataclass(frozen=True)
class Group:
    """One row group: which of a file's it is, and how many rows it has."""

    file: int
    number: int
    rows: int


def read_parquet(
    path: Path, *, target: str | None, features: Sequence[str] | None, classes: Any, stream: Stream
) -> Source:
    """Returns the rows of Parquet files, features (D,) float32, in memory or on disk; raises DataError.

    Integers, booleans and strings in the column `target` are classes, floats are numbers. `features` names the
    columns to use (default: all others); each holds numbers, booleans, or lists of numbers of one length.
    """
    found = Source(path.stem if path.is_file() else path.name, "parquet", {}, None, image=False)
    tables = {
        part: Table(files, target=target, features=features)
        for part, files in find_parts(path, has_parquet_name).items()
    }
    _check_same_columns(tables)
    streamed, why = choose_stream(
        stream, sum(len(table) * table.row_bytes for table in tables.values()), str(path)
    )
    targets = {part: table.targets() for part, table in tables.items()}
    encoded, found.classes, notes = encode(
        {part: labels if len(labels) else codes for part, (codes, labels) in targets.items()},
        classes,
        name=found.name,
    )
    for part, table in tables.items():
        codes, labels = targets[part]
        y = encoded[part][torch.from_numpy(codes)] if len(labels) else encoded[part]
        found.parts[part] = _streamed(table, y) if streamed else _held(table, y)
    found.notes += [*notes, *([why] if why else []), *(tables["train"].story() if streamed else [])]
    found.paths = tuple(str(file) for table in tables.values() for file in table.files)
    found.entries = {"stream": streamed}
    return found


def holds_numbers(path: Path, target: str | None, features: Sequence[str] | None) -> bool:
    """Says whether all columns but the target are numbers, booleans or lists, without gaps as far as the files say."""
    for file in (file for files in find_parts(path, has_parquet_name).values() for file in files):
        opened = _open(file)
        with opened:
            schema, groups = opened.schema_arrow, opened.metadata
            chosen = [
                name for name in schema.names if name != target and (features is None or name in features)
            ]
            if not all(_is_numbers(schema.field(name).type) for name in chosen):
                return any(_nested(schema.field(name).type) for name in chosen)
            if any(_nested(schema.field(name).type) for name in chosen):
                continue
            places = [place for place, name in enumerate(schema.names) if name in chosen]
            for group in range(groups.num_row_groups):
                for place in places:
                    counted = groups.row_group(group).column(place).statistics
                    if counted is not None and counted.null_count:
                        return False
    return True


def _check_same_columns(tables: dict[str, Table]) -> None:
    train = tables["train"]
    for table in tables.values():
        if table.columns != train.columns or table.shape != train.shape:
            raise DataError(
                f"{table.where}: expected the {train.shape[0]} features of {train.where}, came {table.shape[0]}: "
                f"{some(list(table.columns))}"
            )


def _streamed(table: Table, targets: Tensor) -> StreamPart:
    try:
        seen = survey(table, table.where)
    except DataError:
        table.check_present()  # says which columns have gaps, where gaps are what was found
        raise
    return StreamPart(table, torch.arange(len(table)), targets, seen)


def _held(table: Table, targets: Tensor) -> Part:
    inputs = table.read(torch.arange(len(table)))
    if not bool(inputs.isfinite().all()):
        table.check_present()
        check_finite(inputs.numpy(), where=f"{table.where}, as float32")
    return Part(inputs, targets, owned=True)


class Table:
    """The files of one part, with the columns that are read; a Reader of their rows.

    Raises DataError for a file that is damaged, empty or of other columns than the first, and for a column that is
    missing or holds no numbers.
    """

    by_processes = False
    dtype = torch.float32

    def __init__(self, files: Sequence[Path], *, target: str | None, features: Sequence[str] | None) -> None:
        self.files = tuple(files)
        self.where = str(files[0].parent if len(files) > 1 else files[0])
        self.stamps = tuple(stamp_of(file) for file in files)
        self.groups: list[Group] = []
        schema: Any = None
        for number, file in enumerate(files):
            opened = _open(file)
            with opened:
                found = opened.schema_arrow.remove_metadata()
                if schema is None:
                    schema = found
                    self.target, self.columns = choose_columns(file, schema, target, features)
                self._check_alike(file, schema, found)
                sizes = [opened.metadata.row_group(g).num_rows for g in range(opened.num_row_groups)]
            self.groups += [Group(number, g, size) for g, size in enumerate(sizes) if size]
        if not self.groups:
            raise DataError(f"{self.where}: expected rows, came none")
        self.target_type = schema.field(self.target).type
        self.starts = np.concatenate([[0], np.cumsum([group.rows for group in self.groups])])
        self.widths: dict[str, int] = {}
        self._held: OrderedDict[int, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()
        self._open_file: tuple[int, Any] | None = None
        self.shape: tuple[int, ...] = ()
        self.shape = self._decode(0).shape[1:]
        self.row_bytes = 4 * self.shape[0]

    def _check_alike(self, file: Path, schema: Any, found: Any) -> None:
        for name in (self.target, *self.columns):
            if name not in found.names or found.field(name).type != schema.field(name).type:
                came = found.field(name).type if name in found.names else "none"
                raise DataError(
                    f"{file}: expected column {name!r} as {schema.field(name).type}, as in {self.files[0]}; came {came}"
                )

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": OrderedDict(), "_lock": None, "_open_file": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= {**state, "_lock": threading.Lock()}

    def check_unchanged(self) -> None:
        for file, stamp in zip(self.files, self.stamps, strict=True):
            check_stamp(file, stamp)

    def pools(self, rows: Tensor, *, seed: int, epoch: int) -> Tensor:
        """Returns (len(rows),) int64, the place in the epoch of the pool that each row is read in."""
        order = epoch_order(len(self.groups), seed=seed, epoch=epoch).numpy()
        pool_of = np.empty(len(self.groups), np.int64)
        pool, filled = 0, 0
        for group in order.tolist():
            size = self.groups[group].rows * self.row_bytes
            if filled and filled + size > POOL_BYTES:
                pool, filled = pool + 1, 0
            pool_of[group], filled = pool, filled + size
        return torch.from_numpy(pool_of[self._group_of(rows.numpy())])

    def _group_of(self, rows: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.starts, rows, side="right") - 1

    def read(self, rows: Tensor) -> Tensor:
        places = rows.numpy()
        wanted = torch.empty(len(places), *self.shape)
        out = wanted.numpy()
        groups = self._group_of(places)
        with self._lock:
            # Those that are held first: reading another one may push them out.
            for group in sorted(np.unique(groups).tolist(), key=lambda group: group not in self._held):
                chosen = np.flatnonzero(groups == group)
                out[chosen] = self._group(group)[places[chosen] - self.starts[group]]
        return wanted

    def _group(self, group: int) -> np.ndarray:
        if group in self._held:
            self._held.move_to_end(group)
            return self._held[group]
        values = self._decode(group)
        held = sum(array.nbytes for array in self._held.values())
        while self._held and held > POOL_BYTES:
            held -= self._held.popitem(last=False)[1].nbytes
        self._held[group] = values
        return values

    def _decode(self, group: int) -> np.ndarray:
        """Returns the features of one row group, (rows, D) float32; missing values are NaN."""
        import pyarrow

        columns = self._columns(group, self.columns)
        if not self.shape:
            return np.concatenate(
                [self._numbers(*pair, group) for pair in zip(self.columns, columns)], axis=1
            )
        out, at = np.empty((self.groups[group].rows, *self.shape), np.float32), 0
        for name in self.columns:  # each column is let go as soon as it is copied
            values = self._numbers(name, columns.pop(0), group)
            out[:, at : at + values.shape[1]] = values
            at += values.shape[1]
        pyarrow.default_memory_pool().release_unused()
        return out

    def _columns(self, group: int, names: Sequence[str]) -> list[Any]:
        import pyarrow

        entry = self.groups[group]
        file = self.files[entry.file]
        check_stamp(file, self.stamps[entry.file])
        try:
            table = self._opened(entry.file).read_row_group(
                entry.number, columns=list(names), use_threads=False
            )
        except (OSError, pyarrow.ArrowException) as error:
            raise DataError(
                f"{file}: row group {entry.number} cannot be read ({first_line(error)})"
            ) from None
        return [table.column(name).combine_chunks() for name in names]

    def _opened(self, number: int) -> Any:
        """Returns a file of this part, open: the last one asked for stays so, since its footer takes long to read."""
        if self._open_file is None or self._open_file[0] != number:
            if self._open_file is not None:
                self._open_file[1].close()
            self._open_file = number, _open(self.files[number])
        return self._open_file[1]

    def _numbers(self, name: str, column: Any, group: int) -> np.ndarray:
        """Returns (rows, width) float32 of a column of numbers, booleans, or lists of them of one length."""
        from pyarrow import types

        if not _nested(column.type):
            return _floats(column)[:, None]
        missing = _mask(column)
        if types.is_fixed_size_list(column.type):
            return _spread(column, missing, column.type.list_size)
        lengths = column.value_lengths().to_numpy(zero_copy_only=False)
        present = lengths[~missing]
        width = self.widths.setdefault(name, int(present[0]) if len(present) else 1)
        if (present != width).any():
            row = int(np.flatnonzero(~missing & (lengths != width))[0])
            raise DataError(
                f"{self._where(group, row)}: expected lists of {width} numbers in column {name!r}, as in the first "
                f"row, came {int(lengths[row])}"
            )
        return _spread(column, missing, width)

    def _where(self, group: int, row: int) -> str:
        entry = self.groups[group]
        before = sum(other.rows for other in self.groups[:group] if other.file == entry.file)
        return f"{self.files[entry.file]}, row {before + row}"

    def targets(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns (codes (N,) int64, distinct labels), or, of float targets, ((N,) float32, none).

        Raises DataError for missing targets, and for a type that is neither label nor number.
        """
        from pyarrow import types as kinds

        self._check_targets()
        kind = self.target_type.value_type if kinds.is_dictionary(self.target_type) else self.target_type
        if kinds.is_floating(kind):
            values = [_floats(column) for column in self._each_target()]
            return np.concatenate(values), np.empty(0)
        known: dict[Any, int] = {}
        codes = np.empty(len(self), np.int64)
        for group, column in enumerate(self._each_target()):
            coded = column if kinds.is_dictionary(column.type) else column.dictionary_encode()
            ids = np.array(
                [known.setdefault(value, len(known)) for value in coded.dictionary.to_pylist()], np.int64
            )
            codes[self.starts[group] : self.starts[group + 1]] = ids[coded.indices.to_numpy()]
        # A dictionary may hold labels that no row has.
        seen = np.unique(codes)
        held = set(seen.tolist())
        labels = np.asarray([label for label, code in known.items() if code in held])
        distinct, place = np.unique(labels, return_inverse=True)
        renumbered = np.full(len(known), -1, np.int64)
        renumbered[seen] = place
        return renumbered[codes], distinct

    def _each_target(self) -> Iterator[Any]:
        return (self._columns(group, [self.target])[0] for group in range(len(self.groups)))

    def _check_targets(self) -> None:
        missing = sum(column.null_count for column in self._each_target())
        if missing:
            raise DataError(
                f"{self.where}: expected a target in every row, came {missing:,} missing in column {self.target!r}.\n"
                "Drop these rows before training."
            )

    def check_present(self) -> None:
        """Raises DataError naming the columns with missing values, and how many each has; reads every group once."""
        missing: dict[str, int] = dict.fromkeys(self.columns, 0)
        for group in range(len(self.groups)):
            for name, column in zip(self.columns, self._columns(group, self.columns), strict=True):
                missing[name] += column.null_count + (
                    column.flatten().null_count if _nested(column.type) else 0
                )
        gaps = [f"{name!r} ({count:,})" for name, count in missing.items() if count]
        if gaps:
            raise DataError(
                f"{self.where}: expected a number in every row, came "
                f"missing values in {some(gaps)} of {len(self):,} rows.\n"
                "Fill or drop them, or leave the columns out: --set data.features=[…] names those to use."
            )

    def story(self) -> list[str]:
        """Returns what must be said of the order in which these groups are visited."""
        sizes = [group.rows for group in self.groups]
        held = max(1, POOL_BYTES // (self.row_bytes * max(1, int(np.mean(sizes)))))
        if len(sizes) == 1 or held >= len(sizes):
            how = "all rows are shuffled together, in one pool"
        else:
            how = (
                f"each epoch takes the {len(sizes):,} row groups in random order and shuffles the rows of about {held} at "
                f"a time ({size_in_words(POOL_BYTES)})"
            )
        notes = [f"order: {how}"]
        largest = max(sizes) * self.row_bytes
        if largest > POOL_BYTES:
            notes.append(
                f"the largest row group takes {size_in_words(largest)} in memory, which holds it whole: write smaller ones "
                f"(row_group_size) for less memory and a better shuffle"
            )
        return notes


def choose_columns(
    file: Path, schema: Any, target: str | None, features: Sequence[str] | None
) -> tuple[str, tuple[str, ...]]:
    """Returns (target, features) of a schema; raises DataError for columns that are not there or hold no numbers."""
    names = list(schema.names)
    if target is None:
        raise DataError(
            f"{file}: expected to be told which column to predict: --target COLUMN (data.target).\n"
            f"Columns: {some(list(map(repr, names)))}"
        )
    for name in (target, *(features or ())):
        if name not in names:
            raise DataError(
                f"{file}: no column {name!r}{near(name, names)}\nColumns: {some(list(map(repr, names)))}"
            )
    if len(set(names)) < len(names):
        raise DataError(f"{file}: expected columns of different names, came {some(names)}")
    if features is not None and target in features:
        raise DataError(f"{file}: {target!r} is the target and cannot be among the features")
    if not _is_target(schema.field(target).type):
        raise DataError(
            f"{file}: expected a target of integers, booleans or strings (classes) or floats (numbers), came "
            f"{schema.field(target).type} in column {target!r}"
        )
    chosen = [name for name in names if name != target] if features is None else list(features)
    others = [
        f"{name!r} ({schema.field(name).type})" for name in chosen if not _is_numbers(schema.field(name).type)
    ]
    if others:
        raise DataError(
            f"{file}: expected columns of numbers, booleans, or lists of numbers of one length; came {some(others)}.\n"
            "Name the columns to use: --set data.features=[a, b]; or turn these into numbers first."
        )
    if not chosen:
        raise DataError(f"{file}: expected columns of features beside the target {target!r}, came none")
    return target, tuple(chosen)


def _is_target(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    strings = types.is_string(kind) or types.is_large_string(kind)
    return strings or types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind)


def _is_numbers(kind: Any) -> bool:
    from pyarrow import types

    if _nested(kind):
        kind = kind.value_type
    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)


def _nested(kind: Any) -> bool:
    from pyarrow import types

    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def _mask(column: Any) -> np.ndarray:
    return column.is_null().to_numpy(zero_copy_only=False)


def _floats(column: Any) -> np.ndarray:
    import pyarrow

    if pyarrow.types.is_boolean(column.type):
        column = column.cast(pyarrow.uint8())
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and the survey names it
        return column.to_numpy(zero_copy_only=False).astype(np.float32)


def _spread(column: Any, missing: np.ndarray, width: int) -> np.ndarray:
    """Returns (rows, width) float32 of a column of lists, NaN where a list is missing."""
    out = np.full((len(column), width), np.nan, np.float32)
    out[~missing] = _floats(column.drop_null().flatten()).reshape(-1, width)
    return out


def _open(file: Path) -> Any:
    pyarrow = import_pyarrow(file)
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(file, pre_buffer=False)
    except FileNotFoundError:
        raise DataError(f"{file}: no such file") from None
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(
            f"{file}: expected a whole Parquet file, came a damaged, cut off or other one "
            f"({file.stat().st_size:,} bytes; {first_line(error)})"
        ) from None
