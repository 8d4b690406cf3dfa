"""Of what kind a source is, told by its name and by the names of the files in it, before anything is read."""

from __future__ import annotations

from pathlib import Path

from netwright.data.delimited import is_table
from netwright.data.named import datasets
from netwright.data.part_files import list_files


def kind_of(source: str, target: str | None = None) -> str | None:
    """Returns "table" for a file or a folder of tables, or a file with a column to predict; None for named sets and all else.

    >>> kind_of("people.csv"), kind_of("mnist")
    ('table', None)
    """
    if source in datasets:
        return None
    path = Path(source).expanduser()
    if (
        is_table(path)
        or (target is not None and path.is_file())
        or (path.is_dir() and list_files(path, is_table))
    ):
        return "table"
    return None
