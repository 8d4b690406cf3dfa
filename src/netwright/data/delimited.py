"""Delimited files (CSV, TSV) and Parquet, whole, as a pyarrow Table: what separates, how rows that do not fit are counted.

Every rule is said in a note where it decided something: which separator, whether there is a header, which rows were left
out. A cell is trimmed of white space; what is empty then, or one of GAPS, is a gap.
"""

from __future__ import annotations

import codecs
import csv
import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from netwright.errors import DataError

SUFFIXES = (".csv", ".tsv", ".tab", ".parquet")
SEPARATORS = (",", ";", "\t", "|")
GAPS = ("", "?", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "#N/A")
SAMPLE_BYTES = 1 << 16
WORDS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True, eq=False)
class Sheet:
    """A table as it was read: columns by name, gaps as nulls; `notes` has a sentence for each decision."""

    where: str
    table: Any
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return self.table.num_rows

    @property
    def names(self) -> list[str]:
        return list(self.table.column_names)

    def column(self, name: str) -> Any:
        """Returns a column as one pyarrow array; raises DataError offering the near names for one that is not there."""
        if name not in self.names:
            raise DataError(
                f"{self.where}: no column {name!r}{near(name, self.names)}\nColumns: {some(self.names)}"
            )
        return whole(self.table.column(name))


def is_table(path: Path) -> bool:
    """Says whether a file is a table by its name: .csv, .tsv, .tab or .parquet, the first three perhaps .gz.

    >>> [is_table(Path(name)) for name in ("a.CSV", "b.tsv.gz", "c.txt", "d.parquet")]
    [True, True, False, True]
    """
    name = path.name.lower().removesuffix(".gz")
    return name.endswith(SUFFIXES)


def read_sheet(
    path: Path,
    *,
    encoding: str | None = None,
    header: bool | Literal["auto"] = "auto",
    separator: str | None = None,
    gaps: Sequence[str] = GAPS,
    unreadable: float = 0.01,
) -> Sheet:
    """Returns the rows of one file of delimited text or Parquet.

    The separator is the one among comma, semicolon, tab and bar that cuts most rows alike. There is a header unless the first
    row holds a number, a gap or a name twice, or one of its cells comes again further down its column. Rows with
    too few or too many cells are left out, up to the share `unreadable` of them. Text is UTF-8 (or what a byte order
    mark says), if no `encoding` is given. Between tabs quotation marks are plain characters.

    Raises DataError: no such file, not text, another encoding, no rows, columns of one name, too many rows that do not fit.
    """
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path)
    sample = _sample(path, encoding)
    chosen = separator or _separator(path, sample.text)
    rows = _rows(sample.text, chosen)
    named = _has_header(rows, gaps) if header == "auto" else bool(header)
    notes: list[str] = []
    names = _names(path, rows[0], named, gaps, notes)
    table, wrong = _parse(path, sample.encoding, chosen, names, named, gaps)
    _check_rows(path, table, wrong, len(names), unreadable, notes)
    table = _trimmed(path, table, sample.encoding, gaps, quoted=chosen != "\t")
    if chosen != ",":
        notes.insert(0, f"cells are separated by {WORDS.get(chosen, repr(chosen))}")
    return Sheet(str(path), table, notes)


@dataclass(frozen=True)
class _Sample:
    text: str
    encoding: str


def _sample(path: Path, encoding: str | None) -> _Sample:
    """Returns the first lines of a file, decoded, and the encoding; raises DataError for what cannot be such a file."""
    pyarrow = import_pyarrow(path)
    try:
        with pyarrow.input_stream(str(path), compression="detect") as stream:
            start = stream.read(SAMPLE_BYTES)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: cannot be read ({first_line(error)})") from None
    if not start.strip():
        raise DataError(f"{path}: expected rows, came an empty file")
    marks = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    marked = next((name for mark, name in marks.items() if start.startswith(mark)), None)
    chosen = encoding or marked or "utf-8"
    try:
        codecs.lookup(chosen)
    except LookupError:
        raise DataError(
            f"{path}: unknown encoding {chosen!r}; expected a name such as utf-8 or latin-1"
        ) from None
    if chosen in ("utf-8", "utf8") and b"\0" in start:
        raise DataError(f"{path}: expected text, came a file with NUL bytes: is it a table of another kind?")
    text = start.decode(chosen, errors="replace").removeprefix("\ufeff")
    if len(start) == SAMPLE_BYTES:
        text = text.rpartition("\n")[0] or text
    return _Sample(text, chosen)


