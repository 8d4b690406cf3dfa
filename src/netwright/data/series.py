"""Series: windows of the past in, the rows behind them (or a class) out; views of one table, cut by time and scaled by the past alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from netwright.data.delimited import GAPS, Sheet, is_table, near, read_sheet, some
from netwright.data.epochs import Epochs, at_once
from netwright.data.pace import Pace
from netwright.data.preparation import Preparation, as_numbers
from netwright.data.series_table import filled_forward, read_rows
from netwright.errors import DataError


@dataclass(frozen=True)
class SeriesOptions:
    """What is asked of a series: `horizon` rows to forecast, or else the class at the end of each window of `window` rows.

    `stride`: rows from a training window to the next. `season`: rows after which the series comes again (None: looked for). `rows`: only
    the first so many of each series are used.
    """

    horizon: int | None = None
    window: int | None = None
    stride: int = 1
    season: int | None = None
    rows: int | None = None

    @staticmethod
    def build(entries: Mapping[str, Any] | None) -> SeriesOptions:
        """Returns the options with these entries; raises DataError for others, and for what is no whole number above 0."""
        given = {key: value for key, value in (entries or {}).items() if value is not None}
        try:
            options = SeriesOptions(**given)
        except TypeError as error:
            raise DataError(f"series: {str(error).split('__init__() ')[-1]}") from None
        for key, value in given.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise DataError(f"series.{key}: expected a whole number from 1 on, came {value!r}")
        if given and not options.asked:
            raise DataError(
                f"series.{next(iter(given))} goes with series.horizon (rows to forecast) or series.window (rows that have a class)"
            )
        return options

    @property
    def asked(self) -> bool:
        """Whether a table is to be read as series."""
        return self.horizon is not None or self.window is not None

    def entries(self) -> dict[str, Any]:
        """Returns what `build` takes."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, eq=False)
class Past:
    """The rows behind which is predicted: `values` (window, C) float64 without gaps; `last`: the time of the last one."""

    values: Tensor
    last: float | None = None
    filled: tuple[str, ...] = ()


