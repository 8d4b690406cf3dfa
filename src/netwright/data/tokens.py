"""Text to token ids and back: characters by NumPy alone, words and byte pairs by the tokenizers library.

Id 0 is padding and stands in no text; id 1 is whatever the training part did not have.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from netwright.errors import DataError, unknown_name

PADDING, UNKNOWN, RESERVED = 0, 1, 2
TOKENS = ("bpe", "words", "characters")
# Texts that are encoded by one call: the library computes them in parallel, and what it returns is large.
AT_ONCE = 4096


class Tokenizer(Protocol):
    """Texts to ids and back: `vocabulary` different ids, 0 among them.

    `unknown` is the id of what is not in the vocabulary (-1: there is none), `ending` how many ids behind a text are signs that
    a network wants there, whatever is cut off before them.
    """

    kind: str
    unknown: int
    ending: int

    @property
    def vocabulary(self) -> int: ...

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Returns for each text its ids, (length,) int32, from 1 on."""

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of ids: padding is nothing, the unknown is U+FFFD."""

    def to_dict(self) -> dict[str, Any]:
        """Returns what `tokenizer_from_dict` takes, in JSON's own types."""


class Characters:
    """One token for each of `characters` (Unicode code points), in the order given.

    >>> letters = Characters("ab")
    >>> [ids.tolist() for ids in letters.encode(["ba", "abc"])], letters.decode([2, 3, 1, 0])
    ([[3, 2], [2, 3, 1]], 'ab\ufffd')
    """

    kind = "characters"
    unknown, ending = UNKNOWN, 0

    def __init__(self, characters: str, *, lowercase: bool = False) -> None:
        self.characters, self.lowercase = characters, lowercase
        codes = np.array([ord(character) for character in characters], np.int64)
        self._table = np.full(int(codes.max(initial=0)) + 2, UNKNOWN, np.int32)
        self._table[codes] = np.arange(RESERVED, RESERVED + len(codes))

    @property
    def vocabulary(self) -> int:
        return RESERVED + len(self.characters)

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        last = len(self._table) - 1  # the number of no character that is known
        return [self._table[np.minimum(self._codes(text), last)] for text in texts]

    def _codes(self, text: str) -> np.ndarray:
        return np.frombuffer((text.lower() if self.lowercase else text).encode("utf-32-le"), "<u4")

    def decode(self, ids: Sequence[int]) -> str:
        signs = ("", "\ufffd", *self.characters)
        return "".join(signs[index] for index in ids)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "characters": self.characters, "lowercase": self.lowercase}


class LibraryTokens:
    """Words or byte pairs, as a tokenizer of the tokenizers library cuts them.

    Byte pairs know every text, because each byte is a token; of words, those outside the vocabulary are unknown.
    """

    unknown, ending = UNKNOWN, 0

    def __init__(self, kind: str, tokenizer: Any) -> None:
        self.kind, self._tokenizer = kind, tokenizer
        # Who writes "[PAD]" into a text means these five signs.
        tokenizer.encode_special_tokens = True

    @property
    def vocabulary(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        # The fast one leaves out the places in the text; it came with version 0.20 of the library.
        encode = getattr(self._tokenizer, "encode_batch_fast", self._tokenizer.encode_batch)
        found: list[np.ndarray] = []
        for begin in range(0, len(texts), AT_ONCE):
            some = encode(list(texts[begin : begin + AT_ONCE]), add_special_tokens=False)
            found += [np.array(entry.ids, np.int32) for entry in some]
        return found

    def decode(self, ids: Sequence[int]) -> str:
        known = [int(index) for index in ids if index != PADDING]
        return str(self._tokenizer.decode(known, skip_special_tokens=False)).replace("[UNK]", "\ufffd")

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "tokenizer": json.loads(self._tokenizer.to_str())}


