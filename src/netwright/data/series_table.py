"""The rows of a table as series: in the order of their times, one series behind the other, every decision counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from netwright.data.columns import Column, as_category, dates, look_at, numbers
from netwright.data.delimited import Sheet, near, some
from netwright.data.pace import Pace, find_pace
from netwright.errors import DataError

# Up to this share of other cells a column of text is one of numbers; the others count as gaps.
STRAY = 0.01


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one or several series: row `starts[s]` is the first of series `s`, `starts[s + 1]` the first behind it.

    `order` (T,) int64 are their places in the file, `times` (T,) float64 seconds since 1970, numbers, or places where there
    is no time; ascending within a series. `names` has one for each series; empty where there is one series without a name.
    """

    sheet: Sheet
    order: np.ndarray
    times: np.ndarray
    starts: np.ndarray
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.order)

    def numbers(self, names: Sequence[str]) -> np.ndarray:
        """Returns (T, C) float64 of these columns, NaN for gaps."""
        if not names:
            return np.zeros((len(self), 0))
        return np.stack([numbers(self.sheet.column(name))[self.order] for name in names], axis=1)

    def cells(self, name: str) -> Any:
        """Returns the cells of a column in this order, as pyarrow holds them."""
        import pyarrow

        return self.sheet.column(name).take(pyarrow.array(self.order))

    def series(self) -> list[tuple[str, slice]]:
        """Returns the name and the rows of each series."""
        names = self.names or ("",) * (len(self.starts) - 1)
        return [(name, slice(int(a), int(b))) for name, a, b in zip(names, self.starts, self.starts[1:])]

    def first_of_each(self, count: int) -> Rows:
        """Returns the first `count` rows of each series."""
        kept = np.concatenate(
            [np.arange(span.start, min(span.stop, span.start + count)) for _, span in self.series()]
        )
        return self._kept(np.isin(np.arange(len(self)), kept))

    def _kept(self, keep: np.ndarray) -> Rows:
        before = np.concatenate([[0], np.cumsum(keep)])
        return replace(self, order=self.order[keep], times=self.times[keep], starts=before[self.starts])


def find_time(sheet: Sheet, name: str | None, notes: list[str]) -> str | None:
    """Returns the column of times: that which is named, or else the only one of dates."""
    if name is not None:
        sheet.column(name)
        return name
    looked = [
        look_at(sheet, [column], {})[0][0] for column in sheet.names if not _is_numeric(sheet.column(column))
    ]
    dated = [column.name for column in looked if column.kind == "date"]
    if len(dated) == 1:
        notes.append(f"the time is {dated[0]}, the only column of dates")
        return dated[0]
    if dated:
        raise DataError(
            f"{sheet.where}: expected to be told which column is the time, of {some(dated)}: --time COLUMN (data.time)"
        )
    notes.append("no column is the time: rows are taken in the order of the file")
    return None


def read_rows(
    sheet: Sheet, *, time: str | None, group: str | None, unreadable: float, notes: list[str], form: str = ""
) -> tuple[Rows, Pace]:
    """Returns the rows in the order of their times, and how far apart they are.

    Rows without a time, or without a name of their series, are left out; of rows with the same time the last one in the file is
    kept; both up to the share `unreadable` of the rows. `form`: that of dates in text, if it is known. Raises DataError.
    """
    if time == group and time is not None:
        raise DataError(f"{sheet.where}: {time!r} cannot be the time and the name of the series too")
    times, dated, form = _read_times(sheet, time, form)
    codes, names = _read_groups(sheet, group)
    there = np.isfinite(times) & (codes >= 0)
    _leave_out(sheet, there, np.isnan(times), f"no time ({time})", unreadable, notes)
    _leave_out(sheet, there, codes < 0, f"no name of their series ({group})", unreadable, notes)
    places = np.flatnonzero(there)
    back = np.diff(times[places][np.argsort(codes[places], kind="stable")])
    same = np.diff(np.sort(codes[places])) == 0
    unsorted = int((back[same] < 0).sum())
    if unsorted:
        notes.append(
            f"the rows are not in the order of {time}: {unsorted:,} come before the one above them; sorted"
        )
    order = places[np.lexsort((places, times[places], codes[places]))]
    rows = Rows(sheet, order, times[order], np.searchsorted(codes[order], np.arange(len(names) + 1)), names)
    if group is None:
        rows = replace(rows, names=())
    rows = _without_repeats(rows, time, group, unreadable, notes)
    return rows, _tell_pace(rows, time, dated, form, notes)


def _read_times(sheet: Sheet, name: str | None, form: str) -> tuple[np.ndarray, bool, str]:
    """Returns (N,) float64 times, whether they are dates, and the format of these."""
    if name is None:
        return np.arange(len(sheet), dtype=np.float64), False, ""
    cells = sheet.column(name)
    if _is_numeric(cells):
        return numbers(cells), False, ""
    column = Column(name, "date", format=form) if form else look_at(sheet, [name], {})[0][0]
    if column.kind != "date":
        raise DataError(
            f"{sheet.where}: expected dates or numbers in column {name!r}, the time, came {column.why or column.kind}"
        )
    return dates(cells, column), True, column.format