class SeriesPreparation(Preparation):
    """Raw windows (N, window, C) float64 in, (N, window, C) float32 out: each column less its mean and over its std in training.

    `columns`: the names of the C inputs; `targets` those to forecast, which are among them, for `horizon` rows; with `horizon` None the window has a
    class, that of its last row in the column `label`. `time`, `group`: the columns of a table that has such rows; `pace` as `Pace`;
    `season`: rows after which the series comes again, if it does.
    """

    kind: ClassVar[str] = "series"

    def __init__(
        self,
        shape: Sequence[int],
        *,
        columns: Sequence[str],
        targets: Sequence[str] = (),
        horizon: int | None = None,
        label: str | None = None,
        mean: Sequence[float],
        std: Sequence[float],
        time: str | None = None,
        group: str | None = None,
        pace: Mapping[str, Any],
        season: int | None = None,
        gaps: Sequence[str] = GAPS,
    ) -> None:
        super().__init__(shape, mean=mean, std=std)
        self.columns, self.targets, self.label = tuple(columns), tuple(targets), label
        self.horizon, self.time, self.group, self.season = horizon, time, group, season
        self.pace, self.gaps = Pace(**pace), tuple(gaps)
        self.places = tuple(self.columns.index(name) for name in self.targets)

    def _column(self, name: str, numbers: Sequence[float]) -> Tensor:
        # In double: a series far from 0 that varies little would come out rounded.
        column = torch.tensor(list(numbers), dtype=torch.float64)
        if column.shape != (self.shape[1],) or not bool(column.isfinite().all()):
            raise DataError(
                f"preparation: expected {name} as {self.shape[1]} finite numbers, came {list(numbers)[:8]}"
            )
        return column

    @property
    def window(self) -> int:
        """How many rows of the past a network sees."""
        return self.shape[0]

    @property
    def output_shape(self) -> tuple[int, ...] | None:
        """(horizon, targets) of a forecast, None for classes."""
        return None if self.horizon is None else (self.horizon, len(self.targets))

    @property
    def facts(self) -> dict[str, Any]:
        return {} if self.horizon is None else {"forecast": (self.horizon, self.places)}

    def forward(self, raw: Tensor) -> Tensor:
        return ((raw.double() - self.mean) / self.std).float()

    def prepare_fresh(self, raw: Tensor) -> Tensor:
        return self(raw)

    def on(self, device: torch.device | str) -> Preparation:
        return self  # its numbers are in double, which not every device has; what is on the device is prepared already

    @property
    def target_std(self) -> Tensor:
        """(targets,) float64: the unit in which each is learned."""
        return self.std[list(self.places)]

    def in_units(self, values: Tensor) -> Tensor:
        if self.horizon is None:
            return values
        numbers = values.double().cpu().reshape(len(values), self.horizon, len(self.targets))
        return numbers * self.target_std + self.mean[list(self.places)]

    def describe(self) -> str:
        return f": rows by columns ({some(self.columns)}), each less its mean and over its std in training"

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "shape": list(self.shape),
            "columns": list(self.columns),
            "targets": list(self.targets),
            "horizon": self.horizon,
            "label": self.label,
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "time": self.time,
            "group": self.group,
            "pace": asdict(self.pace),
            "season": self.season,
            "gaps": list(self.gaps),
        }

    # What is to be predicted

    def read(self, source: Any, *, where: str | None = None) -> Any:
        """Returns the past of rows by columns (at least window, C), of which the last count; raises DataError."""
        where = where or "input"
        values = as_numbers(source, where)
        if values.ndim != 2 or values.shape[1] != len(self.columns) or len(values) < self.window:
            raise DataError(
                f"{where}: expected at least {self.window:,} rows of {len(self.columns)} numbers ({some(self.columns)}), came "
                f"{' x '.join(map(str, values.shape)) or 'a single number'}"
            )
        values = np.where(np.isfinite(values), values, np.nan)
        return self._past(values, filled_forward(values, np.array([0, len(values)])), None)

    def read_many(self, inputs: Any) -> Iterator[Any]:
        """Yields the past of each series in rows {column: cell} (a list or a DataFrame), or in an array (rows, C) or (N, rows, C)."""
        rows = inputs.to_dict("records") if hasattr(inputs, "to_dict") else inputs
        if isinstance(rows, list | tuple) and rows and isinstance(rows[0], Mapping):
            for _, past in self._pasts(_sheet_of(rows)):
                yield past
        elif np.ndim(rows) == 3:
            for index, one in enumerate(rows):
                yield self.read(one, where=f"input {index}")
        else:
            yield self.read(rows)

    def read_files(self, paths: Sequence[str | os.PathLike[str]]) -> Iterator[tuple[str, Any]]:
        for path in map(Path, paths):
            if not is_table(path):
                raise DataError(
                    f"{path}: expected a table (.csv, .tsv or .parquet) as in training, came another file"
                )
            for name, past in self._pasts(read_sheet(path, gaps=self.gaps)):
                yield f"{path}, {name}" if name else str(path), past

    def check_has(self, where: str, names: Sequence[str]) -> None:
        """Raises DataError unless these columns are all that is needed."""
        needed = [*self.columns, *(one for one in (self.time, self.group) if one is not None)]
        absent = [name for name in needed if name not in names]
        if absent:
            raise DataError(
                f"{where}: expected the columns of training, without {some(absent)}{near(absent[0], names)}\n"
                f"Columns: {some(list(names))}"
            )

    def _pasts(self, sheet: Sheet) -> Iterator[tuple[str, Past]]:
        """Yields the name and the last rows of each series of a table."""
        self.check_has(sheet.where, sheet.names)
        notes: list[str] = []
        rows, _ = read_rows(
            sheet, time=self.time, group=self.group, unreadable=0.01, notes=notes, form=self.pace.format
        )
        values = rows.numbers(self.columns)
        filled = filled_forward(values, rows.starts)
        for name, span in rows.series():
            count = span.stop - span.start
            if count < self.window:
                raise DataError(
                    f"{sheet.where}: expected at least {self.window:,} rows{f' of {name}' if name else ''}, which is how far the network "
                    f"looks back, came {count:,}"
                )
            yield name, self._past(values[span], filled[span], float(rows.times[span][-1]))

    def _past(self, values: np.ndarray, filled: np.ndarray, last: float | None) -> Past:
        values, filled = values[-self.window :], filled[-self.window :]
        gaps = np.isnan(values).sum(0)
        words = [f"{name}: {count:,} gaps are filled" for name, count in zip(self.columns, gaps) if count]
        whole = np.where(np.isnan(filled), self.mean.numpy(), filled)
        return Past(torch.from_numpy(whole), last, tuple(words))

    def together(self, examples: Sequence[Any]) -> Tensor:
        return torch.stack([past.values for past in examples])

    def remarks(self, raw: Any) -> list[str]:
        return list(raw.filled)

    def details(self, raw: Any) -> dict[str, Any]:
        """Returns what a record of a forecast has beside its values: their columns, and their times where these are known."""
        if self.horizon is None:
            return {}
        times = {} if raw.last is None else {"times": self.pace.after(raw.last, self.horizon)}
        return {"columns": list(self.targets), **times}


