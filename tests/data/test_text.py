"""Texts in folders, files of lines and columns: what is read, what is left out, and batches of padded ids."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from netwright.data import load
from netwright.data.order import epoch_order, order_by_length, share_of_epoch
from netwright.data.preparation import Preparation
from netwright.data.text import TextOptions, TextPreparation
from netwright.data.text_files import text_unit
from netwright.data.tokens import Characters
from netwright.errors import DataError, UnknownNameError

GOOD, BAD = ("fine", "great", "lovely"), ("dull", "poor", "awful")
FILLER = ("the", "film", "was", "and", "a", "story", "with", "people")


def texts(count: int, words: tuple[str, ...], seed: int) -> list[str]:
    """Texts of 2 to 30 words, no two alike, one in four of them from `words`."""
    numbers = random.Random(seed)
    return [
        " ".join(
            [f"n{index}x{seed}"]
            + [
                numbers.choice(words if numbers.random() < 0.25 else FILLER)
                for _ in range(numbers.randrange(1, 30))
            ]
        )
        for index in range(count)
    ]


def notes(data) -> str:
    return "\n".join(data.notes)


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """A folder with a file for each of 20 texts of two classes."""
    for seed, (name, words) in enumerate((("bad", BAD), ("good", GOOD))):
        for index, text in enumerate(texts(20, words, seed)):
            file = tmp_path / "reviews" / name / f"{index}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text + "\n")
    return tmp_path / "reviews"


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A folder with a file of 40 lines for each of two classes."""
    folder = tmp_path / "lines"
    folder.mkdir()
    for seed, (name, words) in enumerate((("bad", BAD), ("good", GOOD))):
        (folder / f"{name}.txt").write_text("\n".join(texts(40, words, seed)) + "\n")
    return folder


# ---------------------------------------------------------------------------------------- what is read


def test_one_text_a_file(reviews):
    data = load(reviews)
    assert (data.name, data.classes, data.task) == ("reviews", ("bad", "good"), "classification")
    assert (len(data.train), len(data.validation), len(data.test)) == (28, 4, 8)
    assert "one text a file, one sub-folder a class" in data.notes
    for part in (data.train, data.validation, data.test):
        for text, target, name in zip(part.texts, part.targets, part.names, strict=True):
            assert (reviews / name).read_text().strip() == text
            assert name.split("/")[0] == data.classes[target]


def test_one_text_a_line(lines):
    data = load(lines)
    assert data.classes == ("bad", "good") and len(data.train) + len(data.validation) + len(data.test) == 80
    assert "one text a line, one file a class: bad from bad.txt, good from good.txt" in data.notes
    for text, target, name in zip(data.train.texts, data.train.targets, data.train.names, strict=True):
        file, number = name.split(":")
        assert (lines / file).read_text().split("\n")[int(number) - 1] == text
        assert file.removesuffix(".txt") == data.classes[target]


def test_classes_are_called_as_their_files_differ(lines):
    for name in ("good", "bad"):
        (lines / f"{name}.txt").rename(lines / f"polarity.{name}")
    (lines / "README").write_text("About this set.\nTwo classes.")
    data = load(lines)
    assert data.classes == ("bad", "good")
    assert "1 files about the set were not used" in data.notes


def test_parts_of_a_folder_are_used_as_they_are(reviews, tmp_path):
    (tmp_path / "set").mkdir()
    reviews.rename(tmp_path / "set" / "train")
    for name in ("bad", "good"):
        (tmp_path / "set" / "test" / name).mkdir(parents=True)
        (tmp_path / "set" / "test" / name / "1.txt").write_text(f"a word, {name}")
    data = load(tmp_path / "set")
    assert sorted(data.test.texts) == ["a word, bad", "a word, good"] and len(data.train) == 36
    (tmp_path / "set" / "test" / "ugly").mkdir()
    (tmp_path / "set" / "test" / "ugly" / "1.txt").write_text("ugly")
    with pytest.raises(DataError, match="expected the 2 classes of train; not in train: ugly"):
        load(tmp_path / "set")


