"""A table read as series: which columns, cut where in time, scaled by what, in which windows. Every decision is noted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from netwright.data.delimited import Sheet, is_table, some
from netwright.data.division import count_of
from netwright.data.pace import Pace
from netwright.data.part_files import find_parts
from netwright.data.partition import last_of, stratified_split
from netwright.data.season import find_season
from netwright.data.series import SeriesOptions, SeriesPreparation, SeriesSplit
from netwright.data.series_table import Rows, filled_forward, find_time, numeric_columns, read_rows
from netwright.data.table import TableOptions
from netwright.data.table_source import read_sheets
from netwright.data.target import Target, choose_target, in_sequence, read_target
from netwright.errors import DataError

if TYPE_CHECKING:
    from netwright.data.sets import Data

PARTS = ("train", "validation", "test")
# What `table` may say of a series: how its file is read. The rest is of single rows.
READING = ("encoding", "header", "separator", "gaps", "task", "suits")


@dataclass(frozen=True)
class Asked:
    """Which columns of a table are what: `target` None or "*" are all numbers; `features` None all that are numbers."""

    target: str | Sequence[str] | None = None
    features: Sequence[str] | None = None
    time: str | None = None
    group: str | None = None

    def targets(self) -> list[str] | None:
        """Returns the names to predict, None for all columns of numbers."""
        if self.target is None or self.target == "*":
            return None
        return [self.target] if isinstance(self.target, str) else list(self.target)


@dataclass(frozen=True)
class _Series:
    """A table in the order of its times, and what is asked of it."""

    rows: Rows
    pace: Pace
    asked: Asked
    options: SeriesOptions

    @property
    def where(self) -> str:
        return self.rows.sheet.where


def load_series(
    path: Path,
    options: SeriesOptions,
    asked: Asked,
    *,
    table: Mapping[str, Any],
    validation: Any,
    test_share: Any,
    seed: int,
    limit: int | None = None,
    overfit: int | None = None,
    unreadable: float = 0.01,
    scaled: bool = True,
    like: SeriesPreparation | None = None,
    classes: Sequence[str] | None = None,
    name: str | None = None,
) -> Data:
    """Returns the parts of a table with a time: what comes first trains, then what validates, what comes last tests.

    `validation` and `test_share` are shares of the rows, or numbers of them; nothing is drawn. Of several series (`asked.group`) whose
    windows have classes whole series are held out instead, drawn by `seed`: shares and numbers are then of series. `like`: a SeriesPreparation to
    use. Raises DataError for what is no such table, too short, or without numbers.
    """
    from netwright.data.sets import Data, Reading

    wrong = sorted(set(table) - set(READING))
    if wrong:
        raise DataError(f"{path}: table.{wrong[0]} goes with a table of single rows, not with a series")
    read_as, notes = TableOptions(**table), list[str]()
    sheet, files = _read(path, read_as, unreadable, notes)
    series = _in_time(sheet, options, asked, like, unreadable, notes)
    label = _label(series) if like is None else like.label
    labels, known_classes = _labels(series, label, read_as, classes, notes)
    sizes = {"validation": validation, "test_share": test_share}
    part = _cut(series, labels, **sizes, seed=seed, notes=notes)
    prepare = like or _fit(series, part, label, scaled=scaled, gaps=read_as.gaps, notes=notes)
    values = series.rows.numbers(prepare.columns)
    rows_in = prepare(torch.from_numpy(_filled(series, values, prepare, notes)))
    known = torch.from_numpy(~np.isnan(values)) if np.isnan(values).any() else None
    ids = None if labels is None else torch.from_numpy(labels)
    places = _windows(series, part, prepare, labels, notes)
    parts = {
        one: SeriesSplit(rows_in, torch.from_numpy(found), prepare, ids, known)
        for one, found in zip(PARTS, places)
    }
    parts, steps = _shortened(parts, limit=limit, overfit=overfit, notes=notes)
    entries = {"series": options.entries(), "seed": seed, "steps": steps, "classes": known_classes}
    return Data(
        name or (path.name.partition(".")[0] if path.is_file() else path.name),
        parts["train"],
        parts["validation"],
        parts["test"],
        known_classes,
        prepare,
        tuple(dict.fromkeys(notes)),
        Reading("series", tuple(map(str, files)), entries),
        {one: np.sort(series.rows.order[part == number]) for number, one in enumerate(PARTS)},
    )


def _read(path: Path, options: TableOptions, unreadable: float, notes: list[str]) -> tuple[Sheet, list[Path]]:
    parts = find_parts(path, is_table)
    if set(parts) != {"train"}:
        raise DataError(
            f"{path}: expected one table, or files without parts of their own, since a series is cut by its time; came files of "
            f"{some(list(parts))}.\nGive the file to train on; test on another one with: netwright test RUN --data FILE"
        )
    return read_sheets(parts["train"], options, unreadable, notes), parts["train"]


def _in_time(
    sheet: Sheet,
    options: SeriesOptions,
    asked: Asked,
    like: SeriesPreparation | None,
    unreadable: float,
    notes: list[str],
) -> _Series:
    """Returns the rows in the order of their times; `like` knows which column these are."""
    form = ""
    if like is not None:
        like.check_has(sheet.where, sheet.names)
        asked, form = Asked(asked.target, None, like.time, like.group), like.pace.format
    else:
        asked = replace(asked, time=find_time(sheet, asked.time, notes))
    rows, pace = read_rows(
        sheet, time=asked.time, group=asked.group, unreadable=unreadable, notes=notes, form=form
    )
    if options.rows is None or like is not None:
        return _Series(rows, pace, asked, options)
    kept = rows.first_of_each(options.rows)
    each = " of each series" if rows.names else ""
    notes.append(
        f"series.rows: the first {options.rows:,} rows{each} are used, {len(rows) - len(kept):,} are left out"
    )
    return _Series(kept, pace, asked, options)


def _label(series: _Series) -> str | None:
    """Returns the column of the windows' classes, None for a forecast."""
    targets = series.asked.targets()
    if series.options.horizon is not None:
        return None
    if targets is None or len(targets) != 1:
        raise DataError(
            f"{series.where}: expected the column of the windows' classes: --target COLUMN; or, to forecast: --horizon ROWS"
        )
    return targets[0]