class PretrainedTokens:
    """The tokens with which a network was pretrained, the signs around each text among them (such as [CLS] and [SEP]).

    `entries` is the content of a tokenizer.json of the tokenizers library, `padding` the id of its padding, which trades places
    with id 0, so that 0 is padding here too: the network trades them back.
    """

    kind = "pretrained"

    def __init__(self, entries: dict[str, Any], *, padding: int = PADDING) -> None:
        # What is cut off and padded is decided by TextPreparation, which counts and says it.
        self._entries = {**entries, "truncation": None, "padding": None}
        self._tokenizer = _library().Tokenizer.from_str(json.dumps(self._entries))
        self._tokenizer.encode_special_tokens = True
        self._padding = padding
        signs = self._tokenizer.encode("a").special_tokens_mask
        self.ending = next((place for place, sign in enumerate(reversed(signs)) if not sign), 0)
        model = self._entries.get("model", {})
        unknown = self._tokenizer.token_to_id(str(model.get("unk_token")))
        self.unknown = -1 if unknown is None else int(self._traded(np.array([unknown]))[0])

    @property
    def vocabulary(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    def _traded(self, ids: np.ndarray) -> np.ndarray:
        if self._padding == PADDING:
            return ids
        return np.where(ids == PADDING, self._padding, np.where(ids == self._padding, PADDING, ids))

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        found: list[np.ndarray] = []
        for begin in range(0, len(texts), AT_ONCE):
            some = self._tokenizer.encode_batch(list(texts[begin : begin + AT_ONCE]))
            found += [self._traded(np.array(entry.ids, np.int32)) for entry in some]
        return found

    def decode(self, ids: Sequence[int]) -> str:
        known = self._traded(np.array([index for index in ids if index != PADDING], np.int64))
        return str(self._tokenizer.decode(known.tolist(), skip_special_tokens=True))

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "tokenizer": self._entries, "padding": self._padding}


def train_tokenizer(
    texts: Iterable[str], *, kind: str, vocabulary: int, lowercase: bool = False
) -> Tokenizer:
    """Returns a tokenizer of at most `vocabulary` ids, trained on these texts.

    `kind`: "bpe" (the bytes of UTF-8, and pairs of them merged in the order of how often they occur; Sennrich et al.,
    arXiv:1508.07909), "words" (runs of letters and digits, and runs of other signs; the most frequent of those that
    occur twice) or "characters" (the most frequent). `lowercase`: capitals are taken for small letters.
    Raises DataError, also where the tokenizers library is missing.

    >>> train_tokenizer(["abba", "ab"], kind="characters", vocabulary=100).vocabulary
    4
    """
    if kind not in TOKENS:
        raise unknown_name("text.tokens", kind, TOKENS)
    least = 256 + RESERVED if kind == "bpe" else RESERVED + 1
    if vocabulary < least:
        raise DataError(f"text.vocabulary: expected at least {least} for tokens {kind!r}, came {vocabulary}")
    if kind == "characters":
        return _train_characters(texts, vocabulary - RESERVED, lowercase=lowercase)
    tokenizer, trainer = (_byte_pairs if kind == "bpe" else _words)(vocabulary)
    if lowercase:
        tokenizer.normalizer = _library().normalizers.Lowercase()
    tokenizer.train_from_iterator(texts, trainer)
    return LibraryTokens(kind, tokenizer)


def _train_characters(texts: Iterable[str], most: int, *, lowercase: bool) -> Characters:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text.lower() if lowercase else text)
    frequent = sorted(counts, key=lambda character: (-counts[character], character))[:most]
    return Characters("".join(sorted(frequent)), lowercase=lowercase)


def _byte_pairs(vocabulary: int) -> tuple[Any, Any]:
    library = _library()
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["[PAD]", "[UNK]"],
        initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    return tokenizer, trainer


def _words(vocabulary: int) -> tuple[Any, Any]:
    library = _library()
    tokenizer = library.Tokenizer(library.models.WordLevel(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = library.pre_tokenizers.Whitespace()
    trainer = library.trainers.WordLevelTrainer(
        vocab_size=vocabulary, min_frequency=2, special_tokens=["[PAD]", "[UNK]"], show_progress=False
    )
    return tokenizer, trainer


def tokenizer_from_dict(entries: Any) -> Tokenizer:
    """Returns the tokenizer that `to_dict` described; raises DataError.

    >>> tokenizer_from_dict(Characters("ab").to_dict()).encode(["b"])[0].tolist()
    [3]
    """
    kind = entries.get("kind") if isinstance(entries, dict) else None
    if kind not in (*TOKENS, PretrainedTokens.kind):
        raise DataError(f"preparation: expected a tokenizer of {', '.join(TOKENS)}, came {kind!r}")
    library = None if kind == "characters" else _library()
    try:
        if library is None:
            return Characters(str(entries["characters"]), lowercase=bool(entries["lowercase"]))
        if kind == PretrainedTokens.kind:
            return PretrainedTokens(entries["tokenizer"], padding=int(entries["padding"]))
        return LibraryTokens(kind, library.Tokenizer.from_str(json.dumps(entries["tokenizer"])))
    except Exception as error:  # of no kind of its own: the library raises Exception itself
        raise DataError(f"preparation: the tokenizer cannot be read back ({error})") from None


def _library() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise DataError(
            "tokens of words and byte pairs need the tokenizers library: pip install 'netwright[text]'\n"
            "Single characters need nothing: --set text.tokens=characters"
        ) from None
    return tokenizers