def write_table(
    path: Path, rows: list[tuple[object, ...]], header: tuple[str, ...] = ("id", "review", "stars")
) -> Path:
    import csv

    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def rows(count: int = 40) -> list[tuple[object, ...]]:
    both = [(text, 1) for text in texts(count // 2, BAD, 5)] + [
        (text, 5) for text in texts(count // 2, GOOD, 6)
    ]
    return [(index, f'{text}, "said"\nthey', stars) for index, (text, stars) in enumerate(both)]


def test_a_column_of_a_table(tmp_path):
    path = write_table(tmp_path / "a.csv", rows())
    data = load(path, text="review", target="stars", validation=0)
    assert data.classes == ("1", "5") and data.reading.kind == "text"
    by_row = {f"row {index + 1}": (text, str(stars)) for index, text, stars in rows()}
    for part in (data.train, data.test):
        for text, target, name in zip(part.texts, part.targets, part.names, strict=True):
            assert by_row[name] == (text, data.classes[target])


def test_a_column_of_parquet_gives_the_same(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    ids, written, stars = zip(*rows(), strict=True)
    table = pyarrow.table({"id": ids, "review": pyarrow.array(written).dictionary_encode(), "stars": stars})
    parquet.write_table(table, tmp_path / "a.parquet")
    one = load(tmp_path / "a.parquet", text="review", target="stars")
    other = load(write_table(tmp_path / "a.csv", rows()), text="review", target="stars")
    assert one.train.texts == other.train.texts and torch.equal(one.train.inputs, other.train.inputs)


def test_a_folder_of_tables_has_parts(tmp_path):
    write_table(tmp_path / "train.csv", rows())
    write_table(tmp_path / "test.csv", rows()[:3] + rows()[-3:])
    data = load(tmp_path, text="review", target="stars")
    assert (len(data.train), len(data.validation), len(data.test)) == (36, 4, 6)
    (tmp_path / "test.csv").rename(tmp_path / "more.csv")
    with pytest.raises(DataError, match=r"expected files of train .* came 1 of no part, 1 of train"):
        load(tmp_path, text="review", target="stars")


def test_numbers_are_predicted_as_numbers(tmp_path):
    path = write_table(tmp_path / "a.csv", [(i, text, stars + 0.25 * (i % 3)) for i, text, stars in rows()])
    data = load(path, text="review", target="stars")
    assert data.task == "regression" and data.train.targets.dtype == torch.float32


def test_texts_in_python():
    both = texts(30, GOOD, 1) + texts(30, BAD, 2)
    data = load(both, ["good"] * 30 + ["bad"] * 30)
    assert data.classes == ("bad", "good") and set(data.train.texts) <= set(both)
    assert len(load((np.array(both), np.arange(60) / 7)).train) == 42
    with pytest.raises(DataError, match="expected texts, came an empty one at index 1"):
        load(["a", " ", "b"], [0, 1, 0])
    with pytest.raises(DataError, match="expected a target for each of 60 inputs, came 3"):
        load(both, [0, 1, 0])
    for source in ("digits", (both, [0, 1] * 30)):
        with pytest.raises(DataError, match="text= names a column of a table"):
            load(source, text="review")


def test_real_sets(real):
    data = load(real / "rt-polarity")
    assert (
        data.classes == ("neg", "pos") and len(data.train) + len(data.validation) + len(data.test) == 10_662
    )
    data = load(
        real / "sms-spam" / "SMSSpamCollection",
        text="column2",
        target="column1",
        validation=0,
        test_share=0,
    )
    assert dict(zip(data.classes, data.class_counts, strict=True)) == {"ham": 4827, "spam": 747}


# ---------------------------------------------------------------------------------------- what is left out, and errors


def test_empty_and_missing_texts_are_counted_and_left_out(reviews, tmp_path):
    (reviews / "bad" / "30.txt").write_text(" \n\t ")
    assert f"1 of 41 texts are empty or missing and left out: {Path('bad') / '30.txt'}" in load(reviews).notes
    some = [*rows(), (90, "", 1), (91, "  ", 5), (92, "NA", 1), (93, "a text without a class", "")]
    data = load(
        write_table(tmp_path / "a.csv", some), text="review", target="stars", validation=0, test_share=0
    )
    assert len(data.train) == 40
    assert "3 of 44 texts in 'review' are empty or missing and left out: row 41, row 42, row 43" in data.notes
    assert "1 of 44 rows have no 'stars' and are left out" in data.notes


def test_other_encodings_are_read_by_a_rule_that_is_told(reviews):
    (reviews / "bad" / "30.txt").write_bytes("Gänse sind öde".encode("cp1252"))
    data = load(reviews, validation=0, test_share=0)
    assert "Gänse sind öde" in data.train.texts
    assert (
        f"1 of 41 files were read as cp1252, because their bytes are not UTF-8 (text.encoding says otherwise): {Path('bad') / '30.txt'}"
        in data.notes
    )
    with pytest.raises(
        DataError, match=r"1 of 41 files cannot be read.*30.txt: expected utf-8 text, came the byte 0xe4"
    ):
        load(reviews, text={"encoding": "utf-8"})


def test_files_that_are_no_text_stop_above_a_share(reviews):
    (reviews / "bad" / "30.txt").write_bytes(b"\x7fELF\0\0\0")
    with pytest.raises(DataError, match=r"1 of 41 files cannot be read, more than the 0.01 that is let pass"):
        load(reviews)
    data = load(reviews, unreadable=0.05)
    assert len(data.train) + len(data.validation) + len(data.test) == 40
    assert "1 files cannot be read and are left out" in notes(data)


@pytest.mark.parametrize(
    ("target", "change", "words"),
    [
        (None, {}, "expected to be told which column to predict"),
        ("starz", {}, "no column 'starz': did you mean 'stars'"),
        ("review", {}, "'review' is the column of texts and cannot be the target"),
        (
            "id",
            {},
            "column 'id': expected classes that occur more than once, came another value in each of 40 rows",
        ),
        ("stars", {"stars": 3}, "expected at least two classes, came 1: 3"),
        ("stars", {"stars": ""}, "expected texts with a target in train, came none"),
        ("stars", {"review": ""}, "expected texts"),
        ("stars", {"review": 7}, "column 'review': expected texts, came int64"),
    ],
)
def test_targets_and_columns_that_cannot_be(tmp_path, target, change, words):
    names = ("id", "review", "stars")
    changed = [
        tuple(change.get(name, value) for name, value in zip(names, row, strict=True)) for row in rows()
    ]
    with pytest.raises(DataError, match=words):
        load(write_table(tmp_path / "a.csv", changed), text="review", target=target)


def test_a_column_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="no column 'reviews': did you mean 'review'"):
        load(write_table(tmp_path / "a.csv", rows()), text="reviews", target="stars")


def test_folders_that_cannot_be(tmp_path, reviews, lines):
    for name in ("train.txt", "test.txt"):
        (tmp_path / "corpus").mkdir(exist_ok=True)
        (tmp_path / "corpus" / name).write_text("one\ntwo\n")
    with pytest.raises(
        DataError, match=r"expected one file a class, came test.txt, train.txt, which are parts"
    ):
        load(tmp_path / "corpus")
    (reviews / "empty").mkdir()
    with pytest.raises(DataError, match=r"a class without texts"):
        load(reviews)
    (reviews / "empty" / "1.txt").write_text("  ")
    with pytest.raises(DataError, match="class 'empty' has no text in train"):
        load(reviews)
    (lines / "third.txt").write_text("\n\n")
    with pytest.raises(DataError, match="class 'third' has no text in train"):
        load(lines)


def test_other_folders_are_no_texts(tmp_path, photos):
    assert text_unit(photos) is None
    (photos / "cat" / "about.txt").write_text("cats")
    assert text_unit(photos) is None, "pictures with a note among them are pictures"
    for name in ("one.txt", "table.csv"):
        (tmp_path / "mixed").mkdir(exist_ok=True)
        (tmp_path / "mixed" / name).write_text("a,b\n1,2\n")
    assert text_unit(tmp_path / "mixed") is None
    assert text_unit(tmp_path / "nothing") is None


def test_options_that_cannot_be(lines):
    with pytest.raises(UnknownNameError, match="unknown text option 'lenght': did you mean 'length'"):
        load(lines, text={"lenght": 3})
    for option in ({"length": 0}, {"vocabulary": 1.5}, {"length": True}):
        with pytest.raises(DataError, match="expected a whole number of tokens"):
            load(lines, text=option)
    with pytest.raises(UnknownNameError, match=r"text.tokens"):
        load(lines, text={"tokens": "bytes"})
    with pytest.raises(DataError, match="go with numbers; texts are cut into tokens"):
        load(lines, mean=0.5)
    with pytest.raises(DataError, match="stream= goes with"):
        load(lines, stream=True)


# ---------------------------------------------------------------------------------------- tokens


def test_the_tokenizer_knows_the_training_part_alone(lines):
    data = load(lines, text={"tokens": "words"})
    words = Counter(word for text in data.train.texts for word in text.lower().split())
    vocabulary = {word for word, count in words.items() if count > 1}
    assert data.preparation.facts == {"vocabulary": len(vocabulary) + 2, "padding": 0}
    for part in (data.train, data.test):
        for text, ids in zip(part.texts, part.inputs, strict=True):
            known = [word in vocabulary for word in text.lower().split()]
            assert (ids[: len(known)] != 1).tolist() == known and not ids[len(known) :].any()


def test_words_or_byte_pairs_by_how_many_words_come_again(tmp_path):
    (tmp_path / "a").mkdir()
    numbers = random.Random(0)
    for name in ("one", "two"):  # runs of letters without spaces, as in Chinese
        run = ["".join(numbers.choices("的一是不了人我在有他", k=12)) for _ in range(60)]
        (tmp_path / "a" / f"{name}.txt").write_text("\n".join(run))
    data = load(tmp_path / "a")
    assert data.preparation.tokenizer.kind == "bpe"
    assert (
        "texts are cut into byte pairs: 100% of the words in training are not in the vocabulary (text.tokens)"
        in data.notes
    )


def test_a_longer_text_keeps_its_beginning_and_is_counted(lines):
    whole = load(lines, text={"tokens": "words"})
    data = load(lines, text={"tokens": "words", "length": 6})
    assert data.input_shape == (6,) and torch.equal(data.test.inputs, whole.test.inputs[:, :6])
    longer = sum(len(text.split()) > 6 for text in data.test.texts)
    assert (
        f"test: {longer} of 16 texts are longer than 6 tokens; only these are read of them (text.length)"
        in data.notes
    )


def test_equal_texts_stay_in_one_part(lines):
    for name in ("good", "bad"):
        path = lines / f"{name}.txt"
        path.write_text(path.read_text() * 3)
    data = load(lines)
    assert not set(data.train.texts) & (set(data.test.texts) | set(data.validation.texts))
    assert "160 of 240 training examples are copies of others; copies are kept in the same part" in data.notes


def test_a_preparation_is_written_down_and_used_again(lines):
    data = load(lines)
    again = Preparation.from_dict(data.preparation.to_dict())
    assert again.to_dict() == data.preparation.to_dict()
    other = load(lines, preparation=again, seed=3)
    assert other.preparation is again
    for part in (other.train, other.validation, other.test):
        if data.train.texts[0] in part.texts:
            assert torch.equal(part.inputs[part.texts.index(data.train.texts[0])], data.train.inputs[0])
            break
    else:
        raise AssertionError("the text is in no part")


# ---------------------------------------------------------------------------------------- raw inputs


@pytest.fixture
def prepare() -> TextPreparation:
    return TextPreparation([4], tokenizer=Characters("abc").to_dict(), column="review")


def test_texts_are_read_from_strings_objects_and_files(prepare, tmp_path):
    (tmp_path / "a.txt").write_text("ab\n\n  \nccz\n")
    assert [ids.tolist() for ids in prepare.read_many(["ab", {"review": "c"}])] == [[2, 3], [4]]
    assert [ids.tolist() for ids in prepare.read_many("ab")] == [[2, 3]]
    files = {name: ids.tolist() for name, ids in prepare.read_files([tmp_path / "a.txt"])}
    assert files == {f"{tmp_path}/a.txt:1": [2, 3], f"{tmp_path}/a.txt:4": [4, 4, 1]}
    write_table(tmp_path / "b.csv", [(1, "ba", 3)])
    assert [(name, ids.tolist()) for name, ids in prepare.read_files([str(tmp_path / "b.csv")])] == [
        (f"{tmp_path}/b.csv, row 1", [3, 2])
    ]
    whole = TextPreparation([9], tokenizer=Characters("ab\n").to_dict(), unit="file")
    (tmp_path / "c.txt").write_text("a\nb")
    assert [ids.tolist() for _, ids in whole.read_files([tmp_path / "c.txt"])] == [[2, 4, 3]]


def test_what_is_unknown_or_cut_is_counted(prepare):
    ids = prepare.read("abzzca")
    assert prepare.remarks(ids) == [
        "2 of 6 tokens are not in the vocabulary",
        "the last 2 of 6 tokens are not read",
    ]
    assert prepare.remarks(prepare.read("abc")) == []
    assert prepare(prepare.together([ids, prepare.read("c")])).tolist() == [[2, 3, 1, 1], [4, 0, 0, 0]]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["ab", ""], "input 1: expected a text, came an empty one"),
        ([" \n"], "input 0: expected a text, came an empty one"),
        ([3.5], "input 0: expected a text, came float"),
        ([None], "input 0: expected a text, came NoneType"),
        ([{"text": "a"}], "input 0: expected a text in 'review', came an object with text"),
        (["a\ud800"], "input 0: expected a text, came half of a surrogate pair"),
        ([], "input: expected texts, came none"),
        (7, "input: expected texts, came int"),
    ],
)
def test_what_is_no_text_is_refused(prepare, given, words):
    with pytest.raises(DataError, match=words):
        list(prepare.read_many(given))