def _columns(series: _Series, label: str | None, notes: list[str]) -> tuple[list[str], list[str] | None]:
    """Returns the columns that a network sees and those that are to be forecast, None for all that are of use."""
    sheet, asked = series.rows.sheet, series.asked
    aside = {asked.time: "the time", asked.group: "the name of the series", label: "the class"}
    targets = asked.targets() if label is None else []
    for name, what in [
        *((name, "the target") for name in targets or []),
        *((name, "a feature") for name in asked.features or []),
    ]:
        if name in aside:
            raise DataError(f"{sheet.where}: {name!r} is {aside[name]}, and cannot be {what} too")
    wanted = list(asked.features or (name for name in sheet.names if name not in aside))
    numeric_columns(sheet, targets or [], asked=True, notes=[])
    wanted += [name for name in targets or [] if name not in wanted]  # their own past belongs to the inputs
    inputs = numeric_columns(sheet, wanted, asked=asked.features is not None, notes=notes)
    if not inputs:
        raise DataError(f"{sheet.where}: expected columns of numbers to look back on, came none")
    return inputs, targets


def _labels(
    series: _Series, label: str | None, table: TableOptions, classes: Sequence[str] | None, notes: list[str]
) -> tuple[np.ndarray | None, tuple[str, ...] | None]:
    """Returns (T,) int64 class ids, -1 for gaps, and the classes; (None, None) for a forecast."""
    if label is None:
        return None, None
    cells = series.rows.cells(label)
    chosen, why = Target(label, "classes"), "as in training"
    if classes is None:
        chosen, why = choose_target(series.where, label, cells, table.task)
    if chosen.task != "classes":
        raise DataError(
            f"{series.where}: expected classes in column {label!r}, came numbers ({why}).\n"
            "To forecast numbers say how far: --horizon ROWS; if they are classes: --set table.task=classes"
        )
    words = read_target(cells.drop_null(), chosen).tolist()
    known = tuple(classes) if classes is not None else in_sequence(words)
    unknown = sorted(set(words) - set(known))
    if unknown:
        raise DataError(f"{series.where}: expected labels among {some(known)}; came {some(unknown)}")
    ids = np.full(len(cells), -1, np.int64)
    number = {word: place for place, word in enumerate(known)}
    ids[cells.is_valid().to_numpy(zero_copy_only=False)] = [number[word] for word in words]
    notes.append(f"predicts classes ({label}: {why}): that of the last row of each window")
    return ids, known


