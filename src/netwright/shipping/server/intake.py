"""What a request may hold, for each kind of data, and how it becomes raw examples. No string from a client is ever taken for a path."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from netwright.data import Preparation
from netwright.errors import DataError
from netwright.shipping.server.batching import Examples
from netwright.shipping.server.limits import Limits, Refusal, one_sentence, too_large, unreadable

logger = logging.getLogger("netwright.serve")
Schema = dict[str, Any]
# Of float32.
LARGEST = 3.4028234e38
NUMBER = {"type": "number"}


class Intake:
    """Reads the inputs of one preparation. `media`: the types of files that are taken, as they begin."""

    media: ClassVar[tuple[str, ...]] = ()

    def __init__(self, preparation: Any, limits: Limits) -> None:
        self.preparation, self.limits = preparation, limits

    def from_json(self, value: Any, where: str) -> list[Any]:
        """Returns the raw examples of one of the `inputs`; raises DataError or Refusal."""
        raise NotImplementedError

    def from_file(self, content: bytes, where: str, media: str) -> Examples:
        """Returns (name, raw example) of each example in a file; raises DataError or Refusal."""
        raise NotImplementedError

    def specimen(self) -> Any:
        """Returns a raw example that means nothing, to warm up with."""
        raise NotImplementedError

    def schema(self) -> Schema:
        """Returns the JSON Schema of one of the `inputs`."""
        raise NotImplementedError

    def example(self) -> Any:
        """Returns what one of the `inputs` may look like."""
        raise NotImplementedError

    def expected(self) -> str:
        """Returns in words what an input is."""
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one raw example."""
        return tuple(self.preparation.shape)

    def takes(self, media: str) -> bool:
        """Says whether a file of this media type is taken."""
        return media.startswith(self.media) if self.media else False

    @property
    def media_in_words(self) -> str:
        return " or ".join(f"{name}*" if name.endswith("/") else name for name in self.media)


class Numbers(Intake):
    """Rows of numbers: JSON alone."""

    def from_json(self, value: Any, where: str) -> list[Any]:
        return [_finite(self.preparation.read(_listed(value, where, self.expected()), where=where), where)]

    def specimen(self) -> Any:
        return torch.zeros(self.shape)

    def schema(self) -> Schema:
        return _any_shape({self.shape, (math.prod(self.shape),)}, NUMBER)

    def example(self) -> Any:
        return _nested(self.shape, 0.5)

    def expected(self) -> str:
        return f"{' x '.join(map(str, self.shape))} numbers"


class Images(Intake):
    """Pictures, as files or as the numbers of their pixels."""

    media = ("image/", "application/octet-stream")

    @property
    def highest(self) -> int | None:
        """The largest value of a pixel, None for floats of any range."""
        found: int | None = self.preparation.highest
        return found

    @property
    def from_files(self) -> bool:
        """Whether a picture file can be such an example: the training images were pixels, of 1 or 3 channels."""
        return self.highest is not None and self.shape[0] in (1, 3)

    def takes(self, media: str) -> bool:
        return self.from_files and super().takes(media)

    def from_json(self, value: Any, where: str) -> list[Any]:
        return [_finite(self.preparation.read(_listed(value, where, self.expected()), where=where), where)]

    def from_file(self, content: bytes, where: str, media: str) -> Examples:
        self._check_size(content, where)
        return [(where, self.preparation.read(content, where=where))]

    def _check_size(self, content: bytes, where: str) -> None:
        """Raises Refusal for a picture that would take too much memory, which a small file may."""
        from PIL import Image

        kinds = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "PPM", "WEBP")
        try:
            with Image.open(io.BytesIO(content), formats=kinds) as opened:
                width, height, mode = opened.width, opened.height, opened.mode
        except Exception:  # what it is that cannot be read is said by the preparation
            return
        cost = width * height * (4 if mode[0] in "IF" else 1)
        if cost > self.limits.pixels or min(width, height) < 1:
            raise too_large(
                f"{where}: {width:,} x {height:,} pixels: expected at most {self.limits.pixels:,}, or a quarter of that in 16 bits"
            )
        # It is brought to the size that covers the network's: a strip would come out very long.
        _, high, wide = self.shape
        if max(wide / width, high / height) ** 2 * width * height > self.limits.pixels:
            raise unreadable(
                f"{where}: {width:,} x {height:,} pixels is too narrow for a network of {wide} x {high}"
            )

    def specimen(self) -> Any:
        return torch.zeros(self.shape, dtype=torch.float32 if self.highest is None else torch.uint8)

    def schema(self) -> Schema:
        channels, height, width = self.shape
        shapes = {self.shape, (math.prod(self.shape),), (height, width, channels)}
        if channels == 1:
            shapes.add((height, width))
        pixel = NUMBER if self.highest is None else {"type": "integer", "minimum": 0, "maximum": self.highest}
        return _any_shape(shapes, pixel)

    def example(self) -> Any:
        return _nested(self.shape, 0)

    def expected(self) -> str:
        channels, height, width = self.shape
        numbers = "numbers" if self.highest is None else f"whole numbers from 0 to {self.highest}"
        pixels = f"{channels} x {height} x {width} pixels (channels, height, width), {numbers}"
        return f"a picture file, or {pixels}" if self.from_files else pixels