def test_files_without_texts_are_refused(prepare, tmp_path):
    (tmp_path / "a.txt").write_text("\n\n")
    with pytest.raises(DataError, match="expected texts, one a line, came an empty file"):
        list(prepare.read_files([tmp_path / "a.txt"]))
    with pytest.raises(DataError, match="no such file or folder"):
        list(prepare.read_files([tmp_path / "none.txt"]))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="expected files of text, came a folder without any file"):
        list(prepare.read_files([tmp_path / "empty"]))


# ---------------------------------------------------------------------------------------- batches


def test_batches_are_as_wide_as_their_longest_text(lines):
    part = load(lines, text={"tokens": "words"}).train
    seen = []
    for x, y in part.batches(8):
        assert x.dtype == torch.int64 and y.dtype == torch.int64
        assert (x != 0).any(0).all(), "no column is padding alone"
        seen += [text.split().__len__() for text in part.texts[len(seen) : len(seen) + len(x)]]
        assert (x != 0).sum(1).tolist() == seen[-len(x) :]
    assert len(seen) == len(part)


def test_an_epoch_holds_each_text_once_and_little_padding(lines):
    part = load(lines, text={"tokens": "words"}, validation=0, test_share=0).train
    batches = list(part.epoch(8, seed=1, epoch=2))
    assert sorted(tuple(row[row != 0].tolist()) for x, _ in batches for row in x) == sorted(
        tuple(row[row != 0].tolist()) for row in part.inputs
    )
    padding = sum(int((x == 0).sum()) for x, _ in batches)
    plain = sum(int((x == 0).sum()) for x, _ in part.batches(8, epoch_order(len(part), seed=1, epoch=2)))
    assert padding < plain / 3


