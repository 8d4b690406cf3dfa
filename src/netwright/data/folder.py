"""A folder, one sub-folder a class: which files are in it; and its images to raw uint8, in memory or as the network trains."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from netwright.data.fitted_images import FittedImages
from netwright.data.images import (
    decode_image,
    explain_unreadable,
    list_files,
    natural_key,
    quiet_pillow,
)
from netwright.data.media import PICTURES, Medium
from netwright.data.memory import Stream, choose_stream
from netwright.data.partition import content_hashes
from netwright.data.pictures import PictureReader
from netwright.data.preparation import Preparation
from netwright.data.source import AnyPart, Part, Source, StreamPart
from netwright.data.stamps import stamp_of
from netwright.data.statistics import pixel_sums
from netwright.data.survey import Survey
from netwright.errors import DataError

PART_NAMES: dict[str, str] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
LAYOUT = (
    "Expected one sub-folder a class, or train/ and test/ (and validation/) with one sub-folder a class each."
)
ADVICE = "Ask for smaller images (size=), or stream them from disk (data.stream)."
Found = TypeVar("Found")
AT_ONCE = 4096  # files whose results are waited for together, so that a million files need no million futures


@dataclass(frozen=True)
class Picture:
    """What a header says: size as it is seen (orientation applied), and whether it may hold colour."""

    width: int
    height: int
    colour: bool


def read_folder(
    folder: Path,
    *,
    size: int | tuple[int, int] | None = None,
    unreadable: float = 0.01,
    like: Any = None,
    stream: Stream = "auto",
) -> Source:
    """Returns the images under a folder, all of one size, with their class names.

    Size: `size`, else that of all images if they are equal, else a square whose side is the median of the
    shorter sides, rounded down to a multiple of 8, from 8 to 128; others are resized to cover it and cut at the
    centre. Colour if any image has colour. A Preparation in `like` decides both. Streamed (see `choose_stream`),
    every image is decoded once now, for what a set in memory would show too. Raises DataError.
    """
    source = Source(
        folder.name or str(folder), "folder", {}, None, image=True, highest=255, paths=(str(folder),)
    )
    layout, source.classes = find_classes(folder, PICTURES, source.notes)
    files = [file for part in layout.values() for _, inside in part for file in inside]
    with quiet_pillow():
        headers, reasons = each_file(_header, files, explain_unreadable)
        check_readable(folder, PICTURES, reasons, len(files), unreadable)
        shape = choose_shape(list(headers.values()), size, like, source.notes)
        streamed, why = choose_stream(stream, len(files) * int(np.prod(shape)), str(folder), advice=ADVICE)
        source.notes += [why] if why else []
        read = _survey if streamed else _decode
        for part, classes in layout.items():
            source.parts[part] = read(folder, classes, shape, reasons)
    check_readable(folder, PICTURES, reasons, len(files), unreadable)
    finish_reading(folder, PICTURES, source, reasons, len(files))
    _, height, width = shape
    folders = {part: str(place) for part, place in part_folders(folder).items()}
    source.entries = {
        "folders": folders,
        "size": (height, width),
        "channels": shape[0],
        "unreadable": tuple(sorted(reasons)),
    }
    return source


def find_classes(
    folder: Path, medium: Medium, notes: list[str]
) -> tuple[dict[str, list[tuple[str, list[str]]]], tuple[str, ...]]:
    """Returns ({part: [(class, its files of this kind)]}, class names), in natural order; raises DataError."""
    parts = part_folders(folder)
    strays = 0 if parts["train"] == folder else len(_beside(folder))
    layout: dict[str, list[tuple[str, list[str]]]] = {}
    for part in ("train", "validation", "test"):
        if part in parts:
            layout[part], beside = _list_classes(parts[part], medium)
            strays += beside
    if strays:
        notes.append(
            f"{strays:,} files are not {medium.many} of a class (by name or place) and were not used"
        )
    names = tuple(name for name, _ in layout["train"])
    for part in layout:
        _compare_classes(parts[part], names, tuple(name for name, _ in layout[part]))
    return layout, names


def part_folders(folder: Path) -> dict[str, Path]:
    """Returns the folder of each part: the folder itself, unless all its sub-folders are named as parts."""
    inside = _folders(folder)
    parts = {PART_NAMES.get(entry.name.lower(), ""): entry for entry in inside}
    if "train" not in parts or "" in parts or not _folders(parts["train"]):
        return {"train": folder}
    if len(parts) < len(inside):
        raise DataError(
            f"{folder}: expected one validation folder, came {', '.join(entry.name for entry in inside)}"
        )
    return parts


def _list_classes(folder: Path, medium: Medium) -> tuple[list[tuple[str, list[str]]], int]:
    beside = _beside(folder)
    folders = _folders(folder)
    if not folders:
        what = "an empty folder"
        if beside:
            loose = sum(medium.named(entry) for entry in beside)
            what = f"{loose:,} {medium.many} and {len(beside) - loose:,} other files with no sub-folder"
        raise DataError(f"{folder}: {what}.\n{LAYOUT}")
    classes: list[tuple[str, list[str]]] = []
    others = len(beside)
    for entry in folders:
        files = list_files(str(entry))
        wanted = [file for file in files if medium.named(file)]
        others += len(files) - len(wanted)
        if not wanted:
            raise DataError(
                f"{entry}: a class without {medium.many} ({len(files):,} other files).\n"
                f"Put its {medium.many} there, or remove the folder."
            )
        classes.append((entry.name, wanted))
    if len(classes) < 2:
        raise DataError(f"{folder}: one class only, {classes[0][0]!r}; a classifier needs two.\n{LAYOUT}")
    return classes, others


def _beside(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if not entry.name.startswith(".") and not entry.is_dir()]


def _folders(folder: Path) -> list[Path]:
    try:
        inside = [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    except PermissionError:
        raise DataError(f"{folder}: permission denied") from None
    return sorted(inside, key=lambda entry: natural_key(entry.name))


def _compare_classes(folder: Path, expected: tuple[str, ...], came: tuple[str, ...]) -> None:
    missing = [name for name in expected if name not in came]
    unknown = [name for name in came if name not in expected]
    if missing or unknown:
        shown = "; ".join(
            f"{what}: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"
            for what, names in (("missing", missing), ("not in train", unknown))
            if names
        )
        raise DataError(f"{folder}: expected the {len(expected)} classes of train; {shown}")


def choose_shape(
    headers: list[Picture], size: int | tuple[int, int] | None, like: Any, notes: list[str]
) -> tuple[int, int, int]:
    """Returns (channels, height, width) by the rules of read_folder, and notes why."""
    coloured = sum(header.colour for header in headers)
    channels = 3 if coloured else 1
    if isinstance(like, Preparation):
        if len(like.shape) != 3 or like.shape[0] not in (1, 3):
            raise DataError(f"expected a preparation of images, came one for shape {like.shape}")
        if isinstance(like, FittedImages):
            _note_fitted(headers, like, notes)
        return like.shape[0], like.shape[1], like.shape[2]
    if 0 < coloured < len(headers):
        notes.append(f"{coloured:,} of {len(headers):,} images are in colour, so all are held in colour")
    sizes = {(header.height, header.width) for header in headers}
    if size is not None:
        height, width = _given_size(size)
        reason = "as asked"
    elif len(sizes) == 1:
        return channels, *next(iter(sizes))
    else:
        shorter = int(np.median([min(header.width, header.height) for header in headers]))
        height = width = min(128, max(8, shorter // 8 * 8))
        reason = f"because their sizes differ and the median of the shorter sides is {shorter}"
    resized = sum((header.height, header.width) != (height, width) for header in headers)
    if resized:
        notes.append(
            f"{resized:,} of {len(headers):,} images were resized to {height} x {width} (shorter side, then the centre), "
            f"{reason}"
        )
    return channels, height, width


def _note_fitted(headers: list[Picture], like: FittedImages, notes: list[str]) -> None:
    channels, height, width = like.shape
    resized = sum((header.height, header.width) != (height, width) for header in headers)
    if resized:
        notes.append(
            f"{resized:,} of {len(headers):,} images were resized to {height} x {width} (shorter side, then the centre), "
            "which the network takes"
        )
    grey = sum(not header.colour for header in headers)
    if channels > 1 and grey:
        notes.append(
            f"{grey:,} of {len(headers):,} images are grey and repeated in each of {channels} channels"
        )


def _given_size(size: int | tuple[int, int]) -> tuple[int, int]:
    sides = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    if len(sides) != 2 or not all(isinstance(side, int) and 1 <= side <= 8192 for side in sides):
        raise DataError(f"size: expected a side, or (height, width), in pixels from 1 to 8192; came {size!r}")
    return sides


def _header(file: str) -> Picture:
    from PIL import Image

    with Image.open(file, formats=("PNG", "JPEG", "BMP", "GIF", "TIFF", "PPM", "WEBP")) as image:
        width, height = image.size
        if width * height > 89_478_485:
            raise ValueError(f"{width} x {height} pixels, more than 89 million")
        if image.getexif().get(0x0112, 1) in (5, 6, 7, 8):  # the orientations that turn by a quarter
            width, height = height, width
        return Picture(width, height, _coloured(image))


def _coloured(image: Any) -> bool:
    if image.mode in ("P", "PA"):
        palette = np.asarray(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
        return bool((palette != palette[:, :1]).any())
    return image.mode not in ("1", "L", "LA", "La", "F") and not image.mode.startswith("I")


def each_file(
    read: Callable[[str], Found], files: Iterable[str], explain: Callable[[str, Exception], str]
) -> tuple[dict[str, Found], dict[str, str]]:
    """Returns what was read of each file, and why of each that could not be; decoders work outside Python's lock."""

    def attempt(file: str) -> Found | Exception:
        try:
            return read(file)
        except Exception as error:  # decoders raise what they like on damaged files
            return error

    found: dict[str, Found] = {}
    reasons: dict[str, str] = {}
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        waiting = iter(files)
        while some := list(islice(waiting, AT_ONCE)):
            for file, result in zip(some, pool.map(attempt, some), strict=True):
                if isinstance(result, Exception):
                    reasons[file] = explain(file, result)
                else:
                    found[file] = result
    return found, reasons


