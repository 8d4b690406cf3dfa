"""Which files of a folder belong to which part: by the name of their folder, or by how their own names begin."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from netwright.data.folder import PART_NAMES
from netwright.data.images import natural_key
from netwright.errors import DataError

Takes = Callable[[Path], bool]


def list_files(folder: Path, takes: Takes) -> list[Path]:
    """Returns the files that `takes` accepts, in a folder and in its folders train, test, … in natural order."""
    try:
        places = [folder, *(entry for entry in folder.iterdir() if _names_part(entry))]
        inside = [entry for place in places for entry in place.iterdir()]
    except OSError:  # a folder that cannot be listed is told by who reads folders of images
        return []
    found = [entry for entry in inside if takes(entry) and entry.is_file()]
    return sorted(found, key=lambda entry: natural_key(str(entry)))


def _names_part(entry: Path) -> bool:
    return entry.name.lower() in PART_NAMES and entry.is_dir()


def find_parts(path: Path, takes: Takes) -> dict[str, list[Path]]:
    """Returns the files of each part: those of a folder named train, validation or test, or so beginning.

    Raises DataError where the path or its tables do not exist, and where some belong to a part by their name and
    others do not.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if path.is_file():
        return {"train": [path]}
    parts: dict[str, list[Path]] = {}
    files = list_files(path, takes)
    if not files:
        raise DataError(f"{path}: expected a table, or a folder of tables (.csv, .tsv, .parquet), came none")
    for file in files:
        by_folder = "" if file.parent == path else PART_NAMES[file.parent.name.lower()]
        by_name = PART_NAMES.get(re.split(r"[-_.]", file.name.lower())[0], "")
        parts.setdefault(by_folder or by_name, []).append(file)
    if set(parts) == {""}:
        return {"train": parts[""]}
    if "" in parts or "train" not in parts:
        listed = ", ".join(f"{len(files)} of {part or 'no part'}" for part, files in parts.items())
        ending = next(iter(parts.values()))[0].suffix
        raise DataError(
            f"{path}: expected files of train (and of validation and test) by their names, as train-0{ending} and "
            f"test-0{ending}, or none named so; came {listed}"
        )
    return parts
