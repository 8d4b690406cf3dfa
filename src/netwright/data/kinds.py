"""Of what kind a source is, told by its name and by the names of the files in it, before anything is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netwright.data.corpus import is_corpus
from netwright.data.delimited import is_table
from netwright.data.mapped import is_arrays_folder
from netwright.data.media import holds_recordings
from netwright.data.named import datasets
from netwright.data.part_files import list_files
from netwright.data.text_files import text_unit


def kind_of(
    source: str,
    *,
    target: Any = None,
    text_column: str | None = None,
    series: Mapping[str, Any] | None = None,
) -> str | None:
    """Returns "sound" for a folder of recordings, "table" for a file or a folder of tables, or a file with a column to predict; "text" for
    texts with targets, "corpus" for a file of text; None for named sets and all else.

    `text_column`: that of a table which holds texts. `series`: what is said of one; a horizon makes a table a "series" to forecast, a
    window alone "windows" that have classes.

    >>> kind_of("people.csv"), kind_of("people.csv", text_column="letter"), kind_of("mnist")
    ('table', 'text', None)
    """
    if source in datasets:
        return None
    if text_column is not None:
        return "text"
    for entry, kind in (("horizon", "series"), ("window", "windows")):
        if (series or {}).get(entry) is not None:
            return kind
    path = Path(source).expanduser()
    if path.is_dir() and not is_arrays_folder(path) and holds_recordings(path):
        return "sound"
    if (
        is_table(path)
        or (target is not None and path.is_file())
        or (path.is_dir() and list_files(path, is_table))
    ):
        return "table"
    if is_corpus(path):
        return "corpus"
    return "text" if path.is_dir() and text_unit(path) is not None else None