def test_an_epoch_goes_on_where_it_stopped(lines):
    part = load(lines).train
    whole = list(part.epoch(8, seed=1, epoch=0))
    rest = list(part.epoch(8, seed=1, epoch=0, start=3))
    assert len(rest) == len(whole) - 3
    for (x, y), (again, labels) in zip(whole[3:], rest, strict=True):
        assert torch.equal(x, again) and torch.equal(y, labels)
    other = list(part.epoch(8, seed=1, epoch=1))
    assert any(
        x.shape != z.shape or not torch.equal(x, z) for (x, _), (z, _) in zip(whole, other, strict=True)
    )


def test_processes_share_each_batch(lines):
    part = load(lines).train
    order = order_by_length(part.order(seed=1, epoch=0), part.lengths, 8, seed=1, epoch=0)
    assert sorted(order.tolist()) == list(range(len(part)))
    both = [share_of_epoch(order, 8, (rank, 2))[0] for rank in range(2)]
    assert sorted(torch.cat(both).tolist()) == list(range(len(part)))
    for rank in range(2):
        own = [y for _, y in part.epoch(8, seed=1, epoch=0, share=(rank, 2))]
        assert torch.equal(torch.cat(own), part.targets[both[rank]])


@pytest.mark.parametrize(("count", "batch"), [(0, 4), (3, 4), (8, 4), (1000, 7), (5000, 3)])
def test_an_order_by_length_is_a_permutation_whose_batches_are_alike(count, batch):
    lengths = torch.from_numpy(np.random.default_rng(0).integers(1, 500, count))
    order = order_by_length(epoch_order(count, seed=0, epoch=0), lengths, batch, seed=0, epoch=0)
    assert sorted(order.tolist()) == list(range(count))
    if count >= 1000:
        spread = [float(lengths[rows].float().std()) for rows in order[: count // batch * batch].split(batch)]
        assert np.mean(spread) < 0.2 * float(lengths.float().std())
        longest = [int(lengths[rows].max()) for rows in order.split(batch)]
        assert abs(np.corrcoef(np.arange(len(longest)), longest)[0, 1]) < 0.2, "batches are shuffled"


def test_evaluation_takes_fewer_long_texts_at_once(lines):
    from netwright.training.evaluation import outputs_of

    part = load(lines, text={"length": 9000}).train
    assert part.evaluation_batch == 3

    class Widths(torch.nn.Module):
        seen: list[int]

        def forward(self, x):
            self.seen.append(len(x))
            return torch.zeros(len(x), 2) + x[:, :1]

    network = Widths()
    network.seen = []
    outputs, targets = outputs_of(network, part)
    assert max(network.seen) == 3
    assert torch.equal(outputs[:, 0], part.inputs[:, 0].float()) and torch.equal(targets, part.targets)


def test_taking_a_few(lines):
    few = load(lines).train.take(3)
    assert len(few) == len(few.texts) == len(few.inputs) == 3
    assert len(load(lines, limit=10).test) == 10
    assert TextOptions.build(None) == TextOptions()
