"""A loaded data set: its parts, its classes, what prepares it, and everything that was decided on the way."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netwright.data.ahead import Workers
from netwright.data.augmentation import Augmentation
from netwright.data.corpus import CorpusSplit
from netwright.data.generators import kept_generators
from netwright.data.mixing import OPTIONS, Mixing
from netwright.data.preparation import Preparation
from netwright.data.series import SeriesSplit
from netwright.data.sound import SoundPreparation
from netwright.data.sound_augmentation import SoundAugmentation
from netwright.data.split import DatasetSplit, Split
from netwright.data.stream import StreamSplit
from netwright.errors import DataError

AnySplit = Split | DatasetSplit | StreamSplit | CorpusSplit | SeriesSplit


@dataclass(frozen=True)
class Reading:
    """How a set was read: enough to read the same examples again into the same order.

    `kind` is digits, idx, folder, sounds, npz, arrays, parquet, text, series or python; `paths` are files in the order read, or the one folder;
    `options` has what was in effect: `seed`, `classes`, `shape` and `highest` of the raw examples, and
    `steps`, the cuts in order, each {"from", "into", "size"}: stratified_split(targets, groups, size, seed)
    of `from` holds out `into`, grouped by content_hashes; {"limit": part, "size"}: the part becomes what is
    held out with groups of one; {"overfit": n}: validation and test are the training part.
    """

    kind: str
    paths: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Data:
    """Train, validation and test, with what prepares them; `notes` has one sentence for every decision.

    `rows`: of each part that was cut from the training part of the source, which of its examples, as read, it has.

    >>> from netwright.data import load
    >>> data = load("digits")
    >>> data.task, data.input_shape, data.num_outputs
    ('classification', (1, 8, 8), 10)
    """

    name: str
    train: AnySplit
    validation: AnySplit
    test: AnySplit
    classes: tuple[str, ...] | None
    preparation: Preparation
    notes: tuple[str, ...] = ()
    reading: Reading = Reading("python")
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def task(self) -> str:
        """`classification`, `regression`, or `language` where each token is predicted from those before it."""
        if "every_token" in self.preparation.facts:
            return "language"
        return "regression" if self.classes is None else "classification"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one prepared example."""
        return self.preparation.prepared_shape

    @property
    def num_outputs(self) -> int:
        """How many numbers a network must put out for an example: one a class, or one a target."""
        if self.classes is not None:
            return len(self.classes)
        if self.task == "language":
            return int(self.preparation.facts["vocabulary"])
        return math.prod(self.output_shape)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of what is to be put out for an example: (classes,), that of its numbers, or (horizon, columns) of a forecast."""
        if self.classes is not None or self.task == "language":
            return (self.num_outputs,)
        if isinstance(self.train, SeriesSplit):
            return self.train.preparation.output_shape or ()
        return tuple(self.train.targets.shape[1:])

    @property
    def example(self) -> Tensor:
        """The first training example, prepared: (1, *input_shape) float32."""
        with kept_generators():
            return self.train.prepared(slice(0, 1))[0]

    @property
    def class_counts(self) -> tuple[int, ...] | None:
        """Training examples of each class."""
        if self.classes is None:
            return None
        return tuple(torch.bincount(self.train.targets.cpu(), minlength=len(self.classes)).tolist())

    def to(self, device: torch.device | str) -> Data:
        """Returns the same set with its parts on a device."""
        return replace(
            self,
            train=self.train.to(device),
            validation=self.validation.to(device),
            test=self.test.to(device),
        )

    def with_augmentation(self, entries: Mapping[str, Any]) -> Data:
        """Returns the same set whose epochs change their images, or recordings, so.

        The entries are those of `Augmentation`, or of `SoundAugmentation`. Raises DataError: the examples are neither, or an
        entry cannot be.
        """
        augmentation, mixing = self.changes(entries), self.mixing(entries)
        notes = list(self.notes)
        train = self.train
        if augmentation:
            augmentation.check(self.preparation, name=self.name)
            assert not isinstance(train, CorpusSplit | SeriesSplit)  # whose windows have no shape of images
            what = "recordings" if isinstance(augmentation, SoundAugmentation) else "images"
            notes.append(f"training {what} are {augmentation.describe()}, anew in every epoch")
            train = replace(train, augmentation=augmentation)
        if mixing:
            assert not isinstance(train, CorpusSplit | SeriesSplit)
            notes.append(
                f"training examples of a batch are mixed in pairs, and their targets: {mixing.describe()}"
            )
            train = replace(train, mixing=mixing)
        return replace(self, train=train, notes=tuple(notes))

    def mixing(self, entries: Mapping[str, Any]) -> Mixing:
        """Returns how these entries of the section `augment` mix the examples of a batch; raises DataError."""
        mixing = Mixing.build(entries, num_classes=None if self.classes is None else len(self.classes))
        sound = isinstance(self.preparation, SoundPreparation)
        shape = () if isinstance(self.train, CorpusSplit | SeriesSplit) else self.preparation.prepared_shape
        if mixing and len(shape) != 3:
            raise DataError(
                f"{self.name}: augment.{next(iter(mixing.settings()))} mixes images or recordings, which this set does not hold.\n"
                "Leave it out."
            )
        if mixing.cutmix and sound:
            raise DataError(f"{self.name}: augment.cutmix goes with images; recordings take augment.mixup")
        return mixing

    def changes(self, entries: Mapping[str, Any]) -> Augmentation | SoundAugmentation:
        """Returns what these entries of the section `augment` do to examples of this kind; raises DataError.

        Entries that change examples of the other kind are an error, not left out.
        """
        entries = {name: value for name, value in entries.items() if name not in OPTIONS}
        sound = isinstance(self.preparation, SoundPreparation)
        kind, other = (SoundAugmentation, Augmentation) if sound else (Augmentation, SoundAugmentation)
        words = ("recordings", "images") if sound else ("images", "recordings")
        own, foreign = ({entry.name for entry in fields(one)} for one in (kind, other))
        wrong = sorted(foreign & set(entries) - own)
        if wrong:
            raise DataError(
                f"{self.name}: augment.{wrong[0]} changes {words[1]}, which this set does not hold.\n"
                f"Leave it out; {words[0]} take {', '.join(sorted(own))}."
            )
        if isinstance(self.preparation, SoundPreparation):
            return SoundAugmentation.build(entries).bounded(self.preparation)
        return Augmentation.build(entries)

    def read_by(self, workers: Workers, *, pinned: bool = False) -> Data:
        """Returns the same set, what lies on disk read by `workers`; no batch is changed by it."""
        parts = {
            name: replace(part, workers=workers, pinned=pinned) if isinstance(part, StreamSplit) else part
            for name, part in (("train", self.train), ("validation", self.validation), ("test", self.test))
        }
        return replace(self, train=parts["train"], validation=parts["validation"], test=parts["test"])

    def describe(self) -> str:
        """Returns a few lines of plain text for the terminal.

        >>> from netwright.data import load
        >>> print(load("digits", test_share=0.2).describe())
        digits: 1,258 to train, 180 to validate, 359 to test
        10 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
        input 1 x 8 x 8, divided by 16, less 0.3051, over 0.376
        """
        shape = " x ".join(map(str, self.input_shape))
        lines = [
            f"{self.name}: {len(self.train):,} to train, {len(self.validation):,} to validate, "
            f"{len(self.test):,} to test{', in windows' if self._in_windows else ''}",
            self._outputs(),
            f"input {shape}{self.preparation.describe()}",
        ]
        return "\n".join(lines)

    @property
    def _in_windows(self) -> bool:
        return isinstance(self.train, CorpusSplit | SeriesSplit)

    def _outputs(self) -> str:
        if self.task == "language":
            return "the next token to predict"
        if self.classes is None:
            count = self.num_outputs
            if self._in_windows:
                rows, columns = self.output_shape
                return f"{rows:,} row{'s' if rows > 1 else ''} of {columns:,} column{'s' if columns > 1 else ''} to forecast"
            return f"{count} number{'s' if count > 1 else ''} to predict"
        shown = ", ".join(self.classes[:10]) + (", …" if len(self.classes) > 10 else "")
        return f"{len(self.classes)} classes: {shown}"
