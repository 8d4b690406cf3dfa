"""Which files in a folder are examples: pictures, recordings or texts, told by the ending of their names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from netwright.data.images import SUFFIXES, list_files, walk_files
from netwright.errors import DataError

SOUND_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au"})

TEXT_SUFFIXES = frozenset({".txt", ".text"})


@dataclass(frozen=True)
class Medium:
    """A kind of file: what one and what several of them are called, and the endings of their names.

    >>> PICTURES.named("a/b.JPG"), RECORDINGS.named("a/b.JPG")
    (True, False)
    """

    one: str
    many: str
    suffixes: frozenset[str]

    def named(self, path: str | os.PathLike[str]) -> bool:
        """Says whether a file's name is that of such a file."""
        return os.path.splitext(os.fspath(path))[1].lower() in self.suffixes


PICTURES = Medium("picture", "images", SUFFIXES)
RECORDINGS = Medium("recording", "recordings", SOUND_SUFFIXES)
TEXTS = Medium("text", "texts", TEXT_SUFFIXES)


def find_inputs(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], medium: Medium = PICTURES
) -> list[Path]:
    """Returns the files behind these paths: files as they are, folders with all they hold, in natural order.

    Raises DataError for a path that does not exist, a file of another kind by its name, or a folder without any.
    """
    endings = " ".join(sorted(medium.suffixes))
    found: list[Path] = []
    for path in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
        path = Path(path).expanduser()
        if path.is_dir():
            inside = [Path(file) for file in list_files(str(path)) if medium.named(file)]
            if not inside:
                raise DataError(f"{path}: expected {medium.one}s ({endings}), came a folder without any")
            found += inside
        elif not path.exists():
            raise DataError(f"{path}: no such file or folder")
        elif not medium.named(path):
            raise DataError(f"{path}: expected a {medium.one} ({endings}), came {path.suffix or 'no suffix'}")
        else:
            found.append(path)
    return found


def holds_recordings(folder: Path) -> bool:
    """Says whether more of the files under a folder are recordings than pictures, by their names."""
    names = (name for _, inside in walk_files(str(folder)) for name in inside)
    return sum(RECORDINGS.named(name) - PICTURES.named(name) for name in names) > 0
