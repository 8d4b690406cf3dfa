"""A folder of recordings, one sub-folder a class, to waveforms of one rate and length: in memory, or decoded as it goes."""

from __future__ import annotations

import functools
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netwright.data.folder import check_readable, each_file, find_classes, finish_reading, part_folders
from netwright.data.media import RECORDINGS
from netwright.data.memory import Stream, choose_stream
from netwright.data.partition import content_hashes
from netwright.data.preparation import Preparation
from netwright.data.recordings import (
    Header,
    RecordingReader,
    check_soundfile,
    decode_recording,
    explain_unreadable_sound,
    fitted_waveform,
    read_header,
    read_waveform,
)
from netwright.data.sound import SoundPreparation
from netwright.data.source import AnyPart, Part, Source, StreamPart
from netwright.data.stamps import stamp_of
from netwright.data.statistics import rows_in_chunk, statistics_of_chunks
from netwright.data.survey import Survey, blocks
from netwright.errors import DataError, unknown_name

# What the recipe's section `sound` says where nobody says otherwise; None: chosen from the recordings.
DEFAULTS: dict[str, Any] = {"rate": None, "seconds": None, "mels": 64, "window": 0.025, "hop": 0.01}
LONGEST_BY_ITSELF = 10.0  # seconds; longer examples are to be asked for
ADVICE = (
    "Ask for shorter examples (sound.seconds), a lower sound.rate, or stream them from disk (data.stream)."
)
Classes = list[tuple[str, list[str]]]


def read_sounds(
    folder: Path,
    *,
    sound: Mapping[str, Any] | None = None,
    unreadable: float = 0.01,
    like: Any = None,
    stream: Stream = "auto",
) -> Source:
    """Returns the recordings under a folder, all of one rate and length, with their class names.

    Rate: `sound["rate"]`, else the commonest (of several the highest); others are resampled, and channels averaged.
    Length: `sound["seconds"]`, else the length that 95 of 100 recordings do not exceed, at most 10 s; longer ones are cut to their
    middle, shorter ones get zeros on both sides. A SoundPreparation in `like` decides all of it. A file that is cut
    off, empty or damaged counts as unreadable; one of silence is kept and named. Raises DataError.
    """
    check_soundfile(folder)
    entries = checked_entries(sound or {})
    source = Source(folder.name or str(folder), "sounds", {}, None, image=False, paths=(str(folder),))
    layout, source.classes = find_classes(folder, RECORDINGS, source.notes)
    files = [file for part in layout.values() for _, inside in part for file in inside]
    headers, reasons = each_file(read_header, files, explain_unreadable_sound)
    check_readable(folder, RECORDINGS, reasons, len(files), unreadable)
    blank = _like(folder, like) or choose_preparation(folder, list(headers.values()), entries)
    _note_shape(blank, list(headers.values()), source.notes, asked=entries, like=like)
    streamed, why = choose_stream(stream, 4 * len(files) * blank.shape[0], str(folder), advice=ADVICE)
    source.notes += [why] if why else []
    silent: list[str] = []
    read = _survey if streamed else _decode
    for part, classes in layout.items():
        source.parts[part] = read(folder, classes, blank, reasons, silent)
    check_readable(folder, RECORDINGS, reasons, len(files), unreadable)
    finish_reading(folder, RECORDINGS, source, reasons, len(files))
    if silent:
        shown = ", ".join(sorted(silent)[:3]) + (", …" if len(silent) > 3 else "")
        source.notes.append(
            f"{len(silent):,} of {len(files):,} recordings are silent (all samples equal) and are kept: {shown}"
        )
    source.prepare = functools.partial(_fit, blank)
    source.entries = {
        "folders": {part: str(place) for part, place in part_folders(folder).items()},
        "rate": blank.rate,
        "samples": blank.shape[0],
        "unreadable": tuple(sorted(reasons)),
    }
    return source


