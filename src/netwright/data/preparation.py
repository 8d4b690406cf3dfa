"""What turns raw input into what the network sees: one object, saved with the run, applied by `predict`."""

from __future__ import annotations

import copy
import importlib
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from netwright.errors import DataError

# What `from_dict` builds for each kind; a module is imported when its kind is met.
KINDS = {
    "image": "netwright.data.preparation:ImagePreparation",
    "features": "netwright.data.preparation:FeaturePreparation",
    "table": "netwright.data.table:TablePreparation",
    "text": "netwright.data.text:TextPreparation",
    "corpus": "netwright.data.corpus:CorpusPreparation",
    "sound": "netwright.data.sound:SoundPreparation",
    "series": "netwright.data.series:SeriesPreparation",
    "fitted-image": "netwright.data.fitted_images:FittedImages",
}


class Preparation(nn.Module):
    """A raw batch in, a float32 batch out: `(raw.float() / scale - mean) / std`, nothing else.

    `shape` is that of one raw example; `mean` and `std` have one number per channel or feature.
    """

    kind: ClassVar[str]
    # Whether a string is an example by itself; elsewhere it names a file.
    takes_text: ClassVar[bool] = False
    # Whether each number of an example comes out by itself, to the same bits in whatever batch it is.
    elementwise: ClassVar[bool] = True
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        *,
        scale: float = 1.0,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
    ) -> None:
        super().__init__()
        self.shape = tuple(int(side) for side in shape)
        self.scale = float(scale)
        self.register_buffer("mean", self._column("mean", mean))
        self.register_buffer("std", self._column("std", std))
        if not (self.scale > 0 and math.isfinite(self.scale)) or not bool((self.std > 0).all()):
            raise DataError(
                f"preparation: scale and std must be above 0, came {self.scale:g} and {list(std)}"
            )
        self._centred = bool((self.mean != 0).any())
        self._spread = bool((self.std != 1).any())

    def _column(self, name: str, numbers: Sequence[float]) -> Tensor:
        column = self.checked_column(name, numbers, count=self.shape[0], of="channel or feature")
        return column.view(-1, *[1] * (len(self.shape) - 1))

    def checked_column(self, name: str, numbers: Sequence[float], *, count: int, of: str) -> Tensor:
        """Returns 1 or `count` numbers as (1,) or (count,) float32; raises DataError for others."""
        try:
            column = torch.tensor(list(numbers), dtype=torch.float32)
        except (TypeError, ValueError):
            raise DataError(f"preparation: expected {name} as a list of numbers, came {numbers!r}") from None
        if column.dim() != 1 or len(column) not in (1, count) or not bool(column.isfinite().all()):
            raise DataError(
                f"preparation: expected {name} as 1 or {count} finite numbers "
                f"(one for each {of}), came {list(numbers)[:8]} ({len(numbers)})"
            )
        return column

    @property
    def prepared_shape(self) -> tuple[int, ...]:
        """The shape of one prepared example."""
        return self.shape

    @property
    def mean_colour(self) -> Tensor:
        """The mean in the unit of raw examples, one number a channel or feature, to fill holes with."""
        return self.mean * self.scale

    @property
    def facts(self) -> dict[str, Any]:
        """What a network may ask for by the name of an argument, beside `input_shape` and `num_outputs`."""
        return {}

    def forward(self, raw: Tensor) -> Tensor:
        """Returns the prepared float32 batch of a raw one, (N, *shape)."""
        return (raw.float() / self.scale - self.mean) / self.std

    def prepare_fresh(self, raw: Tensor) -> Tensor:
        """Returns what `forward` does, bit for bit, in the memory of `raw` where it is float32 already.

        For tensors that nobody else holds.
        """
        prepared = raw.float()
        if self.scale != 1:
            prepared = prepared.div_(self.scale)
        if self._centred:
            prepared = prepared.sub_(self.mean)
        if self._spread:
            prepared = prepared.div_(self.std)
        return prepared

    def to_learn(self, targets: Tensor) -> Tensor:
        """Returns targets (N, ...) in the unit in which the network learns them."""
        return targets

    def in_units(self, values: Tensor) -> Tensor:
        """Returns the network's outputs, or targets, (N, ...) in the unit of the data; inverse of `to_learn`."""
        return values

    def remarks(self, raw: Tensor) -> list[str]:
        """Returns what was decided for one raw example that is to be predicted, one sentence for each decision."""
        return []

    def details(self, raw: Any) -> dict[str, Any]:
        """Returns what a record of a prediction has beside its answer, of what `read` gave for one example."""
        return {}

    def describe(self) -> str:
        """Returns, for people, what is done to an example, as the end of `input 1 x 28 x 28 …`."""
        words = ""
        if self.scale != 1:
            words += f", divided by {self.scale:g}"
        if self.mean.numel() > 4:
            return words + ", each standardised"
        if bool((self.mean != 0).any()):
            words += f", less {_shown(self.mean)}"
        if bool((self.std != 1).any()):
            words += f", over {_shown(self.std)}"
        return words or ", as it is"

    def on(self, device: torch.device | str) -> Preparation:
        """Returns a copy of this preparation on a device; this one stays where it is."""
        return copy.deepcopy(self).to(device)

    def to_dict(self) -> dict[str, Any]:
        """Returns what `from_dict` takes, in JSON's own types; the numbers come back exactly."""
        return {
            "kind": self.kind,
            "shape": list(self.shape),
            "scale": self.scale,
            "mean": _numbers(self.mean),
            "std": _numbers(self.std),
        }

    @staticmethod
    def from_dict(entries: dict[str, Any]) -> Preparation:
        """Returns the preparation that `to_dict` described.

        >>> kept = ImagePreparation((1, 28, 28), scale=255, mean=[0.1307], std=[0.3081]).to_dict()
        >>> kept["mean"], Preparation.from_dict(kept).to_dict() == kept
        ([0.1307], True)
        """
        entries = dict(entries)
        kind = entries.pop("kind", None)
        if kind not in KINDS:
            raise DataError(f"preparation: expected kind {' or '.join(KINDS)}, came {kind!r}")
        module, _, name = KINDS[kind].partition(":")
        try:
            return getattr(importlib.import_module(module), name)(**entries)
        except (TypeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"preparation: cannot be read back ({error})") from None

    def read(self, source: Any, *, where: str | None = None) -> Tensor:
        """Returns the raw tensor, (*shape), of ONE example: a file's path, its bytes, an image or an array.

        Raises DataError naming the file (or `where`), what was expected and what came.
        """
        raise NotImplementedError

    def read_files(self, paths: Sequence[str | os.PathLike[str]]) -> Iterator[tuple[str, Tensor]]:
        """Yields (name, raw tensor) of each example in these files and folders; raises DataError."""
        from netwright.data.media import find_inputs

        for file in find_inputs(paths):
            yield str(file), self.read(file)

    def together(self, examples: Sequence[Tensor]) -> Tensor:
        """Returns what `read` gave for several examples as one raw batch."""
        return torch.stack(list(examples))

    def read_many(self, inputs: Any) -> Iterator[Tensor]:
        """Yields the raw tensor of each example in an array, tensor or (nested) list of one example or several.

        What has the shape of one example, with or without a channel of its own, is one. Raises DataError.

        >>> rows = FeaturePreparation((2,))
        >>> len(list(rows.read_many([[1, 2], [3, 4], [5, 6]]))), len(list(rows.read_many([1, 2])))
        (3, 1)
        """
        if self._is_one(inputs):
            yield self.read(inputs, where="input")
            return
        try:
            examples = list(inputs)
        except TypeError:
            raise DataError(
                f"input: expected an array of examples of shape {self.shape}, came {type(inputs).__name__}"
            ) from None
        if not examples:
            raise DataError(f"input: expected examples of shape {self.shape}, came none")
        for index, example in enumerate(examples):
            yield self.read(example, where=f"input {index}")

    def _is_one(self, inputs: Any) -> bool:
        try:
            shape = tuple(inputs.shape) if hasattr(inputs, "shape") else np.shape(inputs)
        except ValueError:  # rows of different lengths: each is looked at by itself
            return False
        one = {self.shape, (math.prod(self.shape),)}
        if len(self.shape) == 3:
            channels, height, width = self.shape
            one |= {(height, width, channels)} | ({(height, width)} if channels == 1 else set())
        return shape in one

    def read_numbers(self, row: Any, *, where: str = "input") -> Tensor:
        """Returns the raw tensor, (*shape), of one example given as (nested) numbers, as JSON has them.

        A flat row of as many numbers as the shape holds is taken too. Raises DataError.
        """
        values = as_numbers(row, where)
        expected = f"expected {' x '.join(map(str, self.shape))} numbers"
        if values.shape != self.shape and values.shape != (math.prod(self.shape),):
            shown = " x ".join(map(str, values.shape)) or "a single number"
            raise DataError(f"{where}: {expected}, came {shown}")
        if not np.isfinite(values).all():
            at = np.argwhere(~np.isfinite(values))[0].tolist()
            raise DataError(f"{where}: {expected}, came {values[tuple(at)]} at {at}")
        return self._raw(values.reshape(self.shape), where)

    def _raw(self, values: np.ndarray, where: str) -> Tensor:
        return torch.tensor(values, dtype=torch.float32)

    def extra_repr(self) -> str:
        return f"shape={self.shape}, scale={self.scale:g}, mean={_brief(self.mean)}, std={_brief(self.std)}"


