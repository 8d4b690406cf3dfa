"""Texts as a person fits, tests, predicts and resumes them, and what is said where they cannot be."""

from __future__ import annotations

import csv
import json
import math
import random
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

WORDS = {"bad": ("dull", "poor", "awful"), "good": ("fine", "great", "lovely")}


def written(count: int, name: str, seed: int) -> list[str]:
    """Texts of 3 to 20 words, half of them filler, by which the class can be told."""
    numbers = random.Random(f"{name} {seed}")
    filler = ("the", "film", "was", "and", "a", "story", "with", "people")
    return [
        " ".join(
            [
                *numbers.choices(WORDS[name], k=2),
                *numbers.choices(filler, k=numbers.randrange(1, 19)),
                f"scene {index}",
            ]
        )
        for index in range(count)
    ]


@pytest.fixture
def lines(folder: Path) -> Path:
    """A folder with a file of 60 lines for each of two classes."""
    (folder / "lines").mkdir()
    for name in WORDS:
        (folder / "lines" / f"{name}.txt").write_text("\n".join(written(60, name, 0)) + "\n")
    return folder / "lines"


@pytest.fixture
def table(folder: Path) -> Path:
    path = folder / "reviews.csv"
    with path.open("w", newline="") as file:
        both = [(text, name) for name in WORDS for text in written(60, name, 0)]
        csv.writer(file).writerows([("review", "verdict"), *both])
    return path


QUICK = ("--epochs", 25, "--out", "run")


def test_texts_in_files_from_fit_to_predict(netwright: Any, lines: Path, folder: Path) -> None:
    ended = netwright("fit", "lines", *QUICK)
    assert "2 classes: bad, good" in ended.stderr and "one text a line, one file a class" in ended.stderr
    assert "embedding-bag" in ended.stdout, "what is taken where nothing is said of the network"
    fitted = netwright("fit", "lines", "--epochs", 25, "--out", "other", "--json", "--quiet").json
    assert fitted["test"]["accuracy"] > 0.9 and fitted["findings"] == []
    assert netwright("test", "run", "--json").json["test"] == fitted["test"]

    (folder / "new.txt").write_text("a great and lovely film\n\na dull story\n")
    found = netwright("predict", "run", "new.txt", "--json").json
    assert [(one["input"], one["label"]) for one in found] == [("new.txt:1", "good"), ("new.txt:3", "bad")]
    rows = json.dumps(["a great and lovely film", "a dull zzyzx"])
    piped = netwright("predict", "run", "-", "--json", stdin=rows).json
    assert piped[0]["probabilities"] == pytest.approx(found[0]["probabilities"], abs=1e-6)
    assert [one.get("remarks") for one in piped] == [None, ["1 of 3 tokens are not in the vocabulary"]]
    said = netwright("predict", "run", "-", stdin=rows).stdout.splitlines()
    assert said[0].startswith("0  good") and said[1].endswith("1 of 3 tokens are not in the vocabulary")


def test_a_string_in_json_is_a_text_and_no_file(netwright: Any, lines: Path, folder: Path) -> None:
    netwright("fit", "lines", *QUICK)
    (folder / "secret.txt").write_text("great lovely fine\n" * 9)
    found = netwright("predict", "run", "-", "--json", stdin='["secret.txt"]').json
    assert len(found) == 1 and found[0]["input"] == "0"


