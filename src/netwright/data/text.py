"""What turns texts into rows of token ids, saved with the run like every preparation."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from netwright.data.delimited import is_table, read_sheet
from netwright.data.encodings import decode_text, read_text
from netwright.data.images import list_files
from netwright.data.preparation import Preparation
from netwright.data.tokens import PADDING, TOKENS, UNKNOWN, Tokenizer, tokenizer_from_dict, train_tokenizer
from netwright.errors import DataError, unknown_name

# Without `text.length` a network takes texts as long as the longest of training, but of so many tokens at most; without
# `text.vocabulary` it knows so many tokens at most.
LENGTH_AT_MOST = {"bpe": 512, "words": 512, "characters": 1024}
VOCABULARY_AT_MOST = {"bpe": 8000, "words": 20_000, "characters": 10_000}
# `auto` cuts texts into words, unless more than this share of them occur once only: then most words of a new text would
# be unknown, as in languages that are written without spaces or put much into one word.
ONCE_AT_MOST = 0.2
Unit = Literal["file", "line"]
WORDS = {
    "bpe": "byte pairs",
    "words": "words",
    "characters": "characters",
    "pretrained": "those it was pretrained with",
}


@dataclass(frozen=True)
class TextOptions:
    """How texts are read and cut: the section `text` of a recipe.

    `tokens` is bpe, words, characters or auto; `vocabulary` and `length` None: by the rules above; `lowercase` auto: capitals
    are taken for small letters where classes or numbers are predicted.
    """

    column: str | None = None
    tokens: str = "auto"
    vocabulary: int | None = None
    length: int | None = None
    lowercase: bool | Literal["auto"] = "auto"
    encoding: str | None = None

    @classmethod
    def build(cls, given: str | Mapping[str, Any] | TextOptions | None) -> TextOptions:
        """Returns the options that a column's name or a dictionary of some of them means; raises DataError.

        >>> TextOptions.build("review").column, TextOptions.build({"length": 100}).length
        ('review', 100)
        """
        if isinstance(given, TextOptions):
            return given
        entries = {"column": given} if isinstance(given, str) else dict(given or {})
        known = [entry.name for entry in fields(cls)]
        for name in entries:
            if name not in known:
                raise unknown_name("text option", name, known)
        options = cls(**entries)
        if options.tokens not in (*TOKENS, "auto"):
            raise unknown_name("text.tokens", options.tokens, (*TOKENS, "auto"))
        for name in ("vocabulary", "length"):
            value = getattr(options, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise DataError(f"text.{name}: expected a whole number of tokens, at least 1, came {value!r}")
        return options

    def entries(self) -> dict[str, Any]:
        return asdict(self)


class TextPreparation(Preparation):
    """The preparation of texts: raw (N, L) token ids, padded at the end, to (N, l) int64 up to the longest text.

    `shape` is (length,): of a longer text its first so many tokens count. `tokenizer` as its `to_dict` describes it. `unit`
    says whether a file is one text ("file") or holds one a line ("line"), `column` where tables and JSON objects have it.

    >>> from netwright.data.tokens import Characters
    >>> prepare = TextPreparation([8], tokenizer=Characters("abc").to_dict())
    >>> prepare(prepare.together([prepare.read("abc"), prepare.read("b")])).tolist()
    [[2, 3, 4], [3, 0, 0]]
    """

    kind = "text"
    takes_text = True

    def __init__(
        self,
        shape: Sequence[int],
        *,
        tokenizer: Mapping[str, Any],
        unit: Unit = "line",
        column: str | None = None,
        encoding: str | None = None,
    ) -> None:
        super().__init__(shape)
        if len(self.shape) != 1 or self.shape[0] < 1:
            raise DataError(f"preparation: expected the length of texts as (tokens,), came {self.shape}")
        self.tokenizer = tokenizer_from_dict(dict(tokenizer))
        self.unit, self.column, self.encoding = unit, column, encoding

    @property
    def length(self) -> int:
        """The most tokens of a text that count."""
        return self.shape[0]

    @property
    def facts(self) -> dict[str, Any]:
        return {"vocabulary": self.tokenizer.vocabulary, "padding": PADDING}

    def describe(self) -> str:
        return f" tokens at most, of {self.tokenizer.vocabulary:,} ({WORDS[self.tokenizer.kind]})"

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "shape": list(self.shape),
            "tokenizer": self.tokenizer.to_dict(),
            "unit": self.unit,
            "column": self.column,
            "encoding": self.encoding,
        }

    def on(self, device: torch.device | str) -> Preparation:
        return self  # it computes nothing on a device

    def forward(self, raw: Tensor) -> Tensor:
        longest = int((raw != PADDING).sum(1).max()) if len(raw) else 0
        return raw[:, : max(1, longest)].long()

    def prepare_fresh(self, raw: Tensor) -> Tensor:
        return self(raw)

    def rows(self, encoded: Sequence[np.ndarray]) -> Tensor:
        """Returns raw ids (N, length), cut and padded, in the smallest type that holds them."""
        wide = self.tokenizer.vocabulary > torch.iinfo(torch.int16).max
        rows = np.zeros((len(encoded), self.length), np.int32 if wide else np.int16)
        for row, ids in zip(rows, encoded, strict=True):
            row[: len(ids)] = self._cut(ids)
        return torch.from_numpy(rows)

    def _cut(self, ids: Any) -> Any:
        """Returns the first ids of a text, as many as count, and behind them the signs with which every text ends."""
        end = self.tokenizer.ending
        if len(ids) <= self.length or not 0 < end < self.length:
            return ids[: self.length]
        join = torch.cat if isinstance(ids, Tensor) else np.concatenate
        return join([ids[: self.length - end], ids[-end:]])

    def told_by(
        self, *, unit: Unit, column: str | None, encoding: str | None, length: int | None
    ) -> TextPreparation:
        """Returns the same tokens for texts that are found elsewhere; `length` None: as long as here."""
        if (unit, column, encoding) == (self.unit, self.column, self.encoding) and length in (
            None,
            self.length,
        ):
            return self
        return TextPreparation(
            [length or self.length],
            tokenizer=self.tokenizer.to_dict(),
            unit=unit,
            column=column,
            encoding=encoding,
        )

    def read(self, source: Any, *, where: str | None = None) -> Tensor:
        """Returns the ids, (l,) int64 and not yet cut, of one text: a str, a file's path or bytes, an object with the column.

        Raises DataError, also for a text without anything but white space.
        """
        where = where or (str(source) if isinstance(source, Path) else "input")
        text = self._text(source, where)
        if not text.strip():
            raise DataError(f"{where}: expected a text, came an empty one")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise DataError(f"{where}: expected a text, came half of a surrogate pair in it") from None
        return torch.from_numpy(self.tokenizer.encode([text])[0]).long()

    def _text(self, source: Any, where: str) -> str:
        if isinstance(source, Mapping):
            if self.column is None or self.column not in source:
                wanted = "a text" if self.column is None else f"a text in {self.column!r}"
                raise DataError(
                    f"{where}: expected {wanted}, came an object with {', '.join(map(str, source)) or 'nothing'}"
                )
            source = source[self.column]
        if isinstance(source, Path):
            return read_text(source, encoding=self.encoding)[0]
        if isinstance(source, (bytes, bytearray)):
            return decode_text(bytes(source), where=where, encoding=self.encoding)[0]
        if not isinstance(source, str):
            raise DataError(f"{where}: expected a text, came {type(source).__name__} ({str(source)[:40]})")
        return source

    def read_many(self, inputs: Any) -> Iterator[Tensor]:
        """Yields the ids of each text: one str or object, or a sequence of them; raises DataError."""
        if isinstance(inputs, (str, Mapping)):
            yield self.read(inputs)
            return
        texts = list(inputs) if isinstance(inputs, Iterable) else []
        if not texts:
            raise DataError(
                f"input: expected texts, came {'none' if isinstance(inputs, Iterable) else type(inputs).__name__}"
            )
        for index, text in enumerate(texts):
            yield self.read(text, where=f"input {index}")

    def read_files(self, paths: Sequence[str | os.PathLike[str]]) -> Iterator[tuple[str, Tensor]]:
        """Yields name and ids of each text in files and folders: one a file, or one a line, as in training, or a table's rows.

        Lines without anything but white space are no texts. Raises DataError.
        """
        for path in _files_behind(paths):
            if self.column is not None and is_table(path):
                yield from self._read_table(path)
                continue
            if self.unit == "file":
                yield str(path), self.read(path)
                continue
            lines = read_text(path, encoding=self.encoding)[0].split("\n")
            texts = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
            if not texts:
                raise DataError(f"{path}: expected texts, one a line, came an empty file")
            for number, line in texts:
                yield f"{path}:{number}", self.read(line, where=f"{path}:{number}")

    def _read_table(self, path: Path) -> Iterator[tuple[str, Tensor]]:
        assert self.column is not None
        texts = read_sheet(path, encoding=self.encoding).column(self.column).to_pylist()
        for row, text in enumerate(texts, start=1):
            where = f"{path}, row {row:,}"
            yield where, self.read("" if text is None else text, where=where)

    def together(self, examples: Sequence[Tensor]) -> Tensor:
        """Returns what `read` gave for several texts as one raw batch (N, l), cut to the length."""
        rows = [self._cut(ids) for ids in examples]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PADDING)

    def remarks(self, raw: Tensor) -> list[str]:
        said, unknown, beyond = [], int((raw == self.tokenizer.unknown).sum()), len(raw) - self.length
        if unknown:
            said.append(f"{unknown:,} of {len(raw):,} tokens are not in the vocabulary")
        if beyond > 0:
            said.append(f"the last {beyond:,} of {len(raw):,} tokens are not read")
        return said

    def extra_repr(self) -> str:
        return f"length={self.length}, vocabulary={self.tokenizer.vocabulary}, tokens={self.tokenizer.kind!r}"


def fit_preparation(
    texts: Sequence[str], options: TextOptions, *, unit: Unit
) -> tuple[TextPreparation, list[np.ndarray], list[str]]:
    """Returns the preparation that these training texts decide, their ids, not yet cut, and why in sentences."""
    kind = "words" if options.tokens == "auto" else options.tokens
    tokenizer, encoded = _trained(texts, kind, options)
    notes = []
    if options.tokens == "auto":
        once = sum(int((ids == UNKNOWN).sum()) for ids in encoded) / max(1, sum(map(len, encoded)))
        why = f"{once:.0%} of the words in training are not in the vocabulary"
        if once > ONCE_AT_MOST:
            kind = "bpe"
            tokenizer, encoded = _trained(texts, kind, options)
        notes.append(f"texts are cut into {WORDS[kind]}: {why} (text.tokens)")
    length = options.length
    if length is None:
        length = min(max(map(len, encoded), default=1), LENGTH_AT_MOST[kind])
    prepared = TextPreparation(
        [length], tokenizer=tokenizer.to_dict(), unit=unit, column=options.column, encoding=options.encoding
    )
    return prepared, encoded, notes


def _trained(texts: Sequence[str], kind: str, options: TextOptions) -> tuple[Tokenizer, list[np.ndarray]]:
    tokenizer = train_tokenizer(
        texts,
        kind=kind,
        vocabulary=options.vocabulary or VOCABULARY_AT_MOST[kind],
        lowercase=bool(options.lowercase),
    )
    return tokenizer, tokenizer.encode(texts)


def _files_behind(paths: Sequence[str | os.PathLike[str]]) -> list[Path]:
    found: list[Path] = []
    for path in map(Path, paths):
        path = path.expanduser()
        if path.is_dir():
            inside = [Path(file) for file in list_files(str(path))]
            if not inside:
                raise DataError(f"{path}: expected files of text, came a folder without any file")
            found += inside
        elif not path.exists():
            raise DataError(f"{path}: no such file or folder")
        else:
            found.append(path)
    return found