class ImagePreparation(Preparation):
    """The preparation of images: raw (C, H, W) uint8 from 0 to `highest`, or float32 (`highest` None).

    >>> prepare = ImagePreparation((1, 2, 2), scale=255.0, mean=[0.5], std=[0.25])
    >>> prepare(torch.tensor([[[[0, 255], [0, 255]]]], dtype=torch.uint8)).flatten().tolist()
    [-2.0, 2.0, -2.0, 2.0]
    """

    kind = "image"

    def __init__(self, shape: Sequence[int], *, highest: int | None = 255, **numbers: Any) -> None:
        if len(shape) != 3:
            raise DataError(
                f"preparation: expected an image's shape as (channels, height, width), came {tuple(shape)}"
            )
        super().__init__(shape, **numbers)
        self.highest = highest

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "highest": self.highest}

    def read(self, source: Any, *, where: str | None = None) -> Tensor:
        if isinstance(source, (str, Path, bytes, bytearray)) or _is_picture(source):
            return self._read_picture(source, where)
        where = where or "input"
        values = as_numbers(source, where)
        channels, height, width = self.shape
        if values.shape == (height, width) and channels == 1:
            values = values[None]
        elif values.shape == (height, width, channels) and values.shape != self.shape:
            values = values.transpose(2, 0, 1)
        return self.read_numbers(values, where=where)

    def _read_picture(self, source: Any, where: str | None) -> Tensor:
        from netwright.data.images import decode_image, explain_unreadable, quiet_pillow

        if where is None:
            where = str(source) if isinstance(source, (str, Path)) else "image"
        if self.highest is None:
            raise DataError(
                f"{where}: the training images were float arrays, whose range a picture file does not tell.\n"
                f"Expected an array of shape {self.shape} as in training."
            )
        channels, height, width = self.shape
        if channels not in (1, 3):
            raise DataError(
                f"{where}: expected an array of shape {self.shape}; a picture has 1 or 3 channels"
            )
        try:
            with quiet_pillow():
                pixels = decode_image(source, channels, height, width)
        except Exception as error:  # Pillow's plug-ins raise what they like on damaged files
            raise DataError(f"{where}: {explain_unreadable(source, error)}") from None
        if self.highest != 255:
            pixels = np.rint(pixels * (self.highest / 255)).astype(np.uint8)
        return torch.from_numpy(pixels)

    def _raw(self, values: np.ndarray, where: str) -> Tensor:
        if self.highest is None:
            return super()._raw(values, where)
        wrong = (values < 0) | (values > self.highest) | (values != np.rint(values))
        if wrong.any():
            at = np.argwhere(wrong)[0].tolist()
            raise DataError(
                f"{where}: expected raw pixels, whole numbers from 0 to {self.highest}, "
                f"came {values[tuple(at)]:g} at {at}"
            )
        return torch.tensor(values, dtype=torch.uint8)