def test_a_column_of_a_table_from_fit_to_predict(netwright: Any, table: Path, folder: Path) -> None:
    fitted = netwright(
        "fit", table, "--text", "review", "--target", "verdict", *QUICK, "--json", "--quiet"
    ).json
    assert fitted["test"]["accuracy"] > 0.9
    with (folder / "new.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "review"), (1, "great, great film"), (2, "poor")])
    found = netwright("predict", "run", "new.csv", "--json").json
    assert [(one["input"], one["label"]) for one in found] == [
        ("new.csv, row 1", "good"),
        ("new.csv, row 2", "bad"),
    ]
    rows = '{"review": "poor and awful", "id": 3}\n{"review": "lovely", "id": 4}'
    assert [one["label"] for one in netwright("predict", "run", "-", "--json", stdin=rows).json] == [
        "bad",
        "good",
    ]
    tested = netwright("test", "run", "--data", table, "--json").json
    assert sum(row["support"] for row in tested["test"]["per_class"]) == 120
    only_one_class = folder / "good.csv"
    with only_one_class.open("w", newline="") as file:
        csv.writer(file).writerows(
            [("review", "verdict"), *((text, "good") for text in written(9, "good", 7))]
        )
    tested = netwright("test", "run", "--data", only_one_class, "--json").json
    assert sum(row["support"] for row in tested["test"]["per_class"]) == 9


def test_the_report_shows_the_texts_that_were_misjudged(netwright: Any, lines: Path, folder: Path) -> None:
    for name, other in (("good", "bad"), ("bad", "good")):
        path = lines / f"{name}.txt"
        path.write_text(
            path.read_text() + "\n".join(f"{text} <b>wrong</b>" for text in written(12, other, 3))
        )
    netwright("fit", "lines", *QUICK)
    page = (folder / "run" / "report.html").read_text()
    assert "&lt;b&gt;wrong&lt;/b&gt;" in page and "<b>wrong</b>" not in page


NETWORKS = ("embedding-bag", "gru", "text-cnn", "transformer")


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_killed_and_resumed_is_never_interrupted(
    netwright: Any, lines: Path, folder: Path, network: str
) -> None:
    width = ("--set", "network.width=16")
    command = ("fit", "lines", "--network", network, *width, "--epochs", 12, "--batch", 8, "--no-examine")
    command += ("--set", "checkpoint.every_steps=3", "--set", "checkpoint.keep=last", "--quiet", "--json")
    expected = netwright(*command, "--out", "whole").json["weights_sha256"]
    process = netwright.start(*command, "--out", "run")
    process.until(lambda: len(list((folder / "run" / "checkpoints").glob("step-*"))) > 0)
    if process.poll() is None:
        process.send(signal.SIGKILL)
    process.end()
    assert netwright("resume", "run", "--quiet", "--json").json["weights_sha256"] == expected


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--set", "train.shard=true")], ids=["whole", "shared weights"])
@pytest.mark.parametrize("network", ["embedding-bag", "gru"])
@pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="this PyTorch has no gloo",
)
def test_two_processes_come_to_the_weights_of_one(
    netwright: Any, lines: Path, folder: Path, network: str, options: tuple[str, ...]
) -> None:
    command = ("fit", "lines", "--network", network, "--set", "network.dropout=0.0", "--epochs", 2, "--json")
    command += (
        "--set",
        "checkpoint.keep=last",
        "--no-examine",
        "--optimizer",
        "sgd",
        "--lr",
        0.1,
        "--batch",
        9,
    )
    netwright(*command, "--out", "one")
    netwright(*command, *options, "--out", "two", "--processes", 2)
    found, wanted = (load_file(folder / name / "model.safetensors") for name in ("two", "one"))
    for name, value in wanted.items():
        assert (found[name] - value).abs().max() / value.abs().max() < 1e-4, name


# ---------------------------------------------------------------------------------------- language models


@pytest.fixture
def corpus(folder: Path) -> Path:
    """A text in which each letter follows from the one before it, but for every tenth."""
    numbers = random.Random(0)
    letters = ["a"]
    while len(letters) < 6000:
        after = "abcdefgh"[(ord(letters[-1]) - ord("a") + 1) % 8]
        letters.append(numbers.choice("abcdefgh") if numbers.random() < 0.1 else after)
    (folder / "corpus.txt").write_text("".join(letters))
    return folder / "corpus.txt"


WRITER = ("--set", "text.length=16", "--set", "network.width=32", "--epochs", 4, "--out", "run")


