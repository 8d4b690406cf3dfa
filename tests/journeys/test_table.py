"""A table as a person has it: trained on, interrupted, tested, predicted from, and every kind of bad table."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SMALL = ("--epochs", 8, "--batch", 32, "--quiet", "--set", "network.hidden=[16]")


def write(path: Path, names: list[str], rows: list[list[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *rows])
    return path


@pytest.fixture
def churn(folder: Path) -> Path:
    """Customers who leave when they are young and pay by cheque: numbers, categories, dates, gaps, an id and text."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(600):
        age, pays = int(rng.integers(18, 80)), str(rng.choice(["card", "cheque", "transfer"]))
        left = age < (60 if pays == "cheque" else 35)
        rows.append(
            [
                f"C{number:04}",
                "" if rng.random() < 0.1 else age,
                pays,
                f"20{rng.integers(10, 24)}-{rng.integers(1, 13):02}-{rng.integers(1, 28):02}",
                f"customer number {number} called about something",
                "yes" if left else "no",
            ]
        )
    return write(folder / "churn.csv", ["customer", "age", "pays", "since", "remark", "left"], rows)


def test_from_end_to_end(netwright: Any, churn: Path) -> None:
    shown = netwright(
        "fit",
        "churn.csv",
        "--target",
        "left",
        "--epochs",
        25,
        "--batch",
        32,
        "--set",
        "network.hidden=[16]",
        "--out",
        "run",
    )
    said = shown.stderr
    for line in (
        "predicts classes (left: 2 different texts)",
        "numbers: age (",
        "dates: since",
        "categories: pays (3)",
        "left out: customer (600 different in 600), remark (free text, 600 different in 600)",
    ):
        assert line in said, said
    result = json.loads((netwright.folder / "run" / "result.json").read_text())
    assert result["test"]["accuracy"] > 0.8
    assert 0.8 < result["test"]["two_classes"]["roc_auc"] <= 1
    assert result["findings"] == []
    assert netwright("test", "run", "--json").json["test"] == result["test"]
    again = netwright("test", "run", "--data", "churn.csv", "--json").json["test"]
    assert again["accuracy"] > 0.8 and sum(map(sum, again["confusion"])) == 600


def test_predicts_rows_of_files_and_of_json(netwright: Any, churn: Path) -> None:
    netwright("fit", "churn.csv", "--target", "left", *SMALL, "--out", "run")
    write(
        netwright.folder / "new.csv",
        ["pays", "since", "age"],
        [["cheque", "2020-01-01", 20], ["coins", "", ""]],
    )
    first, second = netwright("predict", "run", "new.csv", "--json").json
    assert first["input"] == "new.csv, row 1" and first["label"] == "yes"
    assert second["remarks"] == [
        "since: a gap, which training never had; its mean is taken",
        "pays: a category that training never saw",
    ]
    row = {"age": 20, "pays": "cheque", "since": "2020-01-01"}
    said = netwright(
        "predict", "run", "-", "--json", stdin=json.dumps([row, [None, 20, "cheque", "2020-01-01", ""]])
    ).json
    assert [one["probabilities"] for one in said] == [pytest.approx(first["probabilities"])] * 2
    refused = netwright("predict", "run", "-", stdin='[{"age": 3}]', code=2)
    assert "expected the columns of training, without since, pays" in refused.stderr


def test_killed_and_resumed_to_the_same_weights(netwright: Any, churn: Path) -> None:
    command = ("fit", "churn.csv", "--target", "left", *SMALL, "--json", "--set", "checkpoint.every_steps=5")
    command = (
        *command,
        "--set",
        "data.sampling=balanced",
        "--set",
        "table.scaling=piecewise",
        "--no-examine",
    )
    whole = netwright(*command, "--out", "whole").json
    process = netwright.start(*command, "--out", "run")
    kept = netwright.folder / "run" / "checkpoints"
    process.until(lambda: any(int(path.stem.split("-")[1]) >= 30 for path in kept.glob("step-*.pt")))
    process.send(signal.SIGKILL)
    assert process.end().code != 0
    ended = netwright("resume", "run", "--quiet", "--json").json
    assert ended["weights_sha256"] == whole["weights_sha256"] and ended["test"] == whole["test"]


def test_numbers_are_scored_in_their_own_unit(netwright: Any, folder: Path) -> None:
    rng = np.random.default_rng(1)
    rows = [
        [size := round(float(rng.uniform(20, 200)), 1), round(5000 * size + float(rng.normal(0, 9000)))]
        for _ in range(500)
    ]
    write(folder / "homes.csv", ["size", "price"], rows)
    result = netwright(
        "fit",
        "homes.csv",
        "--target",
        "price",
        *SMALL,
        "--epochs",
        30,
        "--lr",
        0.01,
        "--json",
        "--out",
        "run",
    ).json
    assert 7000 < result["test"]["rmse"] < 30_000 and result["test"]["r2"] > 0.97
    (row,) = netwright("predict", "run", "-", "--json", stdin="[[100]]").json
    assert row["value"] == pytest.approx(500_000, rel=0.1)