def _decode(
    folder: Path, classes: list[tuple[str, list[str]]], shape: tuple[int, int, int], reasons: dict[str, str]
) -> AnyPart:
    """Returns the images of one part, decoded into one tensor; adds to `reasons` those that could not be."""
    labelled = [
        (file, index) for index, (_, inside) in enumerate(classes) for file in inside if file not in reasons
    ]
    pixels = np.empty((len(labelled), *shape), np.uint8)
    place = {file: row for row, (file, _) in enumerate(labelled)}

    def fill(file: str) -> None:
        pixels[place[file]] = decode_image(file, *shape)

    _, broken = each_file(fill, list(place), explain_unreadable)
    reasons |= broken
    kept = [row for row, (file, _) in enumerate(labelled) if file not in broken]
    if broken:
        for row, old in enumerate(kept):
            pixels[row] = pixels[old]
    ids = torch.tensor([labelled[row][1] for row in kept], dtype=torch.int64)
    names = tuple(os.path.relpath(labelled[row][0], folder) for row in kept)
    return Part(torch.from_numpy(pixels[: len(kept)]), ids, names, owned=True)


def _survey(
    folder: Path, classes: list[tuple[str, list[str]]], shape: tuple[int, int, int], reasons: dict[str, str]
) -> AnyPart:
    """Returns the images of one part, left on disk, each decoded once to see that it can be; adds to `reasons`."""
    labelled = [
        (file, index) for index, (_, inside) in enumerate(classes) for file in inside if file not in reasons
    ]
    place = {file: row for row, (file, _) in enumerate(labelled)}
    hashes = np.empty(len(labelled), np.uint64)
    sums = torch.empty(2, len(labelled), shape[0], dtype=torch.int64)
    stamps = np.empty((len(labelled), 2), np.int64)

    def look(file: str) -> None:
        row = place[file]
        stamps[row] = stamp_of(file)  # before it is read: a change in between is found when it is read again
        pixels = torch.from_numpy(decode_image(file, *shape))[None]
        hashes[row], sums[:, row] = content_hashes(pixels)[0], pixel_sums(pixels)[:, 0]

    _, broken = each_file(look, list(place), explain_unreadable)
    reasons |= broken
    kept = np.array([row for row, (file, _) in enumerate(labelled) if file not in broken], np.int64)
    files = [labelled[row][0] for row in kept]
    ids = torch.tensor([labelled[row][1] for row in kept], dtype=torch.int64)
    names = tuple(os.path.relpath(file, folder) for file in files)
    return StreamPart(
        PictureReader(files, shape, stamps[kept]),
        torch.arange(len(kept)),
        ids,
        Survey(hashes[kept], sums[:, kept]),
        names,
    )