def test_a_text_from_fit_to_write(netwright: Any, corpus: Path, folder: Path) -> None:
    small = ("--set", "network.layers=1")
    fitted = netwright("fit", "corpus.txt", *WRITER, *small, "--json").json
    test = fitted["test"]
    assert fitted["findings"] == []
    assert test["accuracy"] > 0.8
    assert test["bits_per_character"] == pytest.approx(math.log2(test["perplexity"]), rel=1e-6), (
        "a token is a character"
    )
    assert test["loss"] == pytest.approx(math.log(test["perplexity"]), rel=1e-6)
    epochs = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all("validation_perplexity" in one for one in epochs if "train_loss" in one)
    assert netwright("test", "run", "--json").json["test"] == pytest.approx(test)
    assert "Bits per character on the test part" in (folder / "run" / "report.html").read_text()

    text = netwright("write", "run", "--prompt", "abc", "--temperature", 0, "--length", 20).stdout
    assert text == "abcdefghabcdefghabcdefg\n"
    one, again, other = (
        netwright("write", "run", "--prompt", "abc", "--length", 60, "--seed", seed, "--json").json["text"]
        for seed in (1, 1, 2)
    )
    assert one == again != other and len(one) == 60
    assert netwright("write", "run", "--prompt", "xyz", "--length", 5).stderr.startswith(
        "3 of 3 tokens of the prompt"
    )
    tested = netwright("test", "run", "--data", corpus, "--json").json["test"]
    assert tested["perplexity"] < 4

    for arguments, words in (
        (("--temperature", -1), "temperature: expected a number from 0 on"),
        (("--top-k", 0), "top-k: expected at least 1"),
        (("--top-p", 1.5), "top-p: expected a probability above 0 and up to 1"),
        (("--length", 0), "length: expected at least 1 token"),
        (("--top-p", "much"), "--top-p"),
    ):
        refused(netwright("write", "run", *arguments, code=None), words)
    refused(netwright("predict", "run", "corpus.txt", code=None), "netwright write RUN")
    refused(netwright("eject", "run", code=None), "texts")


@pytest.mark.parametrize("network", ["gpt", "lstm"])
@pytest.mark.slow
def test_a_language_model_killed_and_resumed_is_never_interrupted(
    netwright: Any, corpus: Path, folder: Path, network: str
) -> None:
    command = (
        "fit",
        "corpus.txt",
        "--network",
        network,
        *WRITER[:-2],
        "--set",
        "network.dropout=0.2",
        "--no-examine",
    )
    command += ("--set", "checkpoint.every_steps=3", "--set", "checkpoint.keep=last", "--quiet", "--json")
    expected = netwright(*command, "--out", "whole").json["weights_sha256"]
    process = netwright.start(*command, "--out", "run")
    process.until(lambda: len(list((folder / "run" / "checkpoints").glob("step-*"))) > 0)
    if process.poll() is None:
        process.send(signal.SIGKILL)
    process.end()
    assert netwright("resume", "run", "--quiet", "--json").json["weights_sha256"] == expected


@pytest.mark.slow
@pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="this PyTorch has no gloo",
)
def test_a_language_model_by_two_processes(netwright: Any, corpus: Path, folder: Path) -> None:
    command = (
        "fit",
        "corpus.txt",
        "--network",
        "gpt",
        "--set",
        "network.layers=1",
        *WRITER[:4],
        "--epochs",
        1,
        "--json",
    )
    command += (
        "--set",
        "checkpoint.keep=last",
        "--no-examine",
        "--optimizer",
        "sgd",
        "--lr",
        0.1,
        "--batch",
        30,
    )
    netwright(*command, "--out", "one")
    netwright(*command, "--out", "two", "--processes", 2)
    found, wanted = (load_file(folder / name / "model.safetensors") for name in ("two", "one"))
    for name, value in wanted.items():
        assert (found[name] - value).abs().max() < 1e-4 * max(1.0, float(value.abs().max())), name