def test_labels_follow_the_threshold_that_is_asked_for(netwright: Any, churn: Path) -> None:
    fit = ("fit", "churn.csv", "--target", "left", *SMALL, "--json")
    plain = netwright(*fit, "--out", "plain").json
    ruled = netwright(*fit, "--out", "ruled", "--set", "decision.threshold=f1").json
    assert plain["weights_sha256"] == ruled["weights_sha256"]
    at = ruled["test"]["two_classes"]["at_threshold"]
    positive = ruled["test"]["two_classes"]["class"]
    taken = next(row for row in ruled["test"]["per_class"] if row["class"] == positive)
    assert (taken["precision"], taken["recall"]) == pytest.approx((at["precision"], at["recall"]))
    low = netwright(*fit, "--out", "low", "--set", "decision.threshold=0.001").json
    assert next(row for row in low["test"]["per_class"] if row["class"] == positive)["recall"] == 1.0
    record = netwright("predict", "low", "churn.csv", "--json").json[0]
    assert record["label"] == positive


def test_the_class_that_is_looked_for_can_be_named(netwright: Any, churn: Path) -> None:
    fit = ("fit", "churn.csv", "--target", "left", *SMALL, "--json")
    rarer = netwright(*fit, "--out", "plain").json["test"]["two_classes"]
    other = next(name for name in ("yes", "no") if name != rarer["class"])
    named = netwright(*fit, "--out", "named", "--set", f"decision.positive='{other}'").json["test"][
        "two_classes"
    ]
    assert named["class"] == other and named["share"] == pytest.approx(1 - rarer["share"])
    assert named["roc_auc"] == pytest.approx(rarer["roc_auc"])
    assert netwright("test", "named", "--json").json["test"]["two_classes"] == named
    assert "sensitivity" in netwright("test", "named").stdout
    ended = netwright(*fit, "--set", "decision.positive=maybe", code=2)
    assert "unknown class in decision.positive 'maybe'" in ended.stderr


@pytest.mark.parametrize("name", ["mlp", "table-resnet", "table-transformer"])
def test_networks_with_embeddings(netwright: Any, churn: Path, name: str) -> None:
    options = (
        "--network",
        name,
        "--set",
        "table.categories=embedding",
        "--epochs",
        3,
        "--batch",
        32,
        "--json",
        "--quiet",
    )
    result = netwright("fit", "churn.csv", "--target", "left", *options, "--out", "run").json
    assert result["findings"] == []
    assert netwright("test", "run", "--json").json["test"] == result["test"]


def test_a_network_of_one_s_own_gets_zeros_and_ones(netwright: Any, churn: Path) -> None:
    (netwright.folder / "mine.py").write_text(
        "from torch import nn\n\n\nclass Mine(nn.Sequential):\n    def __init__(self, input_shape, num_outputs):\n"
        "        super().__init__(nn.Linear(input_shape[0], 8), nn.Tanh(), nn.Linear(8, num_outputs))\n"
    )
    rows = [[number, f"k{number % 50}", number % 3] for number in range(3000)]
    write(netwright.folder / "many.csv", ["id", "kind", "y"], rows)
    said = netwright(
        "fit", "many.csv", "--target", "y", "--network", "mine.py:Mine", "--epochs", 1, "--out", "run"
    )
    assert "input 50: 1 categories as 50 zeros and ones" in said.stderr


GOOD = [[number % 9, number % 2] for number in range(40)]


@pytest.mark.parametrize(
    "content, arguments, said",
    [
        ("a,y\n1,2\n3\n4,5,6\n", (), "rows do not have 2 cells"),
        ("", (), "an empty file"),
        ("a,y\n", ("--set", "table.header=true"), "expected rows under the header"),
        ("a,y\n1,2\n\n3,\xff\n".encode("latin-1"), (), "expected text in utf-8, came byte 0xff in line 4"),
        ("a,y\n" + "1,x\n" * 30, (), "expected different targets in column 'y', came 'x' in every row"),
        ("a,y\n" + "".join(f"1,name {n}\n" for n in range(30)), (), "a different text in each of 30 rows"),
        ("a,y\n" + "".join(f"{n % 7},{n if n else 'many'}\n" for n in range(30)), (), "such as 'many'"),
        ("a,y\n" + "1,\n" * 30, (), "nothing but gaps"),
        ("a,y\n" + "".join(f",{n % 2}\n" for n in range(30)), (), "expected a column to predict from"),
        ("a,y\n1,0\n2,1\n", ("--target", "z"), "no column 'z'"),
        ("a,y\n1,0\n2,1\n", ("--set", "table.kinds={b: number}"), "no input column 'b'"),
        ("a,y\n1,0\n2,1\n", ("--set", "table.scaling=log"), "table.scaling should be"),
        ("a,y\n1,0\n2,1\n", ("--set", "table.separator=ab"), "table.separator"),
        ("a,y\n" + "".join(f"{n * n % 31},{n / 4}\n" for n in range(30)), ("--set", "decision.threshold=f1"), "goes with two classes"),
        ("a,y\n" + "".join(f"{n * n % 31},{n / 4}\n" for n in range(30)), ("--set", "data.sampling=balanced"), "goes with classes"),
        ("a,y\n" + "1,0\n2,1\n" * 9, ("--set", "decision.threshold=1.5"), "between 0 and 1"),
        ("a,y\n" + "".join(f"{n * n % 31},{n % 2}\n" for n in range(30)), ("--network", "cnn"), "expects images"),
    ],
)  # fmt: skip
def test_bad_tables(netwright: Any, folder: Path, content: str | bytes, arguments: tuple, said: str) -> None:
    (folder / "t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    target = () if "--target" in arguments else ("--target", "y")
    refused = netwright("fit", "t.csv", *target, *arguments, "--quiet", code=2)
    assert said in refused.stderr and "Traceback" not in refused.stderr
    assert len(refused.stderr.strip().splitlines()) <= 4
    assert not (folder / "runs").exists(), "a table that cannot be read makes no run"
