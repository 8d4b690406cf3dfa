"""After how many rows a series comes again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

# What the correlation of the steps of a series with those a season before must exceed: a little where a calendar speaks for it
# (in ETTh1 a day has 0.17 to 0.52 in the seven columns), more where any number of rows could do by chance.
ALIKE_BY_CALENDAR, ALIKE = 0.1, 0.3
LAGS_AT_MOST = 1000


def find_season(series: Sequence[np.ndarray], likely: Iterable[int], *, most: int) -> int | None:
    """Returns after how many rows, from 2 to `most`, series (T, C) without gaps come again; None: no season was found.

    Looked at are the steps from row to row, because a trend is no season: their correlation with those of a season before, over
    all columns and series. `likely` numbers of rows (a day's, a week's) are tried first; where there are none all up to 1,000, and of those that
    are nearly as good as the best the smallest, since a season's multiples are seasons too.

    >>> find_season([np.sin(np.arange(100) * 2 * np.pi / 12)[:, None]], [], most=30)
    12
    """
    steps = [np.diff(values, axis=0) for values in series]
    longest = max((len(one) for one in steps), default=0) // 3
    named = [lag for lag in likely if 2 <= lag <= min(most, longest)]
    lags = named or range(2, min(most, longest, LAGS_AT_MOST) + 1)
    found = {lag: _likeness(steps, lag) for lag in lags}
    best = max(found.values(), default=0.0)
    # By chance alone it is about one over the root of the number of steps.
    chance = 3 / max(1, sum(map(len, steps))) ** 0.5
    if best <= max(chance, ALIKE_BY_CALENDAR if named else ALIKE):
        return None
    # Of neighbours only the peak: one row beside a season of many is nearly as good.
    peaks = (
        lag
        for lag, likeness in found.items()
        if likeness >= max(found.get(lag - 1, -1), found.get(lag + 1, -1))
    )
    return min(lag for lag in peaks if found[lag] >= 0.9 * best)


def _likeness(steps: Sequence[np.ndarray], lag: int) -> float:
    """Returns the mean over columns of the correlation of the steps with those `lag` rows before."""
    pairs = [(one[lag:], one[:-lag]) for one in steps if len(one) > lag]
    if not pairs:
        return 0.0
    now, before = (np.concatenate(side) for side in zip(*pairs))
    size = np.sqrt((now**2).sum(0) * (before**2).sum(0))
    return float(np.mean((now * before).sum(0)[size > 0] / size[size > 0])) if (size > 0).any() else 0.0