def checked_entries(given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the section `sound` of a recipe with its defaults; raises DataError or UnknownNameError."""
    for name, value in given.items():
        if name not in DEFAULTS:
            raise unknown_name("sound option", name, DEFAULTS)
        whole = name in ("rate", "mels")
        kinds = int if whole else (int, float)
        least, most = {"rate": (100, 768_000), "mels": (1, 512)}.get(name, (0, math.inf))
        fits = isinstance(value, kinds) and not isinstance(value, bool) and least <= value <= most
        if value is not None and not (fits and value > 0 and math.isfinite(value)):
            expected = f"a whole number from {least:,} to {most:,}" if whole else "seconds above 0"
            raise DataError(f"sound.{name}: expected {expected}, came {value!r}")
    return {**DEFAULTS, **{name: value for name, value in given.items() if value is not None}}


def _like(folder: Path, like: Any) -> SoundPreparation | None:
    if isinstance(like, Preparation) and not isinstance(like, SoundPreparation):
        raise DataError(f"{folder}: expected examples of shape {like.shape}, came a folder of recordings")
    return like if isinstance(like, SoundPreparation) else None


def choose_preparation(folder: Path, headers: list[Header], entries: Mapping[str, Any]) -> SoundPreparation:
    """Returns the preparation, its statistics not yet measured, by the rules of `read_sounds`."""
    rates = Counter(header.rate for header in headers)
    rate = entries["rate"] or max(rates, key=lambda rate: (rates[rate], rate))
    seconds = entries["seconds"]
    if seconds is None:
        known = [header.seconds for header in headers if header.seconds is not None]
        if not known:
            raise DataError(
                f"{folder}: the recordings do not say how long they are.\nSay it: --set sound.seconds=1"
            )
        # The length of one of them, so that recordings of equal length are neither cut nor filled up.
        seconds = min(LONGEST_BY_ITSELF, float(np.percentile(known, 95, method="higher")))
    window, hop = (max(1, round(entries[name] * rate)) for name in ("window", "hop"))
    samples = max(1, round(seconds * rate))
    if samples < window:
        raise DataError(
            f"{folder}: an example of {seconds:g} s is shorter than one window of {entries['window']:g} s.\n"
            "Ask for longer examples (sound.seconds) or a shorter sound.window."
        )
    return SoundPreparation((samples,), rate=rate, mels=entries["mels"], window=window, hop=hop)


def _fit(blank: SoundPreparation, train: AnyPart, mode: str, notes: list[str]) -> SoundPreparation:
    """Returns the preparation with mean and std of each mel band over the training part, where `mode` is "standard"."""
    if mode != "standard":
        return blank
    mean, std, constant = statistics_of_chunks(
        blank.spectrogram(block).squeeze(1) for block in _raw_blocks(train)
    )
    if bool(constant.any()):
        notes.append(
            f"{int(constant.sum()):,} of {blank.mels:,} mel bands are constant in the training part; their std is taken as 1"
        )
    return blank.with_statistics(mean.tolist(), std.tolist())


def _raw_blocks(part: AnyPart) -> Iterable[Tensor]:
    """Yields the raw examples of a part as they are summed: the same blocks streamed as in memory."""
    assert isinstance(part, (Part, StreamPart))
    if isinstance(part, Part):
        return part.inputs.split(rows_in_chunk(part.inputs[0].numel()))
    size = rows_in_chunk(int(torch.Size(part.reader.shape).numel()))
    return (block for _, block in blocks(part.reader, part.rows, size=size))


def _note_shape(
    blank: SoundPreparation, headers: list[Header], notes: list[str], *, asked: Mapping[str, Any], like: Any
) -> None:
    """Says what is resampled, mixed, cut and filled up, how often and why."""
    total = len(headers)
    other = Counter(header.rate for header in headers if header.rate != blank.rate)
    if other:
        shown = ", ".join(f"{count:,} of {rate:,} Hz" for rate, count in other.most_common(3))
        reason = _reason(like, asked["rate"], "the commonest rate")
        notes.append(
            f"{other.total():,} of {total:,} recordings ({shown}{', …' if len(other) > 3 else ''}) are resampled to "
            f"{blank.rate:,} Hz, {reason}"
        )
    mixed = sum(header.channels > 1 for header in headers)
    if mixed:
        notes.append(f"{mixed:,} of {total:,} recordings have several channels, which are averaged")
    lengths = [round(header.seconds * blank.rate) for header in headers if header.seconds is not None]
    longer = sum(length > blank.shape[0] for length in lengths)
    shorter = sum(length < blank.shape[0] for length in lengths)
    if longer or shorter:
        rule = "the length that 95 of 100 do not exceed"
        if blank.seconds == LONGEST_BY_ITSELF:
            rule = "the longest that is taken unasked"
        notes.append(
            f"examples last {blank.seconds:.4g} s, {_reason(like, asked['seconds'], rule)}: {longer:,} of {total:,} recordings "
            f"are cut to their middle, {shorter:,} get silence on both sides"
        )


def _reason(like: Any, asked: Any, rule: str) -> str:
    if isinstance(like, Preparation):
        return "as in training"
    return "as asked" if asked is not None else rule


def _labelled(classes: Classes, reasons: dict[str, str]) -> list[tuple[str, int]]:
    return [
        (file, index) for index, (_, inside) in enumerate(classes) for file in inside if file not in reasons
    ]


def _decode(
    folder: Path, classes: Classes, blank: SoundPreparation, reasons: dict[str, str], silent: list[str]
) -> AnyPart:
    """Returns the recordings of one part in one tensor; adds to `reasons` those that cannot be read, and to `silent`."""
    labelled = _labelled(classes, reasons)
    waves = np.empty((len(labelled), *blank.shape), np.float32)
    place = {file: row for row, (file, _) in enumerate(labelled)}

    def fill(file: str) -> None:
        wave, came = read_waveform(file)
        if wave.min() == wave.max():
            silent.append(os.path.relpath(file, folder))
        waves[place[file]] = fitted_waveform(wave, came, blank.rate, blank.shape[0])

    _, broken = each_file(fill, list(place), explain_unreadable_sound)
    reasons |= broken
    kept = [row for row, (file, _) in enumerate(labelled) if file not in broken]
    if broken:
        for row, old in enumerate(kept):
            waves[row] = waves[old]
    ids = torch.tensor([labelled[row][1] for row in kept], dtype=torch.int64)
    names = tuple(os.path.relpath(labelled[row][0], folder) for row in kept)
    return Part(torch.from_numpy(waves[: len(kept)]), ids, names, owned=True)


def _survey(
    folder: Path, classes: Classes, blank: SoundPreparation, reasons: dict[str, str], silent: list[str]
) -> AnyPart:
    """Returns the recordings of one part, left on disk, each decoded once to see that it can be."""
    labelled = _labelled(classes, reasons)
    place = {file: row for row, (file, _) in enumerate(labelled)}
    hashes = np.empty(len(labelled), np.uint64)
    stamps = np.empty((len(labelled), 2), np.int64)

    def look(file: str) -> None:
        row = place[file]
        stamps[row] = stamp_of(file)  # before it is read: a change in between is found when it is read again
        wave = decode_recording(file, blank.rate, blank.shape[0])
        if wave.min() == wave.max():
            silent.append(os.path.relpath(file, folder))
        hashes[row] = content_hashes(torch.from_numpy(wave)[None])[0]

    _, broken = each_file(look, list(place), explain_unreadable_sound)
    reasons |= broken
    kept = np.array([row for row, (file, _) in enumerate(labelled) if file not in broken], np.int64)
    files = [labelled[row][0] for row in kept]
    return StreamPart(
        RecordingReader(files, blank.rate, blank.shape[0], stamps[kept]),
        torch.arange(len(kept)),
        torch.tensor([labelled[row][1] for row in kept], dtype=torch.int64),
        Survey(hashes[kept], None),
        tuple(os.path.relpath(file, folder) for file in files),
    )