def _cut(
    series: _Series,
    labels: np.ndarray | None,
    *,
    validation: Any,
    test_share: Any,
    seed: int,
    notes: list[str],
) -> np.ndarray:
    """Returns (T,) the part of each row: 0 train, 1 validation, 2 test."""
    rows, asked = series.rows, series.asked
    whole_series = labels is not None and asked.group is not None
    if asked.group is not None and asked.time is None and not whole_series:
        raise DataError(
            f"{series.where}: several series are cut at one moment, so that none knows another's future: name the time, --time COLUMN"
        )
    total, what = (len(rows.names), "series") if whole_series else (len(rows), "rows")
    test = count_of(test_share, total, option="test_share")
    sizes = {2: test, 1: count_of(validation, total, option="validation")}
    if sum(sizes.values()) >= total:
        raise DataError(
            f"{series.where}: an impossible split: {sizes[2]:,} for test and {sizes[1]:,} for validation of {total:,} {what} leave none "
            "to train.\nAsk for smaller shares."
        )
    if whole_series:
        assert labels is not None
        return _cut_series(series, labels, sizes, seed, notes)
    part, kept = np.zeros(len(rows), np.int64), np.arange(len(rows))
    for number, size in sizes.items():
        stay, held = last_of(rows.times[kept], size)
        part[kept[held.numpy()]] = number
        kept = kept[stay.numpy()]
    if not len(kept):
        raise DataError(f"{series.where}: an impossible split: no row is left to train on")
    shares = ", ".join(f"{one} {int((part == number).sum()):,} rows" for number, one in enumerate(PARTS))
    notes.append(f"cut by time, nothing is drawn: {shares}")
    return part


def _cut_series(
    series: _Series, labels: np.ndarray, sizes: Mapping[int, int], seed: int, notes: list[str]
) -> np.ndarray:
    """Holds out whole series, stratified by their class where each has only one."""
    spans = [span for _, span in series.rows.series()]
    found = [np.unique(labels[span][labels[span] >= 0]) for span in spans]
    one_each = all(len(ids) == 1 for ids in found)
    own = np.array([ids[0] for ids in found]) if one_each else None
    part_of, kept = np.zeros(len(spans), np.int64), np.arange(len(spans))
    for number, size in sizes.items():
        stay, held = stratified_split(None if own is None else own[kept], kept, size, seed)
        part_of[kept[held.numpy()]] = number
        kept = kept[stay.numpy()]
    how = ", stratified by class" if one_each else ""
    counts = ", ".join(f"{one} {int((part_of == number).sum()):,}" for number, one in enumerate(PARTS))
    notes.append(
        f"{len(spans):,} series ({series.asked.group}), each whole in one part{how}, seed {seed}: {counts}"
    )
    return np.repeat(part_of, np.diff(series.rows.starts))


