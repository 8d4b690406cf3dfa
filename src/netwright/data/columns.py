"""What the columns of a table hold, by stated rules, and how their cells become numbers.

A column used as input becomes one or several float32 numbers a row, NaN for a gap; a category becomes the number of its
place in the column's list of categories, after two that every column has: GAP and UNKNOWN.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from netwright.data.delimited import Sheet, near, some, whole
from netwright.errors import DataError

KINDS = ("number", "boolean", "category", "date", "text", "id", "skip")
GAP, UNKNOWN, FIRST = 0, 1, 2
# A column of words with at most this share of other cells counts as what the rest is; the others become gaps.
STRAY = 0.05
# What a date becomes; the last two only where some dates have a time of day.
DATE_PARTS = ("day", "year sine", "year cosine", "week sine", "week cosine", "hour sine", "hour cosine")
_SECONDS = {"day": 86400.0, "year": 365.2425 * 86400, "week": 7 * 86400.0}
# 1970-01-01 was a Thursday.
_MONDAY = -3 * 86400.0
_FORMATS = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%Y%m%d")
_TIMES = ("", " %H:%M", " %H:%M:%S", "T%H:%M:%S")


@dataclass(frozen=True)
class Column:
    """One column as it is read.

    `kind` is one of KINDS; `why` says, for people, why it is left out. `centre` is taken from a number, or from a date's seconds since
    1970, before it becomes float32, which has 7 digits. `categories` are ordered by how often they come.
    `format` is that of dates in text, `timed` says whether they have a time of day.
    """

    name: str
    kind: str
    why: str = ""
    centre: float = 0.0
    categories: tuple[str, ...] = ()
    format: str = ""
    timed: bool = False

    @property
    def width(self) -> int:
        """How many float32 numbers a cell becomes."""
        if self.kind == "date":
            return len(DATE_PARTS) if self.timed else len(DATE_PARTS) - 2
        return 1 if self.kind in ("number", "boolean", "category") else 0

    def to_dict(self) -> dict[str, Any]:
        """Returns what `from_dict` takes, in JSON's own types, without what is empty."""
        entries = {key: value for key, value in asdict(self).items() if value or key in ("name", "kind")}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in entries.items()}

    @staticmethod
    def from_dict(entries: Mapping[str, Any]) -> Column:
        return Column(**{**entries, "categories": tuple(entries.get("categories", ()))})


def look_at(sheet: Sheet, names: Sequence[str], asked: Mapping[str, str]) -> tuple[list[Column], list[str]]:
    """Returns the columns of these names as they are to be read, and what was decided.

    `asked` has the kind that the person wants for some. Raises DataError for a kind or a name that is not known.
    """
    for name, kind in asked.items():
        if kind not in KINDS:
            raise DataError(
                f"table.kinds: expected {', '.join(KINDS)} for {name!r}, came {kind!r}{near(kind, KINDS)}"
            )
        if name not in names:
            raise DataError(
                f"table.kinds: {sheet.where} has no input column {name!r}{near(name, names)}\nColumns: {some(list(names))}"
            )
    notes: list[str] = []
    return [_look(name, sheet.column(name), asked.get(name), notes) for name in names], notes


def _look(name: str, cells: Any, asked: str | None, notes: list[str]) -> Column:
    from pyarrow import types

    if asked in ("text", "id", "skip"):
        return Column(name, asked, "as you say")
    if asked is not None:
        return _as_asked(name, cells, asked, notes)
    if cells.null_count == len(cells):
        return Column(name, "skip", "nothing but gaps")
    kind = cells.type
    if types.is_boolean(kind):
        return Column(name, "boolean")
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return _number(name, cells)
    if types.is_temporal(kind):
        return _date(name, cells)
    if types.is_dictionary(kind):
        return _look(name, cells.cast(kind.value_type), None, notes)
    if types.is_string(kind) or types.is_large_string(kind):
        return _words(name, cells, notes)
    return Column(name, "skip", f"of type {kind}")


