"""The column to predict: classes or numbers, decided by a stated rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor

from netwright.data.columns import as_category, numbers
from netwright.errors import DataError

# Whole numbers of at most so many different values are classes, of more numbers.
CLASSES_AT_MOST = 20


@dataclass(frozen=True)
class Target:
    """A column to predict. `task` is "classes" or "numbers"; numbers are learned less `mean` and over `std`."""

    name: str
    task: str
    mean: float = 0.0
    std: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """Returns what `from_dict` takes, in JSON's own types."""
        return asdict(self)

    @staticmethod
    def from_dict(entries: Mapping[str, Any]) -> Target:
        return Target(**entries)

    def to_learn(self, targets: Tensor) -> Tensor:
        """Returns targets (N,) in the unit in which the network learns them; classes as they are."""
        if self.task == "classes":
            return targets
        return ((targets.double() - self.mean) / self.std).float()

    def in_units(self, values: Tensor) -> Tensor:
        """Returns outputs (N, ...) of the network, or targets, in the column's own unit; inverse of `to_learn`."""
        return values if self.task == "classes" else (values.double() * self.std + self.mean).float()

    def scaled_to(self, targets: Tensor) -> Target:
        """Returns the target with the mean and the standard deviation of these training targets (N,)."""
        values = targets.double()
        spread = float(values.std(correction=0))
        return Target(self.name, self.task, float(values.mean()), spread if spread > 0 else 1.0)


def choose_target(where: str, name: str, cells: Any, asked: str) -> tuple[Target, str]:
    """Returns what to predict and the reason, for people.

    Text, truth values and whole numbers of at most CLASSES_AT_MOST different values are classes; other numbers are
    numbers; `asked` ("classes", "numbers") overrides it. Raises DataError for a column that is constant, all different text, all
    gaps, dates, or holds words among numbers.
    """
    from pyarrow import compute, types

    present = cells.drop_null()
    if not len(present):
        raise DataError(f"{where}: expected targets in column {name!r}, came nothing but gaps")
    if types.is_dictionary(present.type):
        present = present.cast(present.type.value_type)
    distinct = compute.count_distinct(present).as_py()
    if distinct == 1:
        raise DataError(
            f"{where}: expected different targets in column {name!r}, came {as_category(present[0].as_py())!r} in every row"
        )
    if types.is_temporal(present.type):
        raise DataError(f"{where}: expected classes or numbers in column {name!r}, came {present.type}")
    if types.is_boolean(present.type):
        return (
            (Target(name, "classes"), "true or false")
            if asked == "auto"
            else (Target(name, asked), "as you say")
        )
    if types.is_string(present.type) or types.is_large_string(present.type):
        return _of_words(where, name, present, distinct, asked)
    values = numbers(present)
    if np.isnan(values).any():
        raise DataError(f"{where}: expected finite numbers in column {name!r}, came infinite ones")
    if asked != "auto":
        return Target(name, asked), "as you say"
    if (values != np.rint(values)).any():
        return Target(name, "numbers"), "fractions"
    if distinct <= CLASSES_AT_MOST:
        return Target(name, "classes"), f"{distinct} different whole numbers"
    return Target(name, "numbers"), f"{distinct:,} different whole numbers, more than {CLASSES_AT_MOST}"


def _of_words(where: str, name: str, present: Any, distinct: int, asked: str) -> tuple[Target, str]:
    read = np.isfinite(numbers(present))
    share = float(read.mean())
    if asked == "numbers" or (asked == "auto" and share > 0.5):
        word = present[int(np.flatnonzero(~read)[0])].as_py() if share < 1 else ""
        raise DataError(
            f"{where}: expected numbers in column {name!r}, came {int((~read).sum()):,} cells that are none, such as {word!r}.\n"
            "Mend or drop these rows, or predict the cells as classes: --set table.task=classes"
        )
    if distinct == len(present) and distinct > 2:
        raise DataError(
            f"{where}: expected classes in column {name!r}, came a different text in each of {distinct:,} rows"
        )
    return Target(name, "classes"), f"{distinct:,} different texts"


def read_target(cells: Any, target: Target) -> np.ndarray:
    """Returns (N,) float64 of numbers, or labels as text; rows with gaps are to be left out before."""
    if target.task == "numbers":
        return numbers(cells)
    coded = cells.dictionary_encode()
    labels = np.asarray([as_category(value) for value in coded.dictionary.to_pylist()])
    return labels[coded.indices.to_numpy()]


def in_sequence(labels: Iterable[str]) -> tuple[str, ...]:
    """Returns the different labels: whole numbers by size, others by their letters.

    >>> in_sequence(["10", "9", "10"]), in_sequence(["b", "a"])
    (('9', '10'), ('a', 'b'))
    """
    distinct = sorted(set(labels))
    try:
        return tuple(sorted(distinct, key=int))
    except ValueError:
        return tuple(distinct)
