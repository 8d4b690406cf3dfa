"""A table read as series: which columns, cut where in time, scaled by what, in which windows. Every decision is noted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from netwright.data.target import choose_target, in_sequence, read_target
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
    like: Any = None,
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
    notes: list[str] = []
    sheet, files = _read(path, TableOptions(**table), unreadable, notes)
    rows, pace, asked = _in_time(sheet, asked, like, unreadable, notes)
    if options.rows is not None and like is None:
        rows = _first_rows(rows, options.rows, notes)
    if like is None:
        inputs, targets = _columns(sheet, asked, options, notes)
        label = None if options.horizon is not None else (asked.targets() or [""])[0]
    else:
        inputs, targets, label = list(like.columns), list(like.targets), like.label
    labels, classes = _labels(rows, label, TableOptions(**table), classes, notes)
    part = _cut(rows, asked, labels, validation=validation, test_share=test_share, seed=seed, notes=notes)
    values = rows.numbers(inputs)
    if like is None:
        like, values = _fit(
            rows,
            part,
            values,
            inputs,
            targets,
            label,
            pace,
            asked,
            options,
            TableOptions(**table).gaps,
            scaled,
            notes,
        )
    filled = _filled(rows, values, like, part, notes)
    known = None if not np.isnan(values).any() else torch.from_numpy(~np.isnan(values))
    scaled_values = like(torch.from_numpy(filled))
    places = _windows(rows, part, like, labels, options.stride, notes)
    parts = {
        one: SeriesSplit(
            scaled_values,
            torch.from_numpy(found),
            like,
            None if labels is None else torch.from_numpy(labels),
            known,
        )
        for one, found in zip(PARTS, places)
    }
    parts, steps = _shortened(parts, limit=limit, overfit=overfit, notes=notes)
    entries = {"series": options.entries(), "seed": seed, "steps": steps, "classes": classes}
    return Data(
        name or (path.name.partition(".")[0] if path.is_file() else path.name),
        parts["train"],
        parts["validation"],
        parts["test"],
        classes,
        like,
        tuple(dict.fromkeys(notes)),
        Reading("series", tuple(map(str, files)), entries),
        {one: np.sort(rows.order[part == number]) for number, one in enumerate(PARTS)},
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
    sheet: Sheet, asked: Asked, like: SeriesPreparation | None, unreadable: float, notes: list[str]
) -> tuple[Rows, Pace, Asked]:
    """Returns the rows in the order of their times; `like` knows which column these are."""
    if like is not None:
        like.check_has(sheet.where, sheet.names)
        asked = Asked(asked.target, None, like.time, like.group)
    else:
        asked = Asked(asked.target, asked.features, find_time(sheet, asked.time, notes), asked.group)
    rows, pace = read_rows(
        sheet,
        time=asked.time,
        group=asked.group,
        unreadable=unreadable,
        notes=notes,
        form="" if like is None else like.pace.format,
    )
    return rows, pace, asked


def _first_rows(rows: Rows, count: int, notes: list[str]) -> Rows:
    kept = rows.first_of_each(count)
    each = " of each series" if rows.names else ""
    notes.append(
        f"series.rows: the first {count:,} rows{each} are used, {len(rows) - len(kept):,} are left out"
    )
    return kept


def _columns(
    sheet: Sheet, asked: Asked, options: SeriesOptions, notes: list[str]
) -> tuple[list[str], list[str]]:
    """Returns the columns that a network sees and those that are to be forecast."""
    aside = [one for one in (asked.time, asked.group) if one is not None]
    targets = asked.targets()
    for one in targets or []:
        if one in aside:
            raise DataError(
                f"{sheet.where}: {one!r} is the time or the name of the series, and cannot be the target"
            )
    if options.horizon is None:
        if targets is None or len(targets) != 1:
            raise DataError(
                f"{sheet.where}: expected the column of the windows' classes: --target COLUMN; or, to forecast: --horizon ROWS"
            )
        sheet.column(targets[0])
        aside += targets
    wanted = (
        [name for name in sheet.names if name not in aside]
        if asked.features is None
        else list(asked.features)
    )
    wrong = next((name for name in wanted if name in aside), None)
    if wrong is not None:
        raise DataError(
            f"{sheet.where}: {wrong!r} is the time, the name of the series or the class, and no feature"
        )
    if options.horizon is None:
        inputs = numeric_columns(sheet, wanted, asked=asked.features is not None, notes=notes)
        targets = []
    else:
        numeric_columns(sheet, targets or [], asked=True, notes=[])
        wanted += [
            name for name in targets or [] if name not in wanted
        ]  # their own past belongs to the inputs
        inputs = numeric_columns(sheet, wanted, asked=asked.features is not None, notes=notes)
        targets = inputs if targets is None else targets
    if not inputs:
        raise DataError(
            f"{sheet.where}: expected columns of numbers, came none beside {some(aside) or 'nothing'}"
        )
    return inputs, targets


def _labels(
    rows: Rows, label: str | None, table: TableOptions, classes: Sequence[str] | None, notes: list[str]
) -> tuple[np.ndarray | None, tuple[str, ...] | None]:
    """Returns (T,) int64 class ids, -1 for gaps, and the classes; (None, None) for a forecast."""
    if label is None:
        return None, None
    cells = rows.cells(label)
    chosen, why = choose_target(rows.sheet.where, label, cells, table.task)
    if chosen.task != "classes" and classes is None:
        raise DataError(
            f"{rows.sheet.where}: expected classes in column {label!r}, came numbers ({why}).\n"
            "To forecast numbers say how far: --horizon ROWS; if they are classes: --set table.task=classes"
        )
    there = cells.is_valid().to_numpy(zero_copy_only=False)
    words = read_target(cells.drop_null(), chosen)
    known = tuple(classes) if classes is not None else in_sequence(words.tolist())
    ids = np.full(len(rows), -1, np.int64)
    number = {word: place for place, word in enumerate(known)}
    unknown = sorted(set(words.tolist()) - set(known))
    if unknown:
        raise DataError(f"{rows.sheet.where}: expected labels among {some(known)}; came {some(unknown)}")
    ids[there] = [number[word] for word in words.tolist()]
    notes.append(f"predicts classes ({label}: {why}): that of the last row of each window")
    return ids, known


def _cut(
    rows: Rows,
    asked: Asked,
    labels: np.ndarray | None,
    *,
    validation: Any,
    test_share: Any,
    seed: int,
    notes: list[str],
) -> np.ndarray:
    """Returns (T,) the part of each row: 0 train, 1 validation, 2 test."""
    if labels is not None and asked.group is not None:
        return _cut_series(rows, labels, asked.group, validation, test_share, seed, notes)
    if asked.group is not None and asked.time is None:
        raise DataError(
            f"{rows.sheet.where}: several series are cut at one moment, so that none knows another's future: name the time, --time COLUMN"
        )
    sizes = _sizes(rows, len(rows), validation, test_share, "rows")
    part = np.zeros(len(rows), np.int64)
    kept = np.arange(len(rows))
    for number in (2, 1):
        stay, held = last_of(rows.times[kept], sizes[number])
        part[kept[held.numpy()]] = number
        kept = kept[stay.numpy()]
    if not len(kept):
        raise DataError(f"{rows.sheet.where}: an impossible split: no row is left to train on")
    notes.append(f"cut by time, nothing is drawn: {_shares(rows, part)}")
    return part


def _sizes(rows: Rows, total: int, validation: Any, test_share: Any, what: str) -> dict[int, int]:
    sizes = {
        2: count_of(test_share, total, option="test_share"),
        1: count_of(validation, total, option="validation"),
    }
    if sum(sizes.values()) >= total:
        raise DataError(
            f"{rows.sheet.where}: an impossible split: {sizes[2]:,} for test and {sizes[1]:,} for validation of {total:,} {what} "
            "leave none to train.\nAsk for smaller shares."
        )
    return sizes


def _shares(rows: Rows, part: np.ndarray) -> str:
    return ", ".join(f"{one} {int((part == number).sum()):,} rows" for number, one in enumerate(PARTS))


def _cut_series(
    rows: Rows, labels: np.ndarray, group: str, validation: Any, test_share: Any, seed: int, notes: list[str]
) -> np.ndarray:
    """Holds out whole series, stratified by their class where each has only one."""
    spans = [span for _, span in rows.series()]
    found = [np.unique(labels[span][labels[span] >= 0]) for span in spans]
    one_each = all(len(ids) == 1 for ids in found)
    own = np.array([ids[0] if one_each else 0 for ids in found]) if one_each else None
    sizes = _sizes(rows, len(spans), validation, test_share, "series")
    part_of = np.zeros(len(spans), np.int64)
    kept = np.arange(len(spans))
    for number in (2, 1):
        stay, held = stratified_split(None if own is None else own[kept], kept, sizes[number], seed)
        part_of[kept[held.numpy()]] = number
        kept = kept[stay.numpy()]
    how = ", stratified by class" if one_each else ""
    counts = ", ".join(f"{one} {int((part_of == number).sum()):,}" for number, one in enumerate(PARTS))
    notes.append(f"{len(spans):,} series ({group}), each whole in one part{how}, seed {seed}: {counts}")
    return np.repeat(part_of, np.diff(rows.starts))


def _fit(
    rows: Rows,
    part: np.ndarray,
    values: np.ndarray,
    inputs: list[str],
    targets: list[str],
    label: str | None,
    pace: Pace,
    asked: Asked,
    options: SeriesOptions,
    gaps: Sequence[str],
    scaled: bool,
    notes: list[str],
) -> tuple[SeriesPreparation, np.ndarray]:
    """Returns the preparation, fitted to the rows of the training part alone, and the columns that are used."""
    train = part == 0
    useless = _useless(rows, values[train], inputs, targets, notes)
    kept = [place for place, name in enumerate(inputs) if name not in useless]
    if not kept:
        raise DataError(f"{rows.sheet.where}: expected numbers that vary in the training part, came none")
    inputs, values = [inputs[place] for place in kept], values[:, kept]
    mean = np.nanmean(values[train], axis=0) if scaled else np.zeros(len(inputs))
    std = np.nanstd(values[train], axis=0) if scaled else np.ones(len(inputs))
    spans = [slice(span.start, span.start + int(train[span].sum())) for _, span in rows.series()]
    season = _season(values, targets, inputs, spans, pace, options)
    window = options.window or _window(options, season, rows, part)
    if options.season is not None and options.season > window:
        raise DataError(
            f"series.season={options.season} is longer than the window of {window} rows: widen series.window"
        )
    if season is not None and season > window:
        season = None
    _tell(window, options, inputs, targets, pace, season, scaled, notes)
    made = SeriesPreparation(
        (window, len(inputs)),
        columns=inputs,
        targets=targets,
        horizon=options.horizon,
        label=label,
        mean=mean.tolist(),
        std=std.tolist(),
        time=asked.time,
        group=asked.group,
        pace={"unit": pace.unit, "size": pace.size, "format": pace.format},
        season=season,
        gaps=gaps,
    )
    return made, values


def _useless(
    rows: Rows, values: np.ndarray, inputs: list[str], targets: list[str], notes: list[str]
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
            f"{rows.sheet.where}: expected numbers that vary in column {wrong!r}, the target, came {useless[wrong]}"
        )
    if useless:
        notes.append("left out: " + some([f"{name} ({why})" for name, why in useless.items()]))
    return useless


def _season(
    values: np.ndarray,
    looked: list[str],
    inputs: list[str],
    spans: Sequence[slice],
    pace: Pace,
    options: SeriesOptions,
) -> int | None:
    if options.season is not None or options.horizon is None:
        return options.season
    places = [inputs.index(name) for name in looked]
    series = [
        filled_forward(values[span][:, places], np.array([0, span.stop - span.start])) for span in spans
    ]
    whole = [one[~np.isnan(one).any(axis=1)] for one in series]  # without the rows before the first numbers
    return find_season(whole, pace.cycles(), most=options.window or 1000)


def _window(options: SeriesOptions, season: int | None, rows: Rows, part: np.ndarray) -> int:
    """Returns how far a network looks back where nobody says: seven seasons or twice the horizon, and never over a third of the training rows."""
    longest = max(int((part[span] == 0).sum()) for _, span in rows.series())
    wanted = max(2 * (options.horizon or 1), 7 * (season or 1), 16)
    return max(1, min(wanted, longest // 3))


def _tell(
    window: int,
    options: SeriesOptions,
    inputs: list[str],
    targets: list[str],
    pace: Pace,
    season: int | None,
    scaled: bool,
    notes: list[str],
) -> None:
    span = _span(pace, window)
    if options.horizon is not None:
        ahead = _span(pace, options.horizon)
        notes.insert(
            0,
            f"forecasts {options.horizon:,} rows{ahead} of {some(targets)} from {window:,} rows{span} of {some(inputs)}",
        )
        said = f"comes again after {season:,} rows" if season else "no season was found"
        notes.append(f"season: {said}{'' if options.season is None else ', as you say'}")
    else:
        notes.insert(0, f"windows of {window:,} rows{span} of {some(inputs)}")
    if scaled:
        notes.append("scaled by the mean and the standard deviation of the training rows alone")


def _span(pace: Pace, rows: int) -> str:
    if pace.unit not in ("seconds", "months"):
        return ""
    return f" ({Pace(pace.unit, pace.size * rows).describe()})"


def _filled(
    rows: Rows, values: np.ndarray, preparation: SeriesPreparation, part: np.ndarray, notes: list[str]
) -> np.ndarray:
    """Returns the values without gaps: the last known number of the series, or, before the first, the training part's mean."""
    gaps = np.isnan(values)
    if not gaps.any():
        return values
    filled = filled_forward(values, rows.starts)
    leading = np.isnan(filled)
    for place, name in enumerate(preparation.columns):
        count, first = int(gaps[:, place].sum()), int(leading[:, place].sum())
        if count:
            before = f", {first:,} before the first number by the training part's mean" if first else ""
            notes.append(
                f"{name}: {count:,} of {len(values):,} numbers are gaps, filled by the last known one{before}"
            )
    places = list(preparation.places)
    missing = int(gaps[:, places].sum())
    if missing:
        notes.append(
            f"{missing:,} numbers to forecast are gaps: filled ones are trained on, and left out of the scores"
        )
    return np.where(leading, preparation.mean.numpy(), filled)