class FeaturePreparation(Preparation):
    """The preparation of rows of numbers: raw (D,) float32, or uint8, one mean and std a feature.

    >>> FeaturePreparation((2,), mean=[1.0, 0.0], std=[2.0, 1.0])(torch.tensor([[3.0, 4.0]])).tolist()
    [[1.0, 4.0]]
    """

    kind = "features"

    def read(self, source: Any, *, where: str | None = None) -> Tensor:
        if isinstance(source, (str, Path, bytes, bytearray)) or _is_picture(source):
            where = where or (str(source) if isinstance(source, (str, Path)) else "input")
            raise DataError(
                f"{where}: expected a row of {math.prod(self.shape)} numbers, as in training; came a file or picture.\n"
                "Give rows as arrays, or as JSON on standard input (-)."
            )
        return self.read_numbers(source, where=where or "input")


def _is_picture(source: Any) -> bool:
    return hasattr(source, "getbands") and hasattr(source, "size")


def as_numbers(source: Any, where: str) -> np.ndarray:
    """Returns a numeric array of what came, or a DataError that names it."""
    if isinstance(source, Tensor):
        source = source.detach().cpu().numpy()
    try:
        values = np.asarray(source)
    except ValueError:  # NumPy's answer to rows of different lengths
        raise DataError(f"{where}: expected rows of equal length, came rows of different lengths") from None
    if values.dtype.kind not in "buif":
        raise DataError(f"{where}: expected numbers, came {values.dtype} ({str(source)[:40]})")
    return values.astype(np.float64)


def _numbers(column: Tensor) -> list[float]:
    # NumPy prints the shortest decimal that is this float32: 0.1307 and not 0.13069999217987061.
    return [float(str(number)) for number in column.flatten().cpu().numpy()]


def _shown(column: Tensor) -> str:
    return " / ".join(f"{number:.4g}" for number in column.flatten().tolist())


def _brief(column: Tensor) -> str:
    numbers = _numbers(column)
    return f"{numbers if len(numbers) <= 4 else f'{len(numbers)} numbers'}"