class Texts(Intake):
    """Texts: a string each, or a file each."""

    media = ("text/plain", "application/octet-stream")

    def from_json(self, value: Any, where: str) -> list[Any]:
        if not isinstance(value, str | dict):
            raise unreadable(f"{where}: expected {self.expected()}, came {_named(value)}")
        text = value.get(self.preparation.column) if isinstance(value, dict) else value
        if isinstance(text, str):
            self._check_length(text, where)
        return [self.preparation.read(value, where=where)]

    def from_file(self, content: bytes, where: str, media: str) -> Examples:
        self._check_length(content, where)
        return [(where, self.preparation.read(content, where=where))]

    def _check_length(self, text: str | bytes, where: str) -> None:
        if len(text) > self.limits.characters:
            raise too_large(
                f"{where}: a text of {len(text):,} characters: expected at most {self.limits.characters:,}"
            )

    def specimen(self) -> Any:
        return torch.tensor([1])

    def schema(self) -> Schema:
        text = {"type": "string", "pattern": r"\S", "maxLength": self.limits.characters}
        column = self.preparation.column
        if column is None:
            return text
        return {"anyOf": [text, {"type": "object", "required": [column], "properties": {column: text}}]}

    def example(self) -> Any:
        return "a text as in training"

    def expected(self) -> str:
        column = self.preparation.column
        return "a text" if column is None else f"a text, or an object with the text in {column!r}"


class Sounds(Intake):
    """Recordings: sound files, or samples at the network's rate."""

    media = ("audio/", "application/octet-stream", "application/ogg")

    def from_json(self, value: Any, where: str) -> list[Any]:
        return [_finite(self.preparation.read(_listed(value, where, self.expected()), where=where), where)]

    def from_file(self, content: bytes, where: str, media: str) -> Examples:
        self._check_length(content, where)
        return [(where, self.preparation.read(content, where=where))]

    def _check_length(self, content: bytes, where: str) -> None:
        """Raises Refusal for a recording that would take too much memory, which a small file may."""
        import soundfile

        try:
            with soundfile.SoundFile(io.BytesIO(content)) as opened:
                frames, rate, channels = opened.frames, opened.samplerate, opened.channels
        except Exception:  # what it is that cannot be read is said by the preparation
            return
        if not 1000 <= rate <= 768_000:
            raise unreadable(
                f"{where}: a recording at {rate:,} Hz: expected from 1,000 to 768,000 samples a second"
            )
        resampled = frames * self.preparation.rate / rate
        if max(frames * channels, resampled) > self.limits.samples:
            length = (
                "of a length that its header does not tell"
                if frames > 2**60
                else f"of {frames / rate:,.0f} s"
            )
            raise too_large(
                f"{where}: a recording {length}: expected at most {self.limits.samples:,} samples"
            )

    def specimen(self) -> Any:
        return torch.zeros(self.shape)

    def schema(self) -> Schema:
        return {"type": "array", "minItems": 1, "items": NUMBER}

    def example(self) -> Any:
        return [0.0, 0.25, -0.25]

    def expected(self) -> str:
        return f"a sound file, or samples at {self.preparation.rate:,} Hz, full scale 1"


class Tabular(Intake):
    """What can come as a table of delimited text: read as `predict` reads a file."""

    media = ("text/csv", "text/tab-separated-values")

    def from_file(self, content: bytes, where: str, media: str) -> Examples:
        first = content.split(b"\n", 1)[0]
        if sum(first.count(sign) for sign in b",;\t|") > 10_000:
            raise too_large(f"{where}: more than 10,000 columns")
        suffix = ".tsv" if media == "text/tab-separated-values" else ".csv"
        with tempfile.TemporaryDirectory(prefix="netwright-") as folder:
            path = Path(folder) / f"table{suffix}"
            path.write_bytes(content)
            with _named_as(str(path), where):
                return [
                    (name.replace(str(path), where), example)
                    for name, example in self.preparation.read_files([path])
                ]