def _as_asked(name: str, cells: Any, asked: str, notes: list[str]) -> Column:
    if asked == "category":
        return Column(name, "category", categories=_categories(cells))
    if asked == "date":
        found = _date_in_text(name, cells, stray=1.0) if _is_text(cells) else _date(name, cells)
        if found is None:
            raise DataError(f"column {name!r}: expected dates, came {_first_present(cells)!r}")
        return found
    strays = _strays(cells) if _is_text(cells) else None
    if strays is not None and len(strays) == len(cells) - cells.null_count:
        raise DataError(f"column {name!r}: expected numbers, came {_first_present(cells)!r}")
    _note_strays(name, "numbers", strays, notes)
    return Column(name, asked, centre=_centre(numbers(cells)))


def _number(name: str, cells: Any) -> Column:
    values = numbers(cells)
    present = values[np.isfinite(values)]
    if not len(present):
        return Column(name, "skip", "nothing but gaps")
    if (present == present[0]).all():
        return Column(name, "skip", f"always {present[0]:g}")
    if len(present) == len(values) and _counts_rows(name, present):
        return Column(name, "id", "numbers its rows")
    return Column(name, "number", centre=_centre(values))


def _counts_rows(name: str, values: np.ndarray) -> bool:
    """Whether these are the rows' own numbers: whole, all different, and without holes or with an id's name."""
    if len(values) < 20 or (values != np.rint(values)).any() or len(np.unique(values)) < len(values):
        return False
    return float(np.ptp(values)) == len(values) - 1 or _is_id_name(name)


def _is_id_name(name: str) -> bool:
    return (
        re.search(r"(^|[\W_])(id|uid|uuid|guid|index|key|nr|no|number)$|Id$|ID$", name, re.ASCII) is not None
    )


def _words(name: str, cells: Any, notes: list[str]) -> Column:
    strays = _strays(cells)
    present = len(cells) - cells.null_count
    if len(strays) <= STRAY * present:
        _note_strays(name, "numbers", strays, notes)
        return _number(name, _without(cells, strays))
    if (found := _date_in_text(name, cells, stray=STRAY)) is not None:
        missed = int(np.isnan(dates(cells, found)).sum()) - cells.null_count
        if missed:
            notes.append(f"{name}: {missed:,} cells are no dates ({found.format}) and count as gaps")
        return found
    categories = _categories(cells)
    if len(categories) == 1:
        return Column(name, "skip", f"always {categories[0]!r}")
    if len(categories) > max(20, present / 2):
        words = float(np.mean([len(text.split()) for text in categories[:1000]]))
        if words >= 3:
            return Column(name, "text", f"free text, {len(categories):,} different in {present:,}")
        return Column(name, "id", f"{len(categories):,} different in {present:,}")
    return Column(name, "category", categories=categories)


def _is_text(cells: Any) -> bool:
    from pyarrow import types

    return types.is_string(cells.type) or types.is_large_string(cells.type)


def _first_present(cells: Any) -> Any:
    return cells.drop_null()[0].as_py() if cells.null_count < len(cells) else None


def _categories(cells: Any) -> tuple[str, ...]:
    """Returns the different cells as text, the most frequent first, those of equal number in order."""
    from pyarrow import compute

    counted = compute.value_counts(cells.drop_null())
    values = [as_category(value) for value in counted.field("values").to_pylist()]
    counts = counted.field("counts").to_pylist()
    return tuple(value for _, value in sorted(zip((-count for count in counts), values)))