def _sheet_of(rows: Sequence[Mapping[str, Any]]) -> Sheet:
    from netwright.data.delimited import import_pyarrow

    pyarrow = import_pyarrow(Path("rows"))
    names = dict.fromkeys(name for row in rows for name in row)
    try:
        return Sheet("rows", pyarrow.table({name: [row.get(name) for row in rows] for name in names}))
    except (pyarrow.ArrowException, TypeError) as error:
        raise DataError(
            f"rows: expected cells of one type in a column ({str(error).splitlines()[0]})"
        ) from None


@dataclass(frozen=True, eq=False)
class SeriesSplit(Epochs):
    """One part of a set of series: windows that are views of `values` (T, C) float32, scaled, one series behind the other.

    Window n ends before row `places[n]` (N,) int64: its input is the `window` rows above, its target the `horizon` rows from there on, in the
    columns to forecast, or, without a horizon, `labels` (T,) int64 at its last row. `known` (T, C) bool: False where a gap was filled (None: there
    were none). `batches` are (x, y): (N, window, C) float32 with (N, horizon, targets) float32, or with (N,) int64.
    """

    values: Tensor
    places: Tensor
    preparation: SeriesPreparation
    labels: Tensor | None = None
    known: Tensor | None = None
    augmentation: None = None
    mixing: None = None
    balanced: bool = False
    names = None

    def __len__(self) -> int:
        return len(self.places)

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self.values.device

    @property
    def horizon(self) -> int | None:
        """Rows to forecast; None: the windows have classes."""
        return self.preparation.horizon

    @property
    def targets(self) -> Tensor:  # type: ignore[override]
        """All targets at once, (N, horizon, targets) float32 or (N,) int64: of a forecast they take `horizon` times the memory of the rows."""
        return self._targets(self.places)

    @property
    def evaluation_batch(self) -> int:
        """How many windows are evaluated at once."""
        return at_once((self.preparation.window + (self.horizon or 0), self.values.shape[1]), most=1000)

    def to(self, device: torch.device | str) -> SeriesSplit:
        """Returns this part on a device."""
        labels = None if self.labels is None else self.labels.to(device)
        known = None if self.known is None else self.known.to(device)
        return replace(
            self, values=self.values.to(device), places=self.places.to(device), labels=labels, known=known
        )

    def take(self, count: int) -> SeriesSplit:
        """Returns the first `count` windows (all of them if there are fewer)."""
        return replace(self, places=self.places[:count])

    def prepared(self, indices: Tensor | slice, draws: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Returns (x, y) of these windows, in memory of their own."""
        places = self.places[
            indices if isinstance(indices, slice) else torch.as_tensor(indices).to(self.device)
        ]
        return self._rows(self.values, places, -self.preparation.window, 0), self._targets(places)

    def raw(self, indices: Tensor | slice) -> Tensor:
        """Returns the rows above these windows in the unit of the table, (n, window, C) float64 without gaps."""
        places = self.places[indices if isinstance(indices, slice) else indices.to(self.device)]
        scaled = self._rows(self.values, places, -self.preparation.window, 0).cpu()
        return scaled.double() * self.preparation.std + self.preparation.mean

    def known_targets(self, indices: Tensor) -> Tensor | None:
        """Returns (N, horizon, targets) bool: which targets of these windows were there and not filled; None: all were."""
        if self.known is None:
            return None
        future = self._rows(self.known, self.places[indices.to(self.device)], 0, self.horizon or 0)
        return future[:, :, list(self.preparation.places)]

    def _targets(self, places: Tensor) -> Tensor:
        if self.labels is not None:
            return self.labels[places - 1]
        future = self._rows(self.values, places, 0, self.horizon or 0)
        return future[:, :, list(self.preparation.places)]

    def _rows(self, table: Tensor, places: Tensor, first: int, last: int) -> Tensor:
        """Returns (N, last - first, C): the rows of a table from `first` to before `last`, counted from each place."""
        return table[places[:, None] + torch.arange(first, last, device=places.device)]

    def batches(
        self, batch: int, order: Tensor | None = None, start: int = 0, draws: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields (x, y) of all windows, or of those in `order`; batches before `start` are jumped over."""
        rows = torch.arange(len(self)) if order is None else order.cpu()
        for some_rows in rows[start * batch :].split(batch):
            if len(some_rows):
                yield self.prepared(some_rows)