def _read_groups(sheet: Sheet, name: str | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns the number (N,) int64 of each row's series, -1 for none, and the series' names."""
    if name is None:
        return np.zeros(len(sheet), np.int64), ("",)
    coded = sheet.column(name).dictionary_encode()
    named = [as_category(value) for value in coded.dictionary.to_pylist()]
    number = {value: place for place, value in enumerate(dict.fromkeys(named))}
    numbered = np.array([*(number[value] for value in named), -1], np.int64)
    return numbered[coded.indices.fill_null(len(named)).to_numpy(zero_copy_only=False)], tuple(number)


def _leave_out(
    sheet: Sheet, there: np.ndarray, wrong: np.ndarray, what: str, unreadable: float, notes: list[str]
) -> None:
    count = int(wrong.sum())
    if not count:
        return
    said = f"{count:,} of {len(sheet):,} rows have {what}"
    if count > unreadable * len(sheet) or not there.any():
        raise DataError(
            f"{sheet.where}: {said}, more than the {unreadable:.0%} that may be left out.\n"
            "Mend them, or allow more: --set data.unreadable=0.1"
        )
    notes.append(f"{said} and are left out")


def _without_repeats(
    rows: Rows, time: str | None, group: str | None, unreadable: float, notes: list[str]
) -> Rows:
    last = np.append(rows.times[1:] != rows.times[:-1], True)
    last[rows.starts[1:] - 1] = True
    repeats = int((~last).sum())
    if not repeats:
        return rows
    said = f"{repeats:,} of {len(rows):,} rows have the {time} of another row{' of their series' if group else ''}"
    if repeats > unreadable * len(rows):
        hint = (
            ""
            if group
            else " Several series in one table? Name the column that tells them apart: --set data.group=COLUMN\n"
        )
        raise DataError(
            f"{rows.sheet.where}: {said}, more than the {unreadable:.0%} that may be left out.\n{hint}"
            "Mend them, or allow more: --set data.unreadable=0.1"
        )
    notes.append(f"{said}: the last in the file is kept, the others are left out")
    return rows._kept(last)


def _tell_pace(rows: Rows, time: str | None, dated: bool, form: str, notes: list[str]) -> Pace:
    if time is None:
        return Pace("rows", 1.0)
    pace, others, longest = find_pace([rows.times[span] for _, span in rows.series()], dated=dated, form=form)
    said = f"from row to row ({time}): {pace.describe()}"
    if others:
        said += (
            f"; {others:,} of {len(rows) - len(rows.starts) + 1:,} steps are others, the longest "
            f"{replace(pace, size=longest).describe()}: windows go over them as if they were not"
        )
    notes.append(said)
    return pace


def numeric_columns(sheet: Sheet, names: Sequence[str], *, asked: bool, notes: list[str]) -> list[str]:
    """Returns the columns that hold numbers; others are left out and told, or an error where they were `asked` for.

    Text is a column of numbers if at most one cell in a hundred is none; these cells count as gaps. Raises DataError.
    """
    kept, out = [], []
    for name in names:
        why = _why_not_numeric(sheet, name, notes)
        if not why:
            kept.append(name)
        elif asked:
            raise DataError(f"{sheet.where}: expected numbers in column {name!r}, came {why}")
        else:
            out.append(f"{name} ({why})")
    if out:
        notes.append(f"left out: {some(out)}")
    return kept


def _why_not_numeric(sheet: Sheet, name: str, notes: list[str]) -> str:
    if name not in sheet.names:
        raise DataError(
            f"{sheet.where}: no column {name!r}{near(name, sheet.names)}\nColumns: {some(sheet.names)}"
        )
    cells = sheet.column(name)
    if cells.null_count == len(cells):
        return "nothing but gaps"
    if not _is_numeric(cells) and not _is_text(cells):
        return f"{cells.type}"
    values = numbers(cells)
    if not np.isfinite(values).any():
        return f"text such as {cells.drop_null()[0].as_py()!r}" if _is_text(cells) else "no finite number"
    strays = int(np.isnan(values).sum()) - cells.null_count
    if _is_text(cells) and strays > STRAY * (len(cells) - cells.null_count):
        return f"text such as {_first_stray(cells, values)!r}"
    if strays:
        notes.append(f"{name}: {strays:,} cells are no finite numbers and count as gaps")
    return ""


def _first_stray(cells: Any, values: np.ndarray) -> str:
    stray = np.isnan(values) & cells.is_valid().to_numpy(zero_copy_only=False)
    return cells[int(np.flatnonzero(stray)[0])].as_py()


def _is_numeric(cells: Any) -> bool:
    from pyarrow import types

    kind = cells.type
    return (
        types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_boolean(kind)
    )


def _is_text(cells: Any) -> bool:
    from pyarrow import types

    return types.is_string(cells.type) or types.is_large_string(cells.type)


def filled_forward(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Returns (T, C) with each NaN replaced by the last number above it in its series; those that have none stay NaN.

    >>> filled_forward(np.array([[np.nan], [1.0], [np.nan], [np.nan]]), np.array([0, 3, 4])).ravel().tolist()
    [nan, 1.0, 1.0, nan]
    """
    first = np.repeat(starts[:-1], np.diff(starts))[:, None]
    there = np.where(np.isnan(values), -1, np.arange(len(values))[:, None])
    last = np.maximum.accumulate(there, axis=0) if len(values) else there
    taken = np.take_along_axis(values, np.maximum(last, 0), axis=0)
    return np.where(last >= first, taken, np.nan)
