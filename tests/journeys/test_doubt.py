"""Answers with doubt, as a person gets them: calibrated probabilities, and flags on what is unlike the training data."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import netwright as nw


@pytest.fixture(scope="module")
def _digits(tmp_path_factory: pytest.TempPathFactory, forked: Any) -> Path:
    """A run as `netwright fit digits` makes it."""
    import sys

    person = sys.modules["netwright_test_processes"].Person(tmp_path_factory.mktemp("digits"), forked)
    shown = person("fit", "digits", "--out", "run")
    assert "guard against input unlike the training data fitted to 1,258 examples" in shown.stderr
    assert "calibration error" in shown.stdout and "unlike the training data: 0." in shown.stdout
    return person.folder / "run"


@pytest.fixture
def digits(_digits: Path, folder: Path) -> Path:
    return Path(shutil.copytree(_digits, folder / "run"))


def flags(netwright: Any, images: Any) -> list[bool]:
    answers = netwright("predict", "run", "-", "--json", stdin=json.dumps(np.asarray(images).tolist())).json
    return [answer["unlike_training"] for answer in answers]


def test_noise_and_blank_images_are_flagged_and_digits_are_not(netwright: Any, digits: Path) -> None:
    rng = np.random.default_rng(0)
    test = nw.load("digits").test.inputs[:, 0].numpy()
    ordinary = flags(netwright, test)
    assert len(ordinary) == 359 and sum(ordinary) <= 0.04 * 359
    uniform = rng.integers(0, 17, (100, 8, 8))
    assert all(flags(netwright, uniform))
    shuffled = rng.permuted(test.reshape(359, 64), axis=1)[:100].reshape(100, 8, 8)
    assert sum(flags(netwright, shuffled)) >= 99
    assert all(flags(netwright, [np.full((8, 8), shade) for shade in (0, 4, 8, 16)]))
    assert all(flags(netwright, 16 - test[:100].astype(int)))


def test_files_the_line_and_the_table_say_so(netwright: Any, digits: Path) -> None:
    from PIL import Image

    digit = nw.load("digits").test.inputs[0, 0].numpy()
    Image.fromarray(np.full((8, 8), 128, np.uint8)).save(netwright.folder / "grey.png")
    Image.fromarray((digit * 15.9375).round().astype(np.uint8)).save(netwright.folder / "digit.png")
    grey, ordinary = netwright("predict", "run", "grey.png", "digit.png").stdout.splitlines()
    assert grey.endswith(")  unlike the training data") and ordinary.endswith("%)")
    netwright("predict", "run", "grey.png", "digit.png", "--out", "said.csv")
    with (netwright.folder / "said.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["unlike_training"] for row in rows] == ["true", "false"] and "p(3)" in rows[0]


def test_probabilities_are_the_softmax_over_the_temperature_of_the_result(
    netwright: Any, digits: Path
) -> None:
    result = json.loads((digits / "result.json").read_text())
    found = result["calibration"]
    assert found["examples"] == 180 and found["nll_after"] < found["nll_before"]
    assert 0.05 < found["temperature"] < 20 and found["temperature"] != 1
    run, test = nw.Run(digits), nw.load("digits").test
    x, targets = test.prepared(slice(0, None))
    with torch.no_grad():
        logits = run.network(x)
    expected = (logits / found["temperature"]).softmax(1)
    images = test.inputs[:20, 0].tolist()
    answers = netwright("predict", "run", "-", "--json", stdin=json.dumps(images)).json
    shares = [list(answer["probabilities"].values()) for answer in answers]
    assert np.array(shares) == pytest.approx(expected[:20].numpy(), abs=1e-5)
    # The loss stays that of the raw outputs, and no label changes.
    scores = netwright("test", "run", "--json").json["test"]
    assert scores["loss"] == pytest.approx(
        float(torch.nn.functional.cross_entropy(logits, targets)), rel=1e-4
    )
    assert scores["accuracy"] == pytest.approx(float((logits.argmax(1) == targets).float().mean()))
    assert scores == result["test"]


def test_other_data_is_tested_for_what_is_unlike(netwright: Any, digits: Path) -> None:
    images, targets = nw.load("digits").train.inputs[:200, 0], nw.load("digits").train.targets[:200]
    for name, changed in (("same", images), ("inverted", 16 - images)):
        np.savez(netwright.folder / f"{name}.npz", x=changed.numpy(), y=targets.numpy())
    same, inverted = (
        netwright("test", "run", "--data", f"{name}.npz", "--json").json["test"]["unlike_training"]
        for name in ("same", "inverted")
    )
    assert same <= 0.02 and inverted == 1
    assert (
        "unlike the training data: 100.00 % of what was tested"
        in netwright("test", "run", "--data", "inverted.npz").stdout
    )


def test_the_report_shows_both(digits: Path) -> None:
    page = (digits / "report.html").read_text()
    assert "How sure it is" in page and "before they were calibrated by the temperature" in page
    assert "are flagged as unlike the training data" in page and "guard.safetensors" in page


def test_a_run_of_an_older_netwright_answers_as_it_did(netwright: Any, digits: Path) -> None:
    result = json.loads((digits / "result.json").read_text())
    del result["calibration"], result["guard"]
    (digits / "result.json").write_text(json.dumps(result))
    (digits / "guard.safetensors").unlink()
    recipe = (digits / "recipe.yaml").read_text()
    (digits / "recipe.yaml").write_text(recipe.replace("guard:\n  share: 0.01\n", ""))
    assert "guard" not in (digits / "recipe.yaml").read_text()
    test = nw.load("digits").test
    image = test.inputs[:1, 0].tolist()
    answer = netwright("predict", "run", "-", "--json", stdin=json.dumps(image)).json[0]
    with torch.no_grad():
        plain = nw.Run(digits).network(test.prepared(slice(0, 1))[0]).softmax(1)[0]
    assert answer["unlike_training"] is None
    assert list(answer["probabilities"].values()) == pytest.approx(plain.tolist(), abs=1e-6)
    assert netwright("test", "run", "--json").json["test"]["accuracy"] == result["test"]["accuracy"]


def test_a_damaged_guard_is_named(netwright: Any, digits: Path) -> None:
    path = digits / "guard.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    refused = netwright("predict", "run", "-", stdin=json.dumps(np.zeros((1, 8, 8)).tolist()), code=2)
    assert "guard.safetensors cannot be read" in refused.stderr and "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("words", "calibration", "guard"),
    [
        (["--set", "guard.share=0"], None, "guard.share is 0"),
        (["--set", "data.validation=0"], "no validation examples", "0 validation examples are fewer than 50"),
        (["--set", "data.validation=30"], "30 validation examples are fewer", "30 validation examples"),
        (["--overfit", 200], "were trained on", "were trained on"),
    ],
)
def test_where_there_is_none_the_result_says_why(
    netwright: Any, words: list[Any], calibration: str | None, guard: str
) -> None:
    netwright("fit", "digits", "--epochs", 1, "--out", "run", "--quiet", *words)
    result = json.loads((netwright.folder / "run" / "result.json").read_text())
    assert guard in result["guard"]["reason"] and not (netwright.folder / "run/guard.safetensors").exists()
    if calibration is None:
        assert "reason" not in result["calibration"]
    else:
        assert calibration in result["calibration"]["reason"] and result["calibration"]["temperature"] == 1
    assert flags(netwright, np.zeros((1, 8, 8))) == [None]


def test_a_share_that_cannot_be_is_refused(netwright: Any) -> None:
    assert "guard.share" in netwright("fit", "digits", "--set", "guard.share=2", code=2).stderr


def test_neither_the_weights_nor_a_resumed_run_depend_on_it(netwright: Any) -> None:
    words = ("fit", "digits", "--epochs", 3, "--quiet", "--json")
    without = netwright(*words, "--out", "without", "--set", "guard.share=0").json
    whole = netwright(*words, "--out", "whole").json
    assert whole["weights_sha256"] == without["weights_sha256"]
    # As if it had been killed between the last checkpoint and the result.
    torn = Path(shutil.copytree(netwright.folder / "whole", netwright.folder / "torn"))
    (torn / "result.json").unlink()
    (torn / "guard.safetensors").write_bytes(b"begun")
    again = netwright("resume", "torn", "--quiet", "--json").json
    for key in ("calibration", "guard", "test", "weights_sha256"):
        assert again[key] == whole[key]
    kept = load_file(netwright.folder / "whole" / "guard.safetensors")
    fitted = load_file(torn / "guard.safetensors")
    assert kept.keys() == fitted.keys() and all(torch.equal(kept[name], fitted[name]) for name in kept)


def test_rows_of_a_table_with_impossible_numbers(netwright: Any) -> None:
    rng = np.random.default_rng(0)
    age, height, city = rng.normal(40, 10, 900), rng.normal(170, 8, 900), rng.choice(["A", "B"], 900)
    price = age * 3 + height + (city == "A") * 20
    rows = list(zip(age.round(1), height.round(1), city, price.round(2), strict=True))
    with (netwright.folder / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["age", "height", "city", "price"], *rows])
    netwright("fit", "rows.csv", "--target", "price", "--epochs", 3, "--out", "run", "--quiet")
    asked = [
        {"age": 40, "height": 170, "city": "A"},
        {"age": 40000, "height": 170, "city": "A"},
        {"age": 170, "height": 40, "city": "B"},
        {"age": -40, "height": 170, "city": "B"},
    ]
    answers = netwright("predict", "run", "-", "--json", stdin=json.dumps(asked)).json
    assert [answer["unlike_training"] for answer in answers] == [False, True, True, True]
    shown = netwright("predict", "run", "-", stdin=json.dumps(asked)).stdout.splitlines()
    assert ["unlike the training data" in line for line in shown] == [False, True, True, True]
    assert "calibration" not in json.loads((netwright.folder / "run" / "result.json").read_text())


def test_texts_in_no_language(netwright: Any) -> None:
    rng = np.random.default_rng(0)
    words = {"good": ["fine", "lovely", "nice", "great"], "bad": ["dull", "poor", "weak", "sad"]}
    plain = [
        "the",
        "film",
        "was",
        "a",
        "story",
        "with",
        "an",
        "ending",
        "and",
        "its",
        "actors",
        "in",
        "the",
        "first",
        "half",
        "of",
        "this",
    ]
    for name, own in words.items():
        lines = [" ".join([*rng.choice(plain, rng.integers(5, 12)), *rng.choice(own, 2)]) for _ in range(500)]
        (netwright.folder / "texts").mkdir(exist_ok=True)
        (netwright.folder / "texts" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    netwright("fit", "texts", "--epochs", 2, "--out", "run", "--quiet")
    (netwright.folder / "new.txt").write_text(
        "the film was a fine story with an ending\nxkq zzv wpl jjt rrk mmn qqa ppz lls\nder Film war ein schlechter Witz mit Ende\n"
    )
    answers = netwright("predict", "run", "new.txt", "--json").json
    assert [answer["unlike_training"] for answer in answers] == [False, True, True]


def test_a_language_model_has_neither(netwright: Any) -> None:
    (netwright.folder / "corpus.txt").write_text("to be or not to be, that is the question.\n" * 400)
    sizes = ("network.layers=1", "network.width=16", "network.heads=2", "text.length=32")
    words = [word for size in sizes for word in ("--set", size)]
    netwright("fit", "corpus.txt", "--epochs", 1, "--out", "run", "--quiet", *words)
    result = json.loads((netwright.folder / "run" / "result.json").read_text())
    assert "calibration" not in result and "language model" in result["guard"]["reason"]