def _fit(
    series: _Series,
    part: np.ndarray,
    label: str | None,
    *,
    scaled: bool,
    gaps: Sequence[str],
    notes: list[str],
) -> SeriesPreparation:
    """Returns the preparation, fitted to the rows of the training part alone."""
    options, pace = series.options, series.pace
    inputs, targets = _columns(series, label, notes)
    values = series.rows.numbers(inputs)[part == 0]
    useless = _useless(series, values, inputs, targets or [], notes)
    kept = [place for place, name in enumerate(inputs) if name not in useless]
    if not kept:
        raise DataError(f"{series.where}: expected numbers that vary in the training part, came none")
    inputs, values = [inputs[place] for place in kept], values[:, kept]
    targets = inputs if targets is None else targets
    lengths = [int((part[span] == 0).sum()) for _, span in series.rows.series()]
    season = options.season
    if season is None and options.horizon is not None:
        season = _season(values[:, [inputs.index(name) for name in targets]], lengths, pace, options)
    window = options.window or _window(options, season, max(lengths))
    if options.season is not None and options.season > window:
        raise DataError(
            f"series.season={season} is longer than the window of {window} rows: widen series.window"
        )
    _tell(series, window, season, inputs, targets, notes)
    if scaled:
        notes.append("scaled by the mean and the standard deviation of the training rows alone")
    return SeriesPreparation(
        (window, len(inputs)),
        columns=inputs,
        targets=targets,
        horizon=options.horizon,
        label=label,
        mean=np.nanmean(values, axis=0).tolist() if scaled else [0.0] * len(inputs),
        std=np.nanstd(values, axis=0).tolist() if scaled else [1.0] * len(inputs),
        time=series.asked.time,
        group=series.asked.group,
        pace=asdict(pace),
        season=season if season is not None and season <= window else None,
        gaps=gaps,
    )


def _useless(
    series: _Series, values: np.ndarray, inputs: list[str], targets: list[str], notes: list[str]
) -> dict[str, str]:
    """Returns the columns that tell nothing in the training part, and why; raises DataError for one to forecast."""
    useless = {}
    for name, column in zip(inputs, values.T):
        present = column[~np.isnan(column)]
        if not len(present):
            useless[name] = "nothing but gaps in the training part"
        elif (present == present[0]).all():
            useless[name] = f"always {present[0]:g} in the training part"
    wrong = next((name for name in targets if name in useless), None)
    if wrong is not None:
        raise DataError(
            f"{series.where}: expected numbers that vary in column {wrong!r}, the target, came {useless[wrong]}.\n"
            "Name the columns to forecast: --target COLUMN, or --set data.target='[a, b]'"
        )
    if useless:
        notes.append("left out: " + some([f"{name} ({why})" for name, why in useless.items()]))
    return useless


def _season(values: np.ndarray, lengths: Sequence[int], pace: Pace, options: SeriesOptions) -> int | None:
    """Returns after how many rows the training part's targets (T, K), series of these lengths, come again."""
    starts = np.concatenate([[0], np.cumsum(lengths)])
    filled = filled_forward(values, starts)
    series = [filled[a:b] for a, b in pairwise(starts)]
    whole = [one[~np.isnan(one).any(axis=1)] for one in series]  # without the rows before the first numbers
    return find_season(whole, pace.cycles(), most=options.window or 1000)


