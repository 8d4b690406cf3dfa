"""Tokens, against dictionaries and regular expressions written out here."""

import re
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netwright.data.tokens import Characters, tokenizer_from_dict, train_tokenizer
from netwright.errors import DataError, UnknownNameError

TEXTS = [
    "The cat sat on the mat, and the cat slept.",
    "the dog sat on the cat; the cat left!",
    "A naïve café: 12 cats, 12 dogs.",
] * 3
ANY_TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=40)


@given(ANY_TEXT)
def test_characters_are_those_of_a_dictionary(text):
    known = sorted(set("".join(TEXTS)))
    ids = {character: index for index, character in enumerate(known, start=2)}
    found = train_tokenizer(TEXTS, kind="characters", vocabulary=1000)
    assert found.encode([text])[0].tolist() == [ids.get(character, 1) for character in text]
    assert found.vocabulary == len(known) + 2


def test_of_characters_the_most_frequent_are_kept():
    found = train_tokenizer(["aaabbc"], kind="characters", vocabulary=4)
    assert found.encode(["abc"])[0].tolist() == [2, 3, 1]
    assert train_tokenizer(["aA"], kind="characters", vocabulary=9, lowercase=True).encode(["Aa"])[
        0
    ].tolist() == [2, 2]


def test_words_are_those_that_occur_twice():
    found = train_tokenizer(TEXTS[:3], kind="words", vocabulary=1000, lowercase=True)
    counts = Counter(word for text in TEXTS[:3] for word in re.findall(r"\w+|[^\w\s]+", text.lower()))
    known = {word for word, count in counts.items() if count >= 2}
    assert found.vocabulary == len(known) + 2
    for text in [*TEXTS[:3], "an ox sat on the CAT"]:
        words = re.findall(r"\w+|[^\w\s]+", text.lower())
        ids = found.encode([text])[0].tolist()
        assert [index != 1 for index in ids] == [word in known for word in words]
        assert len(set(ids) - {1}) == len(set(words) & known)


@given(ANY_TEXT)
def test_byte_pairs_know_every_text(text):
    found = pairs()
    ids = found.encode([text])[0]
    assert found.decode(ids) == text
    assert not (ids <= 1).any(), "neither padding nor unknown"


def pairs(_kept={}):  # noqa: B006 - trained once for all examples
    return _kept.setdefault("bpe", train_tokenizer(TEXTS, kind="bpe", vocabulary=300))


def test_the_first_pair_merged_is_the_most_frequent():
    found = train_tokenizer(["abab abab abab xyz"], kind="bpe", vocabulary=259)  # 256 bytes, 2, and one merge
    assert [len(found.encode([text])[0]) for text in ("ab", "ba", "xy")] == [1, 2, 2]


@pytest.mark.parametrize("kind", ["bpe", "words", "characters"])
def test_signs_that_look_like_reserved_tokens_are_text(kind):
    found = train_tokenizer([*TEXTS, "[PAD] [UNK] [PAD]"], kind=kind, vocabulary=400)
    for again in (found, tokenizer_from_dict(found.to_dict())):
        assert not (again.encode(["[PAD] a"])[0] == 0).any()
        assert again.encode(["[PAD]"])[0].tolist() == found.encode(["[PAD]"])[0].tolist()
        assert len(again.encode(["[UNK]"])[0]) >= 3


@pytest.mark.parametrize("kind", ["bpe", "words", "characters"])
def test_written_down_and_read_back(kind):
    found = train_tokenizer(TEXTS, kind=kind, vocabulary=300, lowercase=True)
    again = tokenizer_from_dict(found.to_dict())
    assert again.vocabulary == found.vocabulary and again.kind == kind
    for text in [*TEXTS, "Ein ganz neuer Text €"]:
        assert again.encode([text])[0].tolist() == found.encode([text])[0].tolist()
        assert again.decode(again.encode([text])[0]) == found.decode(found.encode([text])[0])


def test_training_gives_the_same_in_another_process():
    program = (
        "from netwright.data.tokens import train_tokenizer; import hashlib, json\n"
        f"for kind in ('bpe', 'words'):\n"
        f"    made = train_tokenizer({TEXTS!r}, kind=kind, vocabulary=300)\n"
        "    print(hashlib.sha256(json.dumps(made.to_dict()).encode()).hexdigest())"
    )
    said = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert said[0] == said[1] and said[0].count("\n") == 2


def test_what_cannot_be():
    with pytest.raises(UnknownNameError, match="did you mean 'words'"):
        train_tokenizer(TEXTS, kind="word", vocabulary=10)
    with pytest.raises(DataError, match="expected at least 258 for tokens 'bpe', came 257"):
        train_tokenizer(TEXTS, kind="bpe", vocabulary=257)
    for broken in (None, {}, {"kind": "bpe", "tokenizer": {"a": 1}}, {"kind": "characters"}):
        with pytest.raises(DataError, match="preparation: "):
            tokenizer_from_dict(broken)
    assert Characters("").encode(["a"])[0].tolist() == [1]


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    for kind in ("bpe", "words"):
        with pytest.raises(DataError, match=r"pip install 'netwright\[text\]'"):
            train_tokenizer(TEXTS, kind=kind, vocabulary=300)
    assert train_tokenizer(TEXTS, kind="characters", vocabulary=300).vocabulary > 2
