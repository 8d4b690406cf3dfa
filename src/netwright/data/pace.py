"""How far apart the rows of a series are in time, and at which times the rows behind the last one lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

_UNITS = ((604800, "week"), (86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
# Rows of one day, one week or one year, by the seconds between two rows: what people expect to come again.
_CYCLES = (86400.0, 604800.0, 31557600.0)


@dataclass(frozen=True)
class Pace:
    """The time from a row to the next: `size` seconds or months (`unit`), or of a number, or one row where there is no time.

    `format` is that of dates in text (strptime's), empty for ISO.

    >>> Pace("seconds", 5400.0).describe(), Pace("months", 1.0).describe()
    ('1.5 hours', '1 month')
    """

    unit: str
    size: float
    format: str = ""

    def describe(self) -> str:
        """Returns the time from one row to the next in words."""
        if self.unit == "seconds":
            seconds, name = next(
                (pair for pair in _UNITS if self.size >= pair[0] and pair[1] != "week"), (1, "second")
            )
            return _counted(self.size / seconds, name)
        return _counted(self.size, "month") if self.unit == "months" else f"{self.size:g}"

    def after(self, last: float, count: int) -> list[Any]:
        """Returns the times of the `count` rows behind `last`: dates in the words of the file, numbers, or whole numbers of rows.

        >>> Pace("seconds", 3600.0, "%Y-%m-%d %H:%M").after(0.0, 2)
        ['1970-01-01 01:00', '1970-01-01 02:00']
        >>> Pace("months", 1.0).after(0.0, 2)
        ['1970-02-01', '1970-03-01']
        """
        steps = range(1, count + 1)
        if self.unit in ("seconds", "months"):
            moved = (self._moved(last, step) for step in steps)
            stamps = (datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None) for seconds in moved)
            return [self._written(stamp) for stamp in stamps]
        whole = float(last).is_integer() and self.size.is_integer()
        return [int(last + step * self.size) if whole else last + step * self.size for step in steps]

    def _written(self, stamp: datetime) -> str:
        if self.format:
            return stamp.strftime(self.format)
        whole_days = self.unit == "months" or self.size % 86400 == 0
        midnight = stamp.time() == datetime.min.time()
        return stamp.date().isoformat() if whole_days and midnight else stamp.isoformat(" ")

    def _moved(self, last: float, step: int) -> float:
        if self.unit == "seconds":
            return last + step * self.size
        start = np.datetime64(int(last), "s")
        month = start.astype("datetime64[M]")
        within = start - month.astype("datetime64[s]")
        ends = (start + np.timedelta64(1, "D")).astype("datetime64[M]") != month
        moved = month + step * int(self.size)
        latest = (moved + 1).astype("datetime64[D]") - np.timedelta64(1, "D")  # of the month that it comes to
        day = latest if ends else min(moved.astype("datetime64[D]") + within.astype("timedelta64[D]"), latest)
        return float((day.astype("datetime64[s]") + within % np.timedelta64(86400, "s")).astype("int64"))

    def cycles(self) -> list[int]:
        """Returns the rows of a day, a week and a year, where they are from 2 to 10,000.

        >>> Pace("seconds", 3600.0).cycles(), Pace("months", 1.0).cycles()
        ([24, 168, 8766], [12])
        """
        if self.unit == "months":
            return [round(12 / self.size)] if self.size <= 6 else []
        if self.unit != "seconds":
            return []
        rows = [round(cycle / self.size) for cycle in _CYCLES]
        return [count for count in rows if 2 <= count <= 10_000]


def _counted(number: float, name: str) -> str:
    return f"{number:g} {name}{'' if number == 1 else 's'}"


def find_pace(series: Sequence[np.ndarray], *, dated: bool, form: str = "") -> tuple[Pace, int, float]:
    """Returns the commonest step between the ascending times (T,) of each series, how many steps are others, and the longest.

    Steps of dates are months where every one goes from a day to the same day of a later month, or from a month's end to one.
    Series of one row each have a step of 1.
    """
    steps = np.concatenate([np.diff(times) for times in series])
    if not len(steps):
        return Pace("seconds" if dated else "number", 1.0, form), 0, 1.0
    months = _months(series) if dated and float(steps.min()) >= 27.9 * 86400 else None
    counted = steps if months is None else months
    size, often = Counter(counted.tolist()).most_common(1)[0]
    unit = "months" if months is not None else "seconds" if dated else "number"
    return Pace(unit, float(size), form), len(steps) - often, float(counted.max())


def _months(series: Sequence[np.ndarray]) -> np.ndarray | None:
    """Returns the steps in months, or None unless all times stand at one day of their month, or at its last."""
    stamps = [times.astype("int64").astype("datetime64[s]") for times in series]
    together = np.concatenate(stamps)
    within = together - together.astype("datetime64[M]").astype("datetime64[s]")
    from_end = together - (together.astype("datetime64[M]") + 1).astype("datetime64[s]")
    if len(np.unique(within)) > 1 and len(np.unique(from_end)) > 1:
        return None
    return np.concatenate([np.diff(one.astype("datetime64[M]").astype("int64")) for one in stamps])
