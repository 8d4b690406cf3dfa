"""Texts with their classes in files: one text a file in a sub-folder a class, one text a line in a file a class, or a column."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from netwright.data.encodings import read_text
from netwright.data.folder import PART_NAMES, find_classes
from netwright.data.images import natural_key, walk_files
from netwright.data.media import PICTURES, TEXTS
from netwright.data.source import Source
from netwright.data.text import TextOptions, Unit
from netwright.data.text_parts import TextPart
from netwright.errors import DataError

# Files that stand beside texts and are none of them.
ABOUT = re.compile(r"(readme|licen[cs]e|copying|changes|citation|contributing)\b", re.IGNORECASE)
# Files of text that hold something else than one text a line.
OTHERS = frozenset(
    (
        ".csv",
        ".tsv",
        ".tab",
        ".json",
        ".jsonl",
        ".yaml",
        ".yml",
        ".xml",
        ".html",
        ".htm",
        ".py",
        ".ipynb",
        ".toml",
        ".ini",
    )
)


@dataclass
class Found:
    """Texts of one part as they are read: where each comes from, its class, and what was left out."""

    texts: list[str] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)

    def add(self, text: str, index: int, name: str) -> None:
        text = text.strip()
        if not text:
            self.empty.append(name)
            return
        self.texts.append(text)
        self.ids.append(index)
        self.names.append(name)

    def part(self) -> TextPart:
        return TextPart(tuple(self.texts), torch.tensor(self.ids, dtype=torch.int64), tuple(self.names))


def text_unit(folder: Path) -> Unit | None:
    """Says how a folder holds texts: one a file in sub-folders, one a line in the files of the folder, or not at all (None).

    One a file: there are sub-folders, with .txt files in them and no pictures. One a line: there are no sub-folders, and two
    files or more, all plain text (but for those called README, LICENSE and the like), none of them a table, a page or a program.
    """
    try:
        inside = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError:  # told by who reads folders of images
        return None
    if any(entry.is_dir() for entry in inside):
        return "file" if _texts_below(folder) else None
    files = [entry for entry in inside if not ABOUT.match(entry.name)]
    return "line" if len(files) >= 2 and all(map(_is_plain, files)) else None


def _texts_below(folder: Path) -> bool:
    """Whether the sub-folders hold texts; a picture anywhere makes it a folder of pictures."""
    found = False
    for where, names in walk_files(str(folder)):
        if any(map(PICTURES.named, names)):
            return False
        found = found or (where != str(folder) and any(map(TEXTS.named, names)))
    return found


def _is_plain(file: Path) -> bool:
    if file.suffix.lower() in OTHERS or not file.is_file():
        return False
    try:
        with file.open("rb") as opened:
            start = opened.read(1 << 12)
    except OSError:
        return False
    return b"\0" not in start or start.startswith((b"\xff\xfe", b"\xfe\xff"))


def read_text_folder(folder: Path, unit: Unit, options: TextOptions, *, unreadable: float) -> Source:
    """Returns the texts under a folder with their class names, `unit` as `text_unit` has it.

    Texts of nothing but white space are left out and counted; so are files that are no text, up to the share
    `unreadable` of them. Raises DataError.
    """
    source = Source(folder.name or str(folder), "text", {}, None, image=False, paths=(str(folder),))
    if unit == "file":
        layout, source.classes = find_classes(folder, TEXTS, source.notes)
        source.notes.append("one text a file, one sub-folder a class")
    else:
        layout = {"train": _in_files(folder, source.notes)}
        source.classes = tuple(name for name, _ in layout["train"])
    reading = _Reading(folder, options.encoding)
    for part, classes in layout.items():
        found = Found()
        for index, (_, files) in enumerate(classes):
            for file in files:
                reading.add(found, file, index, unit)
        source.parts[part] = found.part()
        note_empty(source.notes, found.empty, len(found.texts))
    reading.check(sum(len(files) for classes in layout.values() for _, files in classes), unreadable)
    source.notes += reading.notes()
    _check_every_class(folder, source)
    source.entries = {"text": options.entries(), "unit": unit, "layout": layout}
    return source


@dataclass
class _Reading:
    """What was met while files were read: those in another encoding than UTF-8, and those that are no text."""

    folder: Path
    encoding: str | None
    other: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    files: int = 0

    def add(self, found: Found, file: str, index: int, unit: Unit) -> None:
        name = os.path.relpath(file, self.folder)
        self.files += 1
        try:
            text, used = read_text(Path(file), encoding=self.encoding)
        except DataError as error:
            if self.encoding is not None and unit == "line":
                raise
            self.reasons.append(str(error))
            return
        if used != "utf-8":
            self.other[used] += 1
            self.first.setdefault(used, name)
        if unit == "file":
            found.add(text, index, name)
            return
        lines = text.split("\n")
        for number, line in enumerate(lines[:-1] if not lines[-1] else lines, start=1):
            found.add(line, index, f"{name}:{number}")

    def check(self, total: int, share: float) -> None:
        if len(self.reasons) > share * total:
            raise DataError(
                f"{self.folder}: {len(self.reasons):,} of {total:,} files cannot be read, more than the {share:.3g} that is let "
                f"pass: {_few(self.reasons)}\nReplace or remove them, or allow a larger share (unreadable=)."
            )

    def notes(self) -> list[str]:
        said = []
        for used, count in self.other.items():
            why = ", as asked" if self.encoding else ""
            if used == "cp1252" and not self.encoding:
                why = ", because their bytes are not UTF-8 (text.encoding says otherwise)"
            said.append(
                f"{count:,} of {self.files:,} files were read as {used}{why}: {self.first[used]}{', …' if count > 1 else ''}"
            )
        if self.reasons:
            said.append(f"{len(self.reasons):,} files cannot be read and are left out: {_few(self.reasons)}")
        return said


def _in_files(folder: Path, notes: list[str]) -> list[tuple[str, list[str]]]:
    """Returns [(class, [its file])] of files of lines; classes are called as the files differ: by stem, or by ending."""
    inside = sorted(
        (entry for entry in folder.iterdir() if not entry.name.startswith(".")),
        key=lambda e: natural_key(e.name),
    )
    files = [entry for entry in inside if not ABOUT.match(entry.name)]
    if all(entry.stem.lower() in PART_NAMES for entry in files):
        raise DataError(
            f"{folder}: expected one file a class, came {', '.join(entry.name for entry in files)}, which are parts of a set.\n"
            "Expected train/ and test/ with one sub-folder a class each, or one file to fit."
        )
    stems = [entry.stem for entry in files]
    endings = [entry.suffix.removeprefix(".") for entry in files]
    names = next(
        (names for names in (stems, endings) if len(set(names)) == len(files)),
        [entry.name for entry in files],
    )
    if len(inside) > len(files):
        notes.append(f"{len(inside) - len(files):,} files about the set were not used")
    shown = ", ".join(f"{name} from {entry.name}" for name, entry in list(zip(names, files, strict=True))[:5])
    notes.append(f"one text a line, one file a class: {shown}{', …' if len(files) > 5 else ''}")
    ordered = sorted(zip(names, files, strict=True), key=lambda pair: natural_key(pair[0]))
    return [(name, [str(entry)]) for name, entry in ordered]


def note_empty(notes: list[str], empty: Sequence[str], kept: int, where: str = "") -> None:
    """Notes the texts of nothing but white space, which are left out."""
    if empty:
        shown = ", ".join(empty[:3]) + (", …" if len(empty) > 3 else "")
        notes.append(
            f"{len(empty):,} of {kept + len(empty):,} texts{where} are empty or missing and left out: {shown}"
        )


def _few(reasons: Sequence[str]) -> str:
    return "; ".join(reasons[:3]) + (f"; and {len(reasons) - 3:,} more" if len(reasons) > 3 else "")


def _check_every_class(folder: Path, source: Source) -> None:
    assert source.classes is not None
    for part, held in source.parts.items():
        counts = torch.bincount(held.targets, minlength=len(source.classes)).tolist()
        for name, count in zip(source.classes, counts, strict=True):
            if not count:
                raise DataError(f"{folder}: class {name!r} has no text in {part} (empty ones do not count)")
