"""One long text for a language model: cut where it stands, read in windows in which every token is predicted from those before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from netwright.data.encodings import read_text
from netwright.data.epochs import Epochs
from netwright.data.media import TEXTS
from netwright.data.order import epoch_order, share_of_epoch
from netwright.data.preparation import Preparation
from netwright.data.text import VOCABULARY_AT_MOST, WORDS, TextOptions, TextPreparation
from netwright.data.tokens import UNKNOWN, train_tokenizer
from netwright.errors import DataError

if TYPE_CHECKING:
    from netwright.data.sets import Data

# Tokens that a network looks back on where `text.length` does not say.
LENGTH = 128
# Characters that are cut into tokens at once.
PIECE = 1 << 20
EVALUATION_TOKENS = 1 << 14


class CorpusPreparation(TextPreparation):
    """The preparation of a corpus: raw windows (N, L) of token ids to the same as int64."""

    kind = "corpus"

    @property
    def facts(self) -> dict[str, Any]:
        return {"vocabulary": self.tokenizer.vocabulary, "every_token": True}

    def describe(self) -> str:
        return f" tokens a window, of {self.tokenizer.vocabulary:,} ({WORDS[self.tokenizer.kind]})"

    def forward(self, raw: Tensor) -> Tensor:
        return raw.long()

    def read_files(self, paths: Any) -> Iterator[tuple[str, Tensor]]:
        raise DataError("this run is a language model, which writes texts: netwright write RUN --prompt TEXT")

    def read_many(self, inputs: Any) -> Iterator[Tensor]:
        raise DataError("this run is a language model, which writes texts: netwright write RUN --prompt TEXT")


@dataclass(frozen=True, eq=False)
class CorpusSplit(Epochs):
    """One part of a corpus: `ids` (T,) int16 or int32, its tokens in their order; `characters` after the first token.

    `batches` are (x, y), (N, L) int64 each, y the token behind each of x: windows side by side, and what is left at the end as a
    shorter one. An epoch of training visits whole windows in random order, and lays them at other places each time.

    >>> from netwright.data.tokens import Characters
    >>> prepare = CorpusPreparation([4], tokenizer=Characters("abc").to_dict())
    >>> part = CorpusSplit(torch.arange(2, 12), prepare)
    >>> [x.tolist() for x, y in part.batches(2)]
    [[[2, 3, 4, 5], [6, 7, 8, 9]], [[10]]]
    """

    ids: Tensor
    preparation: CorpusPreparation
    characters: int = 0
    augmentation: None = None
    mixing: None = None
    balanced: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    every_token = True
    names = None

    @property
    def length(self) -> int:
        return self.preparation.length

    @property
    def targets(self) -> Tensor:  # type: ignore[override]
        """(T - 1,) int64, the token behind each but the last."""
        return self.ids[1:].long()

    @property
    def evaluation_batch(self) -> int:
        """How many windows are evaluated at once."""
        return max(1, EVALUATION_TOKENS // self.length)

    def __len__(self) -> int:
        """Windows of an epoch of training: one fewer than there is room for, so that they can be laid elsewhere."""
        room = (len(self.ids) - 1) // self.length
        return max(1, room - 1) if len(self.ids) > 1 else 0

    def to(self, device: torch.device | str) -> CorpusSplit:
        """Returns this part on a device."""
        return replace(self, ids=self.ids.to(device), device=torch.device(device))

    def take(self, count: int) -> CorpusSplit:
        """Returns the beginning of this part, enough for `count` windows."""
        kept = self.ids[: (count + 1) * self.length + 1]
        return replace(self, ids=kept, characters=round(self.characters * len(kept) / max(1, len(self.ids))))

    def prepared(
        self, indices: Tensor | slice, draws: Tensor | None = None, first: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Returns (x, y) of these windows, the first of all beginning at token `first`."""
        rows = (
            torch.arange(len(self))[indices] if isinstance(indices, slice) else torch.as_tensor(indices).cpu()
        )
        width = min(self.length, len(self.ids) - 1)
        places = rows[:, None] * self.length + first + torch.arange(width + 1)
        window = self.ids[places.to(self.device)].long()
        return window[:, :-1].contiguous(), window[:, 1:].contiguous()

    def epoch(
        self, batch: int, *, seed: int, epoch: int, start: int = 0, share: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields the batches of one epoch of training, from batch `start` on: a pure function of its arguments."""
        order = self.order(seed=seed, epoch=epoch)
        room = len(self.ids) - 1 - len(self) * self.length
        # The first of a permutation is a random place, of a generator that is nobody else's.
        first = int(epoch_order(max(1, min(self.length, room + 1)), seed=seed + 500_009, epoch=epoch)[0])
        if share[1] > 1:
            order, batch = share_of_epoch(order, batch, share)
        for rows in order[start * batch :].split(batch):
            if len(rows):
                yield self.prepared(rows, first=first)

    def batches(
        self, batch: int, order: Tensor | None = None, start: int = 0, draws: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields (x, y) of all tokens once, or of the windows in `order`; batches before `start` are jumped over."""
        whole, rest = divmod(max(0, len(self.ids) - 1), self.length)
        rows = torch.arange(whole) if order is None else order.cpu()
        for some in rows[start * batch :].split(batch):
            if len(some):
                yield self.prepared(some)
        if order is None and rest:
            last = self.ids[whole * self.length :].long()[None]
            yield last[:, :-1].contiguous(), last[:, 1:].contiguous()


def is_corpus(path: Path) -> bool:
    """Says whether a path is a file of plain text by its name."""
    return TEXTS.named(path) and path.is_file()


def load_corpus(
    path: Path,
    options: TextOptions,
    *,
    validation: Any,
    test_share: Any,
    seed: int,
    limit: int | None = None,
    overfit: int | None = None,
    like: Preparation | None = None,
    name: str | None = None,
) -> Data:
    """Returns the parts of a text: first what is trained on, then what validates, last what tests, cut by characters.

    `validation` and `test_share` are shares of the characters, or numbers of them. Tokens are trained on the training part
    alone; without more said they are characters. Raises DataError for what is no text, and for one that is too short.
    """
    from netwright.data.division import count_of
    from netwright.data.sets import Data, Reading

    text, used = read_text(path, encoding=options.encoding)
    if not text.strip():
        raise DataError(f"{path}: expected a text, came an empty file")
    held = {
        "test": count_of(test_share, len(text), option="test_share"),
        "validation": count_of(validation, len(text), option="validation"),
    }
    cuts = np.cumsum([len(text) - sum(held.values()), held["validation"], held["test"]])
    if cuts[0] < 1:
        raise DataError(
            f"{path}: an impossible split: {sum(held.values()):,} of {len(text):,} characters leave none to train"
        )
    pieces = dict(
        zip(
            ("train", "validation", "test"),
            (text[: cuts[0]], text[cuts[0] : cuts[1]], text[cuts[1] :]),
            strict=True,
        )
    )
    notes = [] if used == "utf-8" else [f"the text was read as {used}"]
    preparation = _preparation(pieces["train"], options, like)
    parts = {part: _split(piece, preparation) for part, piece in pieces.items()}
    for part, split in parts.items():
        # By NumPy, because PyTorch adds up eight bytes for each of them.
        unknown = int(np.count_nonzero(split.ids.numpy() == UNKNOWN))
        if unknown:
            notes.append(f"{part}: {unknown:,} of {len(split.ids):,} tokens are not in the vocabulary")
    if (len(parts["train"].ids) - 1) < preparation.length:
        raise DataError(
            f"{path}: expected more than {preparation.length:,} tokens to train on, one window of them, "
            f"came {len(parts['train'].ids):,}.\nGive a longer text, or shorter windows: --set text.length=16"
        )
    steps: list[dict[str, Any]] = []
    for option, count in (("limit", limit), ("overfit", overfit)):
        if count is not None:
            parts = {part: split.take(count) for part, split in parts.items()}
            notes.append(
                f"{option}: the first {count:,} windows of {preparation.length:,} tokens are used of each part"
            )
            steps.append({option: count})
    if overfit is not None:
        parts = dict.fromkeys(parts, parts["train"])
    notes.append("the text is cut where it stands: its beginning trains, its end tests")
    notes.append(", ".join(f"{part} {len(piece):,} characters" for part, piece in pieces.items()))
    entries = {"text": options.entries(), "seed": seed, "steps": steps}
    return Data(
        name or path.stem,
        parts["train"],
        parts["validation"],
        parts["test"],
        None,
        preparation,
        tuple(notes),
        Reading("corpus", (str(path),), entries),
    )


def _preparation(text: str, options: TextOptions, like: Preparation | None) -> CorpusPreparation:
    if isinstance(like, CorpusPreparation):
        return like
    if like is not None:
        raise DataError(f"expected the preparation of a corpus, came one of kind {like.kind!r}")
    kind = "characters" if options.tokens == "auto" else options.tokens
    tokenizer = train_tokenizer(
        # By lines: the library trains on many texts, and words do not go over the end of a line.
        (line for piece in _pieces(text) for line in piece.splitlines(keepends=True)),
        kind=kind,
        vocabulary=options.vocabulary or VOCABULARY_AT_MOST[kind],
        lowercase=options.lowercase is True,
    )
    return CorpusPreparation(
        [options.length or LENGTH], tokenizer=tokenizer.to_dict(), unit="file", encoding=options.encoding
    )


def _split(text: str, preparation: CorpusPreparation) -> CorpusSplit:
    tokenizer = preparation.tokenizer
    by_lines = tokenizer.kind != "characters"
    narrow = np.int32 if tokenizer.vocabulary > torch.iinfo(torch.int16).max else np.int16
    # A piece at a time: what the tokenizer makes of 100 MB in one call takes many times their memory.
    found = [np.zeros(0, narrow)]
    for piece in _pieces(text):
        encoded = tokenizer.encode(piece.splitlines(keepends=True) if by_lines else [piece])
        found.append(np.concatenate(encoded).astype(narrow))
    ids = np.concatenate(found)
    held = torch.from_numpy(ids)
    first = len(tokenizer.decode(ids[:1].tolist())) if len(ids) else 0
    return CorpusSplit(held, preparation, characters=max(0, len(text) - first))


def _pieces(text: str) -> Iterator[str]:
    """Yields a text piece by piece, each of PIECE characters and the rest of the last one's line."""
    begin = 0
    while begin < len(text):
        end = text.find("\n", begin + PIECE) + 1 or len(text)
        yield text[begin:end]
        begin = end
