"""Equal neighbours in a list, taken together: six equal blocks are one block, six times."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
PERIOD_AT_MOST = 8


def folded(
    items: Sequence[Item], key: Callable[[Item], Hashable], *, worth: Callable[[Sequence[Item], int], bool]
) -> list[tuple[list[Item], int]]:
    """Returns the items in runs: (the first unit of a run, how often it comes), in their order.

    Items are equal where their keys are; a unit has up to 8. `worth` says whether a unit that comes so often is taken together.

    >>> folded("xababab", str, worth=lambda unit, times: times > 2)
    [(['x'], 1), (['a', 'b'], 3)]
    """
    keys = [key(item) for item in items]
    runs: list[tuple[list[Item], int]] = []
    place = 0
    while place < len(items):
        period, times = _longest(keys, place)
        while times > 1 and not worth(items[place : place + period * times], times):
            times -= 1
        if times == 1:
            period = 1
        runs.append((list(items[place : place + period]), times))
        place += period * times
    return runs


def _longest(keys: Sequence[Hashable], place: int) -> tuple[int, int]:
    best = (1, 1)
    for period in range(1, min(PERIOD_AT_MOST, (len(keys) - place) // 2) + 1):
        unit, times = keys[place : place + period], 1
        while keys[place + times * period : place + (times + 1) * period] == unit:
            times += 1
        if times > 1 and period * times > best[0] * best[1]:
            best = (period, times)
    return best