class Rows(Tabular):
    """Rows of a table: objects, or lists of cells in the order of the columns."""

    def from_json(self, value: Any, where: str) -> list[Any]:
        if not isinstance(value, dict | list):
            raise unreadable(f"{where}: expected {self.expected()}, came {_named(value)}")
        if len(value) > 1000 + 2 * len(self.preparation.inputs):
            raise unreadable(f"{where}: {len(value):,} cells: expected {len(self.preparation.inputs):,}")
        if isinstance(value, dict):
            self._check_numbers(value, where)
        elif len(value) == len(self.preparation.inputs):
            self._check_numbers(dict(zip(self.preparation.inputs, value)), where)
        return [self.preparation.read(value, where=where)]

    def _check_numbers(self, row: Mapping[str, Any], where: str) -> None:
        """Raises Refusal for words where numbers are meant: in a file they would count as gaps, in JSON there is null for these."""
        for column in self.preparation.columns:
            if column.kind not in ("number", "boolean"):
                continue
            value = _number_in(row.get(column.name), self.preparation.gaps)
            if value is None and column.kind == "number":
                raise unreadable(
                    f"{where}: expected a number in {column.name!r} (null: a gap), came {_brief(row[column.name])}"
                )
            if value is not None and abs(value) > LARGEST:
                raise unreadable(
                    f"{where}: expected a number that float32 holds in {column.name!r}, came a larger one"
                )

    def specimen(self) -> Any:
        return torch.zeros(self.shape)

    def used(self) -> list[Any]:
        """Returns the columns that a row must have."""
        return [column for column in self.preparation.columns if column.width]

    def schema(self) -> Schema:
        cells = {column.name: _cell(column.kind) for column in self.used()}
        anything = {"type": ["number", "string", "boolean", "null"]}
        every = [cells.get(name, anything) for name in self.preparation.inputs]
        row = {
            "type": "object",
            "required": list(cells),
            "properties": cells,
            "maxProperties": 1000,
            "additionalProperties": anything,
        }
        in_order = {"type": "array", "prefixItems": every, "minItems": len(every), "maxItems": len(every)}
        return {"anyOf": [row, in_order]}

    def example(self) -> Any:
        return {column.name: typical(self.preparation, column) for column in self.used()}

    def expected(self) -> str:
        return "a row as {column: cell}, or a list of cells in the order of the columns; null is a gap"


class Series(Tabular):
    """The past of series: rows by columns."""

    def from_json(self, value: Any, where: str) -> list[Any]:
        rows = _listed(value, where, self.expected())
        if rows and all(isinstance(row, dict) for row in rows):
            return self._from_objects(rows, where)
        whole = [
            [math.nan if cell is None else cell for cell in row] if isinstance(row, list) else row
            for row in rows
        ]
        return [self.preparation.read(whole, where=where)]

    def _from_objects(self, rows: list[dict[str, Any]], where: str) -> list[Any]:
        names = dict.fromkeys(name for row in rows for name in row)
        if len(names) > 1000 + 2 * len(self.preparation.columns):
            raise unreadable(f"{where}: {len(names):,} columns: expected {len(self.preparation.columns):,}")
        with _named_as("rows", where):
            return list(self.preparation.read_many(rows))

    def specimen(self) -> Any:
        from netwright.data.series import Past

        return Past(self.preparation.mean.expand(self.shape).clone())

    def schema(self) -> Schema:
        count = len(self.preparation.columns)
        cell = {"type": ["number", "null"]}
        row = {"type": "array", "minItems": count, "maxItems": count, "items": cell}
        return {"type": "array", "minItems": self.shape[0], "items": row}

    def example(self) -> Any:
        return [[round(float(mean), 4) for mean in self.preparation.mean]] * self.shape[0]

    def expected(self) -> str:
        return (
            f"at least {self.shape[0]:,} rows of {len(self.preparation.columns):,} numbers "
            f"({', '.join(self.preparation.columns[:10])}), the newest last; null is a gap"
        )


INTAKES: dict[str, type[Intake]] = {
    "image": Images,
    "fitted-image": Images,
    "features": Numbers,
    "table": Rows,
    "text": Texts,
    "sound": Sounds,
    "series": Series,
}


