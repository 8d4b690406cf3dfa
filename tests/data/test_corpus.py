"""One long text: where it is cut, which windows an epoch sees, and what each of them predicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from netwright.data import load
from netwright.data.corpus import CorpusPreparation, CorpusSplit
from netwright.data.preparation import Preparation
from netwright.data.tokens import Characters
from netwright.errors import DataError

TEXT = "".join(chr(97 + int(letter)) for letter in np.random.default_rng(0).integers(0, 20, 1000))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "corpus.txt").write_text(TEXT)
    return tmp_path / "corpus.txt"


def decoded(data, part) -> str:
    return data.preparation.tokenizer.decode(part.ids.tolist())


def test_a_text_is_cut_where_it_stands(corpus):
    data = load(corpus, text={"length": 16}, validation=0.05, test_share=0.1)
    assert decoded(data, data.train) == TEXT[:850]
    assert decoded(data, data.validation) == TEXT[850:900]
    assert decoded(data, data.test) == TEXT[900:]
    assert data.task == "language" and data.num_outputs == 22 and data.input_shape == (16,)
    assert "train 850 characters, validation 50 characters, test 100 characters" in data.notes


def test_tokens_are_those_of_the_training_part_alone(tmp_path):
    (tmp_path / "a.txt").write_text("ab" * 100 + "xyz" * 10)
    data = load(tmp_path / "a.txt", text={"length": 8}, validation=0, test_share=30)
    assert data.preparation.facts == {"vocabulary": 4, "every_token": True}
    assert (data.test.ids == 1).all() and "test: 30 of 30 tokens are not in the vocabulary" in data.notes


def test_evaluation_predicts_every_token_but_the_first_once(corpus):
    data = load(corpus, text={"length": 16}, validation=0, test_share=0.1)
    inputs, targets = zip(*data.test.batches(3), strict=True)
    assert torch.cat([y.flatten() for y in targets]).tolist() == data.test.ids[1:].tolist()
    assert torch.cat([x.flatten() for x in inputs]).tolist() == data.test.ids[:-1].tolist()
    assert data.test.characters == 99


def test_an_epoch_sees_windows_of_the_text_each_once(corpus):
    train = load(corpus, text={"length": 16}).train
    ids = train.ids.tolist()
    firsts = set()
    for epoch in range(8):
        batches = list(train.epoch(4, seed=0, epoch=epoch))
        assert sum(len(x) for x, _ in batches) == len(train)
        for x, y in batches:
            assert x.dtype == y.dtype == torch.int64 and x.shape == y.shape and x.shape[1] == 16
            assert torch.equal(x[:, 1:], y[:, :-1])
        windows = sorted(tuple(row) for x, y in batches for row in torch.cat([x, y[:, -1:]], 1).tolist())
        found = [
            first
            for first in range(16)
            if sorted(tuple(ids[first + i * 16 : first + i * 16 + 17]) for i in range(len(train))) == windows
        ]
        assert len(found) == 1, "windows lie side by side"
        firsts |= set(found)
    assert len(firsts) > 3, "and elsewhere in another epoch"


def test_an_epoch_goes_on_where_it_stopped_and_can_be_shared(corpus):
    train = load(corpus, text={"length": 16}).train
    whole = list(train.epoch(4, seed=1, epoch=2))
    for (x, y), (again, labels) in zip(whole[3:], train.epoch(4, seed=1, epoch=2, start=3), strict=True):
        assert torch.equal(x, again) and torch.equal(y, labels)
    halves = [list(train.epoch(4, seed=1, epoch=2, share=(rank, 2))) for rank in range(2)]
    for (x, _), (one, _), (other, _) in zip(
        whole[:-1], *(half[: len(whole) - 1] for half in halves), strict=True
    ):
        assert torch.equal(x, torch.cat([one, other]))


@pytest.mark.parametrize("tokens", [17, 18, 33, 40, 200])
def test_windows_stay_within_the_text(tokens):
    prepare = CorpusPreparation([16], tokenizer=Characters(TEXT[:50]).to_dict())
    part = CorpusSplit(torch.arange(2, 2 + tokens), prepare)
    for epoch in range(20):
        for x, y in part.epoch(4, seed=0, epoch=epoch):
            assert torch.equal(y, x + 1) and y.max() < 2 + tokens


def test_byte_pairs_count_characters(tmp_path):
    text = "über die Brücke, über den Fluß. " * 50
    (tmp_path / "a.txt").write_text(text)
    data = load(
        tmp_path / "a.txt",
        text={"length": 8, "tokens": "bpe", "vocabulary": 300},
        validation=0,
        test_share=0.1,
    )
    assert decoded(data, data.test) == text[-160:] and len(data.test.ids) < 160
    first = len(data.preparation.tokenizer.decode(data.test.ids[:1].tolist()))
    assert data.test.characters == 160 - first


def test_trials_take_the_beginning(corpus):
    data = load(corpus, text={"length": 16}, limit=3)
    assert len(data.train) == 3 and decoded(data, data.train) == TEXT[: 4 * 16 + 1]
    data = load(corpus, text={"length": 16}, overfit=3)
    assert data.train is data.test is data.validation


def test_a_preparation_is_written_down_and_used_again(corpus):
    data = load(corpus, text={"length": 16})
    again = Preparation.from_dict(data.preparation.to_dict())
    assert isinstance(again, CorpusPreparation)
    assert torch.equal(load(corpus, preparation=again).train.ids, data.train.ids)
    with pytest.raises(DataError, match="expected the preparation of a corpus, came one of kind 'text'"):
        from netwright.data.text import TextPreparation

        load(corpus, preparation=TextPreparation([4], tokenizer=Characters("a").to_dict()))


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (b"", {}, "expected a text, came an empty file"),
        (b" \n\n", {}, "expected a text, came an empty file"),
        (b"short", {}, r"expected more than 128 tokens to train on.*\n.*text.length=16"),
        (b"\0\1\2" * 99, {}, "expected text, came bytes that are none"),
        (TEXT.encode(), {"test_share": 0.7, "validation": 0.4}, "an impossible split"),
        (TEXT.encode(), {"classes": ["a", "b"]}, "is learned by a language model, which takes no classes"),
        (TEXT.encode(), {"stream": True}, "a text is held in memory"),
        (TEXT.encode(), {"sampling": "balanced"}, "is learned by a language model"),
        (TEXT.encode(), {"mean": 0.5}, "is learned by a language model"),
        (
            "Füße ".encode("latin-1") * 99,
            {"text": {"encoding": "utf-8"}},
            "expected utf-8 text, came the byte 0xfc",
        ),
    ],
)
def test_what_cannot_be(tmp_path, content, options, words):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(DataError, match=words):
        load(tmp_path / "a.txt", **options)


def test_the_real_text(real):
    data = load(real / "tinyshakespeare" / "input.txt", validation=0.05, test_share=0.05)
    assert data.num_outputs == 65 + 2 and len(data.train.ids) == 1_115_394 - 2 * 55_770


@pytest.mark.parametrize("tokens", ["characters", "words", "bpe"])
@pytest.mark.parametrize("end", ["\n", "\r\n", " "])
def test_a_long_text_read_in_pieces_is_the_text_read_at_once(tmp_path, monkeypatch, tokens, end):
    words = np.random.default_rng(1).integers(0, 40, 3000)
    lines = [" ".join(f"word{word}" for word in some) for some in words.reshape(300, 10)]
    (tmp_path / "c.txt").write_text(end.join([*lines, "", "Σωσ\u2028end"]), encoding="utf-8", newline="")
    options = {"length": 8, "tokens": tokens, "lowercase": True}
    whole = load(tmp_path / "c.txt", text=options)
    monkeypatch.setattr("netwright.data.corpus.PIECE", 100)
    pieces = load(tmp_path / "c.txt", text=options)
    assert pieces.preparation.to_dict() == whole.preparation.to_dict()
    for part in ("train", "validation", "test"):
        one, other = getattr(pieces, part).ids, getattr(whole, part).ids
        assert one.dtype == other.dtype and torch.equal(one, other) and len(one) > 10
