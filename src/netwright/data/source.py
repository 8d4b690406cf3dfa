"""What was read, before it is divided: the parts that the source has, raw, and how they were read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from netwright.data.partition import content_hashes
from netwright.data.preparation import Preparation
from netwright.data.split import DatasetSplit, Split
from netwright.data.stream import Reader, StreamSplit
from netwright.data.text_parts import TextPart

if TYPE_CHECKING:
    from netwright.data.survey import Survey


@dataclass(frozen=True, eq=False)
class Part:
    """Examples in memory. `owned`: read by us, so its memory may be put in another order.

    `targets` (N,) int64 class ids or float32, as in Split. `hashed` (N,) uint64, where other things than the inputs
    decide which examples are copies of one another. `times` (N,), where parts are cut in their order.
    """

    inputs: Tensor
    targets: Tensor
    names: tuple[str, ...] | None = None
    owned: bool = False
    hashed: np.ndarray | None = None
    times: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def select(self, indices: Tensor) -> Part:
        """Returns these examples in memory of their own."""
        return replace(
            self,
            inputs=self.inputs[indices],
            targets=self.targets[indices],
            names=_names(self.names, indices),
            owned=True,
            hashed=None if self.hashed is None else self.hashed[indices.numpy()],
            times=None if self.times is None else self.times[indices.numpy()],
        )

    def divide(self, kept: Tensor, held_out: Tensor) -> tuple[Part, Part]:
        """Returns two parts, in the order given; memory that is ours is rearranged and shared, not copied."""
        if not self.owned:
            return self.select(kept), self.select(held_out)
        reorder(self.inputs, torch.cat([kept, held_out]))
        first, second = (
            replace(
                self,
                inputs=inputs,
                targets=self.targets[chosen],
                names=_names(self.names, chosen),
                hashed=None if self.hashed is None else self.hashed[chosen.numpy()],
                times=None if self.times is None else self.times[chosen.numpy()],
            )
            for inputs, chosen in ((self.inputs[: len(kept)], kept), (self.inputs[len(kept) :], held_out))
        )
        return first, second

    def hashes(self) -> np.ndarray | None:
        return content_hashes(self.inputs) if self.hashed is None else self.hashed

    def split(self, preparation: Preparation) -> Split:
        return Split(self.inputs, self.targets, preparation, self.names)


@dataclass(frozen=True, eq=False)
class DatasetPart:
    """Examples that stay in their Dataset; `dataset[i]` is one raw tensor."""

    dataset: Dataset[Tensor]
    targets: Tensor
    names: None = None

    def __len__(self) -> int:
        return len(self.targets)

    def select(self, indices: Tensor) -> DatasetPart:
        return DatasetPart(Subset(self.dataset, indices.tolist()), self.targets[indices])

    def divide(self, kept: Tensor, held_out: Tensor) -> tuple[DatasetPart, DatasetPart]:
        return self.select(kept), self.select(held_out)

    def hashes(self) -> None:
        return None

    def split(self, preparation: Preparation) -> DatasetSplit:
        return DatasetSplit(self.dataset, self.targets, preparation)


@dataclass(frozen=True, eq=False)
class StreamPart:
    """Examples that stay on disk: `rows` (N,) int64 of a reader, and what a look at all of its rows showed."""

    reader: Reader
    rows: Tensor
    targets: Tensor
    survey: Survey
    names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def select(self, indices: Tensor) -> StreamPart:
        return replace(
            self,
            rows=self.rows[indices],
            targets=self.targets[indices],
            names=_names(self.names, indices),
        )

    def divide(self, kept: Tensor, held_out: Tensor) -> tuple[StreamPart, StreamPart]:
        return self.select(kept), self.select(held_out)

    def hashes(self) -> np.ndarray:
        return self.survey.hashes[self.rows.numpy()]

    def split(self, preparation: Preparation) -> StreamSplit:
        return StreamSplit(self.reader, self.rows, self.targets, preparation, self.names)


AnyPart = Part | DatasetPart | StreamPart | TextPart


@dataclass
class Source:
    """What a reader hands to `load`: parts named train, validation, test (train always), and their story.

    `highest` is the largest raw pixel value (None: floats, or no image); `entries` is whatever a script
    needs beside `paths` to read the same again. `rows`: of each part that was cut from the training part, which of its rows
    they were as read. `grouped_by`: the column whose equal cells stay in one part, where that is not content. `prepare` (training part, "standard" or "none", notes to add to) fits what prepares
    these examples, where that is not the scaling of pixels or features.
    """

    name: str
    kind: str
    parts: dict[str, AnyPart]
    classes: tuple[str, ...] | None
    image: bool
    highest: int | None = None
    paths: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    entries: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, np.ndarray] = field(default_factory=dict)
    grouped_by: str | None = None
    prepare: Callable[[Any, str, list[str]], Preparation] | None = None


def reorder(inputs: Tensor, order: Tensor) -> None:
    """Puts the rows of `inputs` in the order given, in place, a few columns at a time.

    A second copy of the set never exists: the largest temporary holds 1/16 of it (or one column).
    """
    columns = inputs.view(len(inputs), -1)
    width = max(1, columns.shape[1] // 16)
    ordered = columns.new_empty((len(columns), width))
    for some in columns.split(width, dim=1):
        some.copy_(torch.index_select(some, 0, order, out=ordered[:, : some.shape[1]]))


def _names(names: Sequence[str] | None, indices: Tensor) -> tuple[str, ...] | None:
    return None if names is None else tuple(names[index] for index in indices.tolist())