def check_readable(folder: Path, medium: Medium, reasons: dict[str, str], total: int, share: float) -> None:
    """Raises DataError where more than the stated share of the files cannot be read."""
    if len(reasons) > share * total:
        raise DataError(
            f"{folder}: {len(reasons):,} of {total:,} {medium.many} cannot be read, more than the {share:.3g} that is let pass: "
            f"{_few(reasons)}\nReplace or remove them, or allow a larger share (unreadable=)."
        )


def finish_reading(folder: Path, medium: Medium, source: Source, reasons: dict[str, str], total: int) -> None:
    """Notes the files that are left out; raises DataError where a class is left without any."""
    if reasons:
        source.notes.append(
            f"{len(reasons):,} of {total:,} {medium.many} cannot be read and are left out: {_few(reasons)}"
        )
    check_every_class(folder, medium, source)


def _few(reasons: dict[str, str]) -> str:
    first = [f"{file}: {reason}" for file, reason in list(reasons.items())[:3]]
    return "; ".join(first) + (f"; and {len(reasons) - 3:,} more" if len(reasons) > 3 else "")


def check_every_class(folder: Path, medium: Medium, source: Source) -> None:
    assert source.classes is not None
    for part, held in source.parts.items():
        counts = torch.bincount(held.targets, minlength=len(source.classes))
        for name, count in zip(source.classes, counts.tolist(), strict=True):
            if not count:
                raise DataError(
                    f"{folder}: none of the {medium.many} of class {name!r} in {part} can be read"
                )