def as_category(value: Any) -> str:
    """Returns a cell as the text that names its category: 3.0 and 3 are one, true and True too.

    >>> as_category(3.0), as_category(True), as_category(" x ")
    ('3', 'true', 'x')
    """
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def numbers(cells: Any) -> np.ndarray:
    """Returns (N,) float64 of a column, NaN for gaps and for text that is no number; infinite numbers are gaps too."""
    from pyarrow import compute, types

    if _is_text(cells):
        cells = _without(cells, _strays(cells)).cast("float64")
    elif types.is_boolean(cells.type):
        cells = cells.cast("uint8")
    elif types.is_decimal(cells.type):
        cells = compute.cast(cells, "float64")
    values = cells.to_numpy(zero_copy_only=False).astype(np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _strays(cells: Any) -> np.ndarray:
    """Returns the places of text that is neither a number nor a gap."""
    from pyarrow import compute

    fits = compute.match_substring_regex(cells, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
    return np.flatnonzero(~fits.fill_null(True).to_numpy(zero_copy_only=False))


def _without(cells: Any, places: np.ndarray) -> Any:
    import pyarrow
    from pyarrow import compute

    keep = np.ones(len(cells), bool)
    keep[places] = False
    blank = compute.if_else(pyarrow.array(keep), cells, pyarrow.scalar(None, cells.type))
    return whole(
        compute.if_else(compute.starts_with(blank, "+"), compute.utf8_slice_codeunits(blank, 1), blank)
    )


def _note_strays(name: str, what: str, places: np.ndarray | None, notes: list[str]) -> None:
    if places is not None and len(places):
        notes.append(f"{name}: {len(places):,} cells are no {what} and count as gaps")


def _centre(values: np.ndarray) -> float:
    """Returns what to take from numbers so that float32 tells them apart: 0 where it does anyhow."""
    present = values[np.isfinite(values)]
    if not len(present):
        return 0.0
    middle = float(np.median(present))
    spread = float(np.std(present))
    return middle if abs(middle) > 1000 * spread else 0.0


# Dates


def _date(name: str, cells: Any) -> Column:
    return _dated(name, dates(cells, Column(name, "date")), "")


def _dated(name: str, seconds: np.ndarray, form: str) -> Column:
    present = seconds[np.isfinite(seconds)]
    if not len(present):
        return Column(name, "skip", "nothing but gaps")
    if (present == present[0]).all():
        return Column(name, "skip", "always the same date")
    timed = bool((present % 86400 != 0).any())
    return Column(name, "date", centre=float(np.median(present)), format=form, timed=timed)


def _date_in_text(name: str, cells: Any, *, stray: float) -> Column | None:
    """Returns the column with the first format that most cells have; None if they are no dates."""
    present = cells.drop_null()
    if not len(present) or not re.search(r"\d", present[0].as_py()):
        return None
    few = present[:1000]
    for form in (day + time for day in _FORMATS for time in _TIMES):
        if stray < 1 and not np.isfinite(_parsed(few, form)).any():
            continue  # without a look at all of them
        read = _parsed(present, form)
        if len(read) - np.isfinite(read).sum() <= stray * len(read) and np.isfinite(read).any():
            return _dated(name, read, form)
    return None


def _parsed(cells: Any, form: str) -> np.ndarray:
    from pyarrow import compute

    read = compute.strptime(cells, format=form, unit="s", error_is_null=True)
    return _seconds(read)


def _seconds(stamps: Any) -> np.ndarray:
    values = stamps.cast("timestamp[us]").cast("int64").to_numpy(zero_copy_only=False)
    return values.astype(np.float64) / 1e6


def dates(cells: Any, column: Column) -> np.ndarray:
    """Returns (N,) float64 seconds since 1970 (UTC where no zone is given), NaN for gaps and what is no date."""
    from pyarrow import types

    if _is_text(cells):
        return _parsed(cells, column.format or "%Y-%m-%d")
    if types.is_time(cells.type) or types.is_duration(cells.type) or not types.is_temporal(cells.type):
        return np.full(len(cells), np.nan)
    return _seconds(cells)


def date_parts(seconds: np.ndarray, column: Column) -> np.ndarray:
    """Returns (N, width) float64: days from the column's centre, and sine and cosine of the time of year, week and day."""
    turns = {"year": seconds, "week": seconds - _MONDAY, "day": seconds}
    parts = [(seconds - column.centre) / 86400]
    for name in ("year", "week", "day") if column.timed else ("year", "week"):
        angle = 2 * math.pi * np.mod(turns[name] / _SECONDS[name], 1.0)
        parts += [np.sin(angle), np.cos(angle)]
    return np.stack(parts, axis=1)


# Cells to numbers


def encode(sheet: Sheet, columns: Sequence[Column]) -> np.ndarray:
    """Returns (N, D) float32 of the columns that are used: first what is no category, then the categories' numbers."""
    used = in_order(columns)
    out = np.empty((len(sheet), sum(column.width for column in used)), np.float32)
    at = 0
    for column in used:
        cells = sheet.column(column.name)
        if column.kind == "category":
            out[:, at] = _places(cells, column)
        elif column.kind == "date":
            out[:, at : at + column.width] = date_parts(dates(cells, column), column)
        else:
            out[:, at] = numbers(cells) - column.centre
        at += column.width
    return out


def in_order(columns: Sequence[Column]) -> list[Column]:
    """Returns the columns that are used, in the order of `encode`."""
    used = [column for column in columns if column.width]
    return sorted(used, key=lambda column: column.kind == "category")


def shown_cells(raw: Sequence[float], columns: Sequence[Column]) -> list[tuple[str, str]]:
    """Returns (column, cell) for people of one raw row (D,) of `encode`, for each column that is used.

    >>> shown_cells([0.5, math.nan, 3.0], [Column("age", "number", centre=30.0), Column("old", "boolean"), Column("sex", "category", categories=("f", "m"))])
    [('age', '30.5'), ('old', 'a gap'), ('sex', 'm')]
    """
    said, at = [], 0
    for column in in_order(columns):
        said.append((column.name, _shown_cell(float(raw[at]), column)))
        at += column.width
    return said


def _shown_cell(value: float, column: Column) -> str:
    if column.kind == "category":
        if int(value) == GAP:
            return "a gap"
        return column.categories[int(value) - FIRST] if int(value) >= FIRST else "never seen"
    if math.isnan(value):
        return "a gap"
    if column.kind == "boolean":
        return "true" if value > 0.5 else "false"
    if column.kind == "date":
        # float32 holds days from the centre: of decades to a minute or so.
        minutes = round((column.centre + value * _SECONDS["day"]) / 60)
        stamp = np.datetime64(minutes, "m")
        return str(stamp).replace("T", " ") if column.timed else str(stamp.astype("datetime64[D]"))
    return f"{value + column.centre:.6g}"


def _places(cells: Any, column: Column) -> np.ndarray:
    coded = cells.dictionary_encode()
    known = {name: place for place, name in enumerate(column.categories, start=FIRST)}
    places = np.array(
        [known.get(as_category(value), UNKNOWN) for value in coded.dictionary.to_pylist()], np.int64
    )
    indices = coded.indices
    missing = indices.is_null().to_numpy(zero_copy_only=False)
    out = np.full(len(cells), GAP, np.int64)
    out[~missing] = places[indices.drop_null().to_numpy()]
    return out


def encode_row(row: Mapping[str, Any], columns: Sequence[Column], gaps: Sequence[str]) -> np.ndarray:
    """Returns (D,) float32 of one row {column: cell}, as `encode` would; None and what is among `gaps` is a gap."""
    parts: list[float] = []
    for column in in_order(columns):
        cell = row[column.name]
        if isinstance(cell, str):
            cell = cell.strip()
        absent = (
            cell is None
            or (isinstance(cell, str) and cell in gaps)
            or (isinstance(cell, float) and math.isnan(cell))
        )
        if column.kind == "category":
            parts.append(float(GAP if absent else _place_of(cell, column)))
        elif column.kind == "date":
            seconds = math.nan if absent else _date_of(cell, column)
            parts += date_parts(np.array([seconds]), column)[0].tolist()
        else:
            parts.append(math.nan if absent else _number_of(cell) - column.centre)
    return np.array(parts, np.float32)


def _place_of(cell: Any, column: Column) -> int:
    try:
        return FIRST + column.categories.index(as_category(cell))
    except ValueError:
        return UNKNOWN


def _number_of(cell: Any) -> float:
    if isinstance(cell, str) and cell.lower() in ("true", "false"):
        return float(cell.lower() == "true")
    try:
        value = float(cell)
    except (TypeError, ValueError):
        return math.nan
    return value if math.isfinite(value) else math.nan


def _date_of(cell: Any, column: Column) -> float:
    if isinstance(cell, date) and not isinstance(cell, datetime):
        cell = datetime(cell.year, cell.month, cell.day)
    if isinstance(cell, str):
        try:
            cell = datetime.strptime(cell, column.format) if column.format else datetime.fromisoformat(cell)
        except ValueError:
            return math.nan
    if not isinstance(cell, datetime):
        return math.nan
    return cell.replace(tzinfo=cell.tzinfo or UTC).timestamp()
