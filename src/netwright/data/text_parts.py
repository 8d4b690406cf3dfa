"""Parts of a set of texts: as they were read, and as rows of token ids whose batches hold texts of like length."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netwright.data.order import order_by_length, share_of_epoch
from netwright.data.preparation import Preparation
from netwright.data.split import Split
from netwright.data.text import TextOptions, TextPreparation, Unit, fit_preparation
from netwright.data.tokens import PADDING
from netwright.errors import DataError

# Tokens, padding among them, that are evaluated at once: attention keeps a number for each pair of a text's tokens.
EVALUATION_TOKENS = 1 << 15


@dataclass(frozen=True, eq=False)
class TextPart:
    """Texts before a tokenizer is trained on those of the training part. `targets` as in Split.

    `encoded`: their ids, once there is one.
    """

    texts: tuple[str, ...]
    targets: Tensor
    names: tuple[str, ...] | None = None
    encoded: Sequence[np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def select(self, indices: Tensor) -> TextPart:
        """Returns these texts."""
        chosen = indices.tolist()
        names = None if self.names is None else tuple(self.names[index] for index in chosen)
        return TextPart(tuple(self.texts[index] for index in chosen), self.targets[indices], names)

    def divide(self, kept: Tensor, held_out: Tensor) -> tuple[TextPart, TextPart]:
        return self.select(kept), self.select(held_out)

    def hashes(self) -> np.ndarray:
        """Returns (N,) uint64: texts of the same characters have equal hashes."""
        digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in self.texts)
        return np.frombuffer(digests, "<u8").astype(np.uint64)

    def split(self, preparation: Preparation) -> TextSplit:
        assert isinstance(preparation, TextPreparation)
        encoded = preparation.tokenizer.encode(self.texts) if self.encoded is None else self.encoded
        return TextSplit(preparation.rows(encoded), self.targets, preparation, self.names, texts=self.texts)


def is_texts(inputs: Any) -> bool:
    """Says whether these inputs are texts: a list, tuple or array of str."""
    if isinstance(inputs, np.ndarray):
        return (
            inputs.dtype.kind in "UTO" and inputs.ndim == 1 and all(isinstance(text, str) for text in inputs)
        )
    return (
        isinstance(inputs, (list, tuple))
        and len(inputs) > 0
        and all(isinstance(text, str) for text in inputs)
    )


def texts_of(inputs: Sequence[str], *, where: str) -> TextPart:
    """Returns these texts as a part without targets; raises DataError for an empty one."""
    texts = tuple(str(text).strip() for text in inputs)
    if "" in texts:
        raise DataError(f"{where}: expected texts, came an empty one at index {texts.index('')}")
    return TextPart(texts, torch.zeros(len(texts), dtype=torch.int64))


@dataclass(frozen=True, eq=False)
class TextSplit(Split):
    """One part: `inputs` (N, length) int16 or int32 token ids, padded with 0 at the end, and the `texts` themselves.

    Batches are (N, l) int64, l the length of the longest text in each.

    >>> from netwright.data.tokens import Characters
    >>> prepare = TextPreparation([9], tokenizer=Characters("abc").to_dict())
    >>> part = TextPart(("a", "abcabc", "b", "cab"), torch.tensor([0, 1, 0, 1])).split(prepare)
    >>> [tuple(x.shape) for x, y in part.batches(2)]
    [(2, 6), (2, 3)]
    """

    texts: Sequence[str] = ()

    @cached_property
    def lengths(self) -> Tensor:
        """(N,) int64 on the processor: how many tokens each text has."""
        return (self.inputs != PADDING).sum(1).cpu()

    @cached_property
    def hashes(self) -> np.ndarray:
        """(N,) uint64, one hash of each text; computed once."""
        digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in self.texts)
        return np.frombuffer(digests, "<u8").astype(np.uint64)

    @property
    def evaluation_batch(self) -> int:
        """How many texts are evaluated at once."""
        return max(1, min(1000, EVALUATION_TOKENS // max(1, self.inputs.shape[1])))

    def take(self, count: int) -> TextSplit:
        names = None if self.names is None else self.names[:count]
        inputs, targets, texts = self.inputs[:count], self.targets[:count], self.texts[:count]
        return replace(self, inputs=inputs, targets=targets, names=names, texts=texts)

    def arranged(self, batch: int, *, seed: int, epoch: int) -> Tensor:
        order = self.order(seed=seed, epoch=epoch)
        return order_by_length(order, self.lengths, batch, seed=seed, epoch=epoch)

    def epoch(
        self, batch: int, *, seed: int, epoch: int, start: int = 0, share: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields the batches of one epoch from batch `start` on, texts of like length together (`order_by_length`)."""
        order = self.arranged(batch, seed=seed, epoch=epoch)
        if share[1] > 1:
            order, batch = share_of_epoch(order, batch, share)
        return self.batches(batch, order, start)

    def prepared(self, indices: Tensor | slice, draws: Tensor | None = None) -> tuple[Tensor, Tensor]:
        rows = (
            torch.arange(len(self))[indices] if isinstance(indices, slice) else torch.as_tensor(indices).cpu()
        )
        longest = max(1, int(self.lengths[rows].max())) if len(rows) else 1
        there = rows.to(self.device)
        return self.inputs.index_select(0, there)[:, :longest].long(), self.targets.index_select(0, there)

    def batches(
        self, batch: int, order: Tensor | None = None, start: int = 0, draws: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields (x, y), each x as wide as its longest text; `order`, `start` as in Split."""
        order = torch.arange(len(self)) if order is None else order.cpu()
        for rows in order[start * batch :].split(batch):
            if len(rows):
                yield self.prepared(rows)


def prepare_texts(
    parts: Mapping[str, TextPart], options: TextOptions, *, unit: Unit, like: Preparation | None = None
) -> tuple[TextPreparation, dict[str, TextPart], list[str]]:
    """Returns what prepares these parts, the parts with their ids, and what happened to their texts in sentences.

    The tokenizer is trained on the part `train` alone, unless `like` brings one. Raises DataError.
    """
    encoded: dict[str, Sequence[np.ndarray]] = {}
    notes: list[str] = []
    if like is None:
        preparation, encoded["train"], notes = fit_preparation(parts["train"].texts, options, unit=unit)
    elif isinstance(like, TextPreparation):
        # Where texts are found is the set's own; how they are cut into tokens is not.
        where = {"unit": unit, "column": options.column, "encoding": options.encoding}
        preparation = like.told_by(**where, length=options.length)  # type: ignore[arg-type]
    else:
        raise DataError(f"expected a preparation of texts, came one of kind {like.kind!r}")
    held = {}
    for name, part in parts.items():
        ids = encoded.get(name)
        held[name] = replace(part, encoded=preparation.tokenizer.encode(part.texts) if ids is None else ids)
        notes += _story(name, held[name], preparation)
    return preparation, held, notes


def _story(name: str, part: TextPart, preparation: TextPreparation) -> list[str]:
    assert part.encoded is not None
    said = []
    length, sign = preparation.length, preparation.tokenizer.unknown
    long = sum(len(ids) > length for ids in part.encoded)
    if long:
        said.append(
            f"{name}: {long:,} of {len(part):,} texts are longer than {length:,} tokens; only these are read of them (text.length)"
        )
    unknown, total = sum(int((ids == sign).sum()) for ids in part.encoded), sum(map(len, part.encoded))
    if unknown:
        said.append(f"{name}: {unknown:,} of {total:,} tokens are not in the vocabulary")
    return said