def intake_of(preparation: Preparation, limits: Limits) -> Intake:
    """Returns what reads the inputs of a preparation.

    Raises DataError: a language model, which has no inputs to answer, or a package is missing that reads them.
    """
    if preparation.kind == "corpus":
        raise DataError(
            "a language model writes texts and has nothing to answer: netwright write RUN --prompt TEXT"
        )
    if preparation.kind == "sound":
        from netwright.data.recordings import check_soundfile

        check_soundfile("serve")
    if preparation.kind not in INTAKES:
        raise DataError(f"serve: expected inputs of the kind {', '.join(INTAKES)}, came {preparation.kind!r}")
    return INTAKES[preparation.kind](preparation, limits)


@contextlib.contextmanager
def told(where: str) -> Iterator[None]:
    """Turns whatever reading an input raises into a Refusal that a client can act on; what was not foreseen is logged."""
    try:
        yield
    except Refusal:
        raise
    except DataError as error:
        raise unreadable(one_sentence(error)) from None
    except MemoryError:
        raise Refusal(
            503, "there is not enough memory for this at the moment: try again in a second"
        ) from None
    except Exception as error:
        logger.exception("%s could not be read", where)
        raise unreadable(f"{where}: cannot be read ({type(error).__name__})") from None


@contextlib.contextmanager
def _named_as(ours: str, where: str) -> Iterator[None]:
    """Puts the client's name for what it sent in the place of ours in the message of a DataError."""
    try:
        yield
    except DataError as error:
        raise DataError(str(error).replace(ours, where)) from None


def _listed(value: Any, where: str, expected: str) -> list[Any]:
    if not isinstance(value, list):
        raise unreadable(f"{where}: expected {expected}, came {_named(value)}")
    return value


def _named(value: Any) -> str:
    """Returns what a value of JSON is called."""
    names = {str: "a text", bool: "true or false", dict: "an object", type(None): "null", list: "a list"}
    return names.get(type(value), "a number")


def _brief(value: Any) -> str:
    return repr(value[:40]) if isinstance(value, str) else _named(value)


def _finite(example: Tensor, where: str) -> Tensor:
    if example.is_floating_point() and not bool(example.isfinite().all()):
        raise unreadable(f"{where}: expected numbers that float32 holds, came larger ones")
    return example


def _number_in(cell: Any, gaps: Sequence[str]) -> float | None:
    """Returns the number in a cell, 0 for a gap, None where something else is in it."""
    if cell is None:
        return 0.0
    if isinstance(cell, str):
        cell = cell.strip()
        if cell in gaps or cell.lower() in ("true", "false"):
            return 0.0
    try:
        return float(cell)
    except (ValueError, TypeError):
        return None


def typical(preparation: Any, column: Any) -> Any:
    """Returns a cell as the training part had it in a column: its median or mean, its most frequent category.

    Numbers come with 4 digits.
    """
    if column.kind == "category":
        return column.categories[0] if column.categories else ""
    if column.kind == "date":
        middle = datetime.fromtimestamp(column.centre, UTC).replace(tzinfo=None)
        shown = middle if column.timed else datetime(middle.year, middle.month, middle.day)
        if column.format:
            return shown.strftime(column.format)
        return shown.isoformat(" ", "seconds") if column.timed else shown.date().isoformat()
    at = 0
    for other in preparation.columns:
        if other is column:
            break
        at += 0 if other.kind == "category" else other.width
    value = _middle(preparation, at) + column.centre
    return value >= 0.5 if column.kind == "boolean" else float(f"{value:.4g}")


def _middle(preparation: Any, at: int) -> float:
    """Returns the middle of a raw number in training: its median, or its mean."""
    for known in (preparation.quantiles, preparation.edges):
        if len(known):
            return float(known[at][len(known[at]) // 2])
    return float(preparation.mean[at] + preparation.fill[at] * preparation.std[at])


def _cell(kind: str) -> Schema:
    if kind == "number":
        return {"type": ["number", "null"]}
    return (
        {"type": ["string", "null"]} if kind == "date" else {"type": ["number", "string", "boolean", "null"]}
    )


def _any_shape(shapes: set[tuple[int, ...]], leaf: Schema) -> Schema:
    found = [_array(shape, leaf) for shape in sorted(shapes, key=lambda shape: (-len(shape), shape))]
    return found[0] if len(found) == 1 else {"anyOf": found}


def _array(shape: tuple[int, ...], leaf: Schema) -> Schema:
    schema = leaf
    for side in reversed(shape):
        schema = {"type": "array", "minItems": side, "maxItems": side, "items": schema}
    return schema


def _nested(shape: tuple[int, ...], value: float) -> Any:
    found: Any = value
    for side in reversed(shape):
        found = [found] * side
    return found