def _windows(
    rows: Rows,
    part: np.ndarray,
    preparation: SeriesPreparation,
    labels: np.ndarray | None,
    stride: int,
    notes: list[str],
) -> list[np.ndarray]:
    """Returns for each part (N,) the rows before which its windows end."""
    window, horizon = preparation.window, preparation.horizon or 0
    short = [name for name, span in rows.series() if span.stop - span.start < window + horizon]
    if short and rows.names:
        notes.append(
            f"{len(short):,} of {len(rows.names):,} series have fewer than {window + horizon:,} rows and no window: {some(short)}"
        )
    ends = [np.arange(span.start + window, span.stop - horizon + 1) for _, span in rows.series()]
    places = np.concatenate(ends) if ends else np.zeros(0, np.int64)
    if labels is None:
        first, last = part[places], part[places + horizon - 1]
        within = first == last
        across = int((~within).sum())
        notes.append(
            "a window belongs to the part in which all rows that it forecasts lie; its past may reach back into the part before"
            + (f"; {across:,} windows that forecast across a border are left out" if across else "")
        )
    else:
        first, last = part[places - window], part[places - 1]
        within = (first == last) & (labels[places - 1] >= 0)
        notes.append(
            f"a window lies whole in one part; {int((first != last).sum()):,} across a border are left out"
        )
        unlabelled = int((labels[places - 1] < 0).sum())
        if unlabelled:
            notes.append(
                f"{unlabelled:,} windows have no class in their last row ({preparation.label}) and are left out"
            )
    found = [places[within & (last == number)] for number in range(len(PARTS))]
    _check_windows(rows, part, found, window, horizon)
    if stride > 1:
        notes.append(f"series.stride: every {stride}th of {len(found[0]):,} training windows is used")
        found[0] = found[0][::stride]
    return found


def _check_windows(rows: Rows, part: np.ndarray, found: list[np.ndarray], window: int, horizon: int) -> None:
    for number, one in enumerate(PARTS):
        count = int((part == number).sum())
        if count and not len(found[number]):
            needed = window + horizon if number == 0 or not horizon else horizon
            raise DataError(
                f"{rows.sheet.where}: expected at least {needed:,} rows in a row in {one}, for a window of {window:,}"
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