def test_what_is_no_language_model_does_not_write(netwright: Any, run: Path) -> None:
    refused(netwright("write", "run", code=None), "is no language model: it predicts classes")


# ---------------------------------------------------------------------------------------- what cannot be


def refused(ended: Any, *words: str, code: int = 2) -> None:
    """Checks that `ended` is an error for people in at most four lines, which has each of `words`."""
    said = f"exit {ended.code}\n{ended.stdout[-2000:]}\n--- stderr\n{ended.stderr[-3000:]}"
    assert "Traceback" not in ended.stderr and ended.code == code and ended.stdout == "", said
    parts = re.split(r"^netwright: ", ended.stderr, flags=re.MULTILINE)
    assert len(parts) == 2 and 1 <= len(parts[1].splitlines()) <= 4, said
    for word in words:
        assert word in parts[1], f"{word!r} is not in\n{said}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("lines", "--network", "mlp"), ("takes numbers", "embedding-bag")),
        (("corpus.txt", "--network", "mlp"), ("each next token", "gpt, lstm, gru")),
        (("corpus.txt", "--network", "text-cnn"), ("each next token", "gpt, lstm, gru")),
        (("corpus.txt", "--loss", "mse"), ("mse", "cross-entropy")),
        (("corpus.txt", "--set", "data.fold=[1,3]"), ("language model", "--text COLUMN")),
        (("corpus.txt", "--set", "text.length=9000"), ("more than 9,000 tokens", "text.length")),
        (("lines", "--network", "gpt"), ("targets of their own", "transformer")),
        (("digits", "--network", "transformer"), ("expects texts", "mlp")),
        (("lines", "--set", "text.tokens=bytes"), ("text.tokens", "'bpe'", "'bytes'")),
        (("lines", "--set", "text.lenght=3"), ("text.lenght", "did you mean 'text.length'")),
        (("lines", "--set", "text.length=0"), ("text.length", "0")),
        (
            ("lines", "--set", "text.tokens=bpe", "--set", "text.vocabulary=9"),
            ("text.vocabulary", "at least 258"),
        ),
        (("lines", "--set", "text.encoding=utf-99"), ("text.encoding", "utf-99")),
        (("lines", "--set", "augment.flip=true"), ("images",)),
        (("reviews.csv", "--text", "reviw", "--target", "verdict"), ("'reviw'", "did you mean 'review'")),
        (("reviews.csv", "--text", "review"), ("--target COLUMN", "verdict")),
        (("none.csv", "--text", "review", "--target", "verdict"), ("none.csv", "no such file")),
    ],
)
def test_a_fit_that_cannot_be(
    netwright: Any, lines: Path, table: Path, corpus: Path, arguments: Any, words: Any
) -> None:
    refused(netwright("fit", *arguments, *QUICK, code=None), *words)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ('["fine", ""]', ("input 1", "an empty one")),
        ("[3]", ("input 0", "expected a text", "int")),
        ('[{"words": "fine"}]', ("input 0", "expected a text", "an object")),
        ('"fine"', ("no rows",)),
    ],
)
def test_a_prediction_that_cannot_be(netwright: Any, lines: Path, rows: str, words: Any) -> None:
    netwright("fit", "lines", *QUICK[2:], "--epochs", 1)
    refused(netwright("predict", "run", "-", stdin=rows, code=None), *words)


def test_texts_of_other_classes_are_refused(netwright: Any, lines: Path, folder: Path) -> None:
    netwright("fit", "lines", *QUICK[2:], "--epochs", 1)
    (folder / "other").mkdir()
    for name in ("one", "two"):
        (folder / "other" / f"{name}.txt").write_text("\n".join(written(5, "good", 3)))
    refused(netwright("test", "run", "--data", "other", code=None), "bad, good", "one, two")
    refused(netwright("eject", "run", code=None), "texts")