def _rows(text: str, separator: str, most: int = 1000) -> list[list[str]]:
    quoting: Any = csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL
    found = []
    try:
        for row in csv.reader(text.splitlines(keepends=True), delimiter=separator, quoting=quoting):
            if row:
                found.append(row)
            if len(found) == most:
                break
    except csv.Error:  # a cell longer than the csv module takes: what came before it is enough
        pass
    return found


def _separator(path: Path, text: str) -> str:
    if path.name.lower().removesuffix(".gz").endswith((".tsv", ".tab")):
        return "\t"
    best, found = (0.0, 1), ","
    for candidate in SEPARATORS:
        widths = Counter(len(row) for row in _rows(text, candidate, 100))
        if not widths:
            continue
        width, count = widths.most_common(1)[0]
        if width > 1 and (count / widths.total(), width) > best:
            best, found = (count / widths.total(), width), candidate
    return found


def _has_header(rows: list[list[str]], gaps: Sequence[str]) -> bool:
    first = [cell.strip() for cell in rows[0]]
    if (
        len(rows) == 1
        or len(set(first)) < len(first)
        or any(cell in gaps or _is_number(cell) for cell in first[1:])
    ):
        return False
    if _is_number(first[0]):  # a first cell may be empty: the column of row numbers that pandas writes
        return False
    for place, name in enumerate(first):
        if name and any(len(row) > place and row[place].strip() == name for row in rows[1:]):
            return False
    return True


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _names(path: Path, first: list[str], named: bool, gaps: Sequence[str], notes: list[str]) -> list[str]:
    if not named:
        notes.append(f"no header: the columns are named column1 to column{len(first)}")
        return [f"column{place}" for place in range(1, len(first) + 1)]
    names = [cell.strip() or f"column{place}" for place, cell in enumerate(first, start=1)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{path}: expected columns of different names, came {some(twice)} more than once")
    return names


def _parse(
    path: Path, encoding: str, separator: str, names: list[str], named: bool, gaps: Sequence[str]
) -> tuple[Any, list[tuple[int, int]]]:
    """Returns the table and (line of the file, number of cells) of each row that does not fit."""
    pyarrow = import_pyarrow(path)
    from pyarrow import csv as reader

    wrong: list[tuple[int, int]] = []

    def note(row: Any) -> str:
        wrong.append((row.number or 0, row.actual_columns))
        return "skip"

    def read(threads: bool) -> Any:
        wrong.clear()
        with pyarrow.input_stream(str(path), compression="detect") as stream:
            return reader.read_csv(
                stream,
                read_options=reader.ReadOptions(
                    column_names=names, skip_rows=int(named), encoding=encoding, use_threads=threads
                ),
                parse_options=reader.ParseOptions(
                    delimiter=separator,
                    quote_char=False if separator == "\t" else '"',
                    newlines_in_values=separator != "\t",
                    invalid_row_handler=note,
                ),
                convert_options=reader.ConvertOptions(
                    null_values=list(gaps), strings_can_be_null=True, true_values=TRUE, false_values=FALSE
                ),
            )

    try:
        table = read(True)
        if wrong:  # only a single thread knows the rows' numbers
            table = read(False)
    except UnicodeDecodeError as error:
        raise _not_in(path, encoding, str(error.reason)) from None
    except (OSError, pyarrow.ArrowException) as error:
        if "utf" in str(error).lower() or "unicode" in str(error).lower():
            raise _not_in(path, encoding, first_line(error)) from None
        raise DataError(f"{path}: cannot be read as a table ({first_line(error)})") from None
    return table, wrong


TRUE, FALSE = ["true", "True", "TRUE"], ["false", "False", "FALSE"]


def _check_rows(
    path: Path, table: Any, wrong: list[tuple[int, int]], width: int, unreadable: float, notes: list[str]
) -> None:
    total = table.num_rows + len(wrong)
    if not total:
        raise DataError(f"{path}: expected rows under the header, came none")
    if not wrong:
        return
    # pyarrow counts rows from 1, the header among them.
    shown = ", ".join(f"row {number} has {cells}" for number, cells in wrong[:3])
    said = f"{len(wrong):,} of {total:,} rows do not have {width} cells ({shown}{', …' if len(wrong) > 3 else ''})"
    if len(wrong) > unreadable * total:
        raise DataError(
            f"{path}: {said}, more than the {unreadable:.0%} that may be left out.\n"
            "Mend the file (is a cell with a separator in it not quoted?), or allow more: --set data.unreadable=0.1"
        )
    notes.append(f"{said} and are left out")


def _trimmed(path: Path, table: Any, encoding: str, gaps: Sequence[str], *, quoted: bool) -> Any:
    """Returns the table with text trimmed, gaps as nulls, and numbers where all text of a column is numbers."""
    import pyarrow
    from pyarrow import compute, types

    columns = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        if types.is_binary(column.type):
            raise _not_in(path, encoding, f"column {name!r}")
        if types.is_string(column.type):
            column = compute.utf8_trim_whitespace(column)
            if not quoted:
                column = _unquoted(column)
            gap = compute.is_in(column, value_set=pyarrow.array(list(gaps), pyarrow.string()))
            column = compute.if_else(gap, pyarrow.scalar(None, pyarrow.string()), column)
            column = _as_numbers(column)
        columns.append(column)
    return pyarrow.table(columns, names=table.column_names)


def _unquoted(column: Any) -> Any:
    """Takes away the quotation marks around cells, if each cell that begins with one ends with one."""
    from pyarrow import compute

    opens, ends = compute.starts_with(column, '"'), compute.match_substring_regex(column, '^".*"$')
    if not compute.any(opens).as_py() or compute.any(compute.and_not(opens, ends)).as_py():
        return column
    return compute.if_else(ends, compute.utf8_slice_codeunits(column, 1, -1), column)


def _as_numbers(column: Any) -> Any:
    import pyarrow

    for kind in (pyarrow.int64(), pyarrow.float64()):
        try:
            return column.cast(kind)
        except pyarrow.ArrowException:
            continue
    return column


def _read_parquet(path: Path) -> Sheet:
    pyarrow = import_pyarrow(path)
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(
            f"{path}: expected a whole Parquet file, came a damaged, cut off or other one ({first_line(error)})"
        ) from None
    if not table.num_rows:
        raise DataError(f"{path}: expected rows, came none")
    if len(set(table.column_names)) < table.num_columns:
        raise DataError(f"{path}: expected columns of different names, came {some(table.column_names)}")
    return Sheet(str(path), table, [])


def _not_in(path: Path, encoding: str, why: str) -> DataError:
    """Returns the error for a file that is not in this encoding, naming the first line that is not."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError as error:
                byte = line[error.start]
                return DataError(
                    f"{path}: expected text in {encoding}, came byte 0x{byte:02x} in line {number}.\n"
                    "Name its encoding: --set table.encoding=latin-1 (or cp1252, utf-16, …)"
                )
            except UnicodeError:
                break
    return DataError(f"{path}: expected text in {encoding}; it cannot be read so ({why})")


def whole(column: Any) -> Any:
    """Returns a column as one array, whatever chunks it lies in."""
    import pyarrow

    combined = column.combine_chunks() if isinstance(column, pyarrow.ChunkedArray) else column
    # An older pyarrow gives a chunked array of one chunk back.
    return combined.chunk(0) if isinstance(combined, pyarrow.ChunkedArray) else combined


def import_pyarrow(path: Path) -> Any:
    """Returns pyarrow; raises DataError naming the extra where it is not installed."""
    try:
        import pyarrow
    except ImportError:
        raise DataError(
            f"{path}: reading tables needs pyarrow, which is not installed: pip install 'netwright[tables]'"
        ) from None
    return pyarrow


def first_line(error: BaseException) -> str:
    """Returns what an error says, in at most 160 characters."""
    return (str(error).splitlines() or [type(error).__name__])[0][:160]


def near(name: str, names: Sequence[str]) -> str:
    """Returns `: did you mean 'x'?` with the near names, or a full stop.

    >>> near("Age", ["age", "sex"]), near("y", ["age"])
    (": did you mean 'age'?", '.')
    """
    folded = {other.casefold(): other for other in names}
    found = [folded[key] for key in difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.6)]
    return f": did you mean {' or '.join(map(repr, found))}?" if found else "."


def some(names: Sequence[str]) -> str:
    """Returns the first ten names, and how many there are if there are more."""
    return ", ".join(names[:10]) + (f", … ({len(names):,} in all)" if len(names) > 10 else "")