def _window(options: SeriesOptions, season: int | None, longest: int) -> int:
    """Returns how far a network looks back where nobody says: seven seasons or twice the horizon, at most a third of the training rows."""
    wanted = max(2 * (options.horizon or 1), 7 * (season or 1), 16)
    return max(1, min(wanted, longest // 3))


def _tell(
    series: _Series,
    window: int,
    season: int | None,
    inputs: list[str],
    targets: list[str],
    notes: list[str],
) -> None:
    options, pace = series.options, series.pace
    past = f"{window:,} rows{_span(pace, window)} of {some(inputs)}"
    if options.horizon is None:
        notes.insert(0, f"windows of {past}")
        return
    ahead = _span(pace, options.horizon)
    notes.insert(0, f"forecasts {options.horizon:,} rows{ahead} of {some(targets)} from {past}")
    said = "no season was found" if season is None else f"comes again after {season:,} rows"
    notes.append(f"season: {said}{'' if options.season is None else ', as you say'}")


def _span(pace: Pace, rows: int) -> str:
    if pace.unit not in ("seconds", "months"):
        return ""
    return f" ({Pace(pace.unit, pace.size * rows).describe()})"


def _filled(
    series: _Series, values: np.ndarray, preparation: SeriesPreparation, notes: list[str]
) -> np.ndarray:
    """Returns the values without gaps: the last known number of the series, or, before the first, the training part's mean."""
    gaps = np.isnan(values)
    if not gaps.any():
        return values
    filled = filled_forward(values, series.rows.starts)
    leading = np.isnan(filled)
    for place, name in enumerate(preparation.columns):
        count, first = int(gaps[:, place].sum()), int(leading[:, place].sum())
        if count:
            before = f", {first:,} before the first number by the training part's mean" if first else ""
            notes.append(
                f"{name}: {count:,} of {len(values):,} numbers are gaps, filled by the last known one{before}"
            )
    missing = int(gaps[:, list(preparation.places)].sum())
    if missing:
        notes.append(
            f"{missing:,} numbers to forecast are gaps: filled ones are trained on, and left out of the scores"
        )
    return np.where(leading, preparation.mean.numpy(), filled)


def _windows(
    series: _Series,
    part: np.ndarray,
    preparation: SeriesPreparation,
    labels: np.ndarray | None,
    notes: list[str],
) -> list[np.ndarray]:
    """Returns for each part (N,) the rows before which its windows end."""
    rows, window, horizon = series.rows, preparation.window, preparation.horizon or 0
    short = [name for name, span in rows.series() if span.stop - span.start < window + horizon]
    if short and rows.names:
        notes.append(
            f"{len(short):,} of {len(rows.names):,} series have fewer than {window + horizon:,} rows and no window: {some(short)}"
        )
    ends = np.concatenate(
        [np.arange(span.start + window, span.stop - horizon + 1) for _, span in rows.series()]
    )
    if labels is None:
        within = part[ends] == part[ends + horizon - 1]
        said = "a window belongs to the part in which all rows that it forecasts lie; its past may reach back into the part before"
        left_out = "that forecast across a border"
    else:
        within = part[ends - window] == part[ends - 1]
        said, left_out = "a window lies whole in one part", "that lie across a border"
    across = int((~within).sum())
    notes.append(said + (f"; {across:,} windows {left_out} are left out" if across else ""))
    if labels is not None:
        there = labels[ends - 1] >= 0
        if not there.all():
            count = int((~there).sum())
            notes.append(
                f"{count:,} windows have no class in their last row ({preparation.label}) and are left out"
            )
        within &= there
    last = part[ends + horizon - 1]
    found = [ends[within & (last == number)] for number in range(len(PARTS))]
    _check_windows(series, part, found, window, horizon)
    if series.options.stride > 1:
        notes.append(
            f"series.stride: of {len(found[0]):,} training windows one in {series.options.stride:,} is used"
        )
        found[0] = found[0][:: series.options.stride]
    return found


def _check_windows(
    series: _Series, part: np.ndarray, found: list[np.ndarray], window: int, horizon: int
) -> None:
    for number, one in enumerate(PARTS):
        count = int((part == number).sum())
        if count and not len(found[number]):
            needed = window + horizon if number == 0 or not horizon else horizon
            raise DataError(
                f"{series.where}: expected at least {needed:,} rows in a row in {one}, for a window of {window:,}"
                f"{f' and a horizon of {horizon:,}' if horizon else ''}, came {count:,} rows.\n"
                "Shorten series.window or series.horizon, or change data.validation and data.test_share."
            )


def _shortened(
    parts: dict[str, SeriesSplit], *, limit: int | None, overfit: int | None, notes: list[str]
) -> tuple[dict[str, SeriesSplit], list[dict[str, Any]]]:
    steps: list[dict[str, Any]] = []
    for option, count in (("limit", limit), ("overfit", overfit)):
        if count is not None:
            parts = {part: split.take(count) for part, split in parts.items()}
            notes.append(f"{option}: the first {count:,} windows of each part are used")
            steps.append({option: count})
    if overfit is not None:
        notes.append("overfit: the same windows train, validate and test; scores say nothing else")
        parts = dict.fromkeys(parts, parts["train"])
    return parts, steps
