"""A table with a time as a person has it: forecast, interrupted, tested, predicted from, and every kind of bad table."""

from __future__ import annotations

import csv
import json
import signal
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

START = datetime(2021, 3, 1)
SMALL = ("--horizon", 6, "--set", "series.window=24", "--epochs", 4, "--quiet")


def write(path: Path, names: list[str], rows: list[list[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *rows])
    return path


@pytest.fixture
def load(folder: Path) -> Path:
    """Two columns with a day in them, by the hour, and one of words."""
    rng = np.random.default_rng(0)
    rows = []
    for hour in range(900):
        day = np.sin(hour * 2 * np.pi / 24)
        rows.append(
            [
                (START + timedelta(hours=hour)).strftime("%Y-%m-%d %H:%M"),
                round(float(500 + 100 * day + rng.normal(0, 10)), 2),
                round(float(15 + 5 * day + rng.normal(0, 1)), 2),
                f"remark {hour}",
            ]
        )
    return write(folder / "load.csv", ["when", "load", "degrees", "remark"], rows)


def test_from_end_to_end(netwright: Any, load: Path) -> None:
    command = ("fit", "load.csv", "--target", "load", "--time", "when", "--horizon", 12, "--epochs", 10)
    shown = netwright(*command, "--out", "run")
    for line in (
        "load: 451 to train, 79 to validate, 169 to test, in windows",
        "12 rows of 1 column to forecast",
        "forecasts 12 rows (12 hours) of load from 168 rows (7 days) of load, degrees",
        "from row to row (when): 1 hour",
        "cut by time, nothing is drawn: train 630 rows, validation 90 rows, test 180 rows",
        "season: comes again after 24 rows",
        "left out: remark (text such as 'remark 0')",
        "22 windows that forecast across a border are left out",
    ):
        assert line in shown.stderr, shown.stderr
    for word in (
        "this network",
        "last value",
        "seasonal naive (24)",
        "linear",
        "row 12",
        "less squared error than",
    ):
        assert word in shown.stdout, shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80
    result = json.loads((netwright.folder / "run" / "result.json").read_text())
    test = result["test"]
    assert result["findings"] == [] and len(test["steps"]["rmse"]) == 12
    assert 8 < test["rmse"] < 20, "the noise is 10"
    assert test["skill"] > 0.2 and set(test["beside"]) == {"last value", "seasonal naive (24)", "linear"}
    assert test["beside"]["seasonal naive (24)"]["rmse"] == pytest.approx(10 * 2**0.5, rel=0.2)
    assert netwright("test", "run", "--json").json["test"] == test
    again = netwright("test", "run", "--data", "load.csv", "--json").json["test"]
    assert again["beside"]["linear"]["rmse"] < 20 and again["rmse"] != test["rmse"]
    assert "load.csv" not in netwright("eject", "run", code=2).stdout
    assert "is a series" in netwright("eject", "run", code=2).stderr
    report = (netwright.folder / "run" / "report.html").read_text()
    assert "seasonal naive (24)" in report and "Rows ahead" in report


def test_predicts_the_rows_behind_the_last(netwright: Any, load: Path) -> None:
    netwright("fit", "load.csv", *SMALL, "--out", "run")
    (record,) = netwright("predict", "run", "load.csv", "--json").json
    assert record["input"] == "load.csv" and record["columns"] == ["load", "degrees"]
    assert record["times"][0] == "2021-04-07 12:00:00" and len(record["times"]) == len(record["value"]) == 6
    assert all(300 < row[0] < 700 and 0 < row[1] < 30 for row in record["value"])
    with load.open() as file:
        rows = list(csv.DictReader(file))
    given = [{name: row[name] for name in ("when", "load", "degrees")} for row in rows[-24:]]
    (piped,) = netwright("predict", "run", "-", "--json", stdin=json.dumps(given)).json
    assert piped["value"] == record["value"] and piped["times"] == record["times"]
    lines = netwright("predict", "run", "load.csv").stdout.splitlines()
    assert (
        lines[0] == "load.csv  load  degrees"
        and lines[1].startswith("  2021-04-07 12:00:00  ")
        and len(lines) == 7
    )
    netwright("predict", "run", "load.csv", "--out", "ahead.csv")
    with (netwright.folder / "ahead.csv").open() as file:
        table = list(csv.reader(file))
    assert table[0] == ["input", "time", "load", "degrees", "unlike_training"] and len(table) == 7
    assert {row[-1] for row in table[1:]} == {"false"} and record["unlike_training"] is False
    jumped = [
        {**row, "load": str(float(row["load"]) + 2000 * (place > 15))} for place, row in enumerate(given)
    ]
    (strange,) = netwright("predict", "run", "-", "--json", stdin=json.dumps(jumped)).json
    assert strange["unlike_training"] is True
    assert float(table[6][1 + 1]) == pytest.approx(record["value"][5][0], rel=1e-6)
    refused = netwright("predict", "run", "-", stdin=json.dumps(given[-5:]), code=2)
    assert "expected at least 24 rows" in refused.stderr and "Traceback" not in refused.stderr


@pytest.mark.parametrize("network", ["dlinear", "gru"])
def test_killed_and_resumed_to_the_same_weights(netwright: Any, load: Path, network: str) -> None:
    command = (
        "fit", "load.csv", "--target", "load", *SMALL, "--json", "--batch", 16, "--no-examine", "--network", network,
        "--set", "checkpoint.every_steps=5", "--set", "network.level=last",
    )  # fmt: skip
    whole = netwright(*command, "--out", "whole").json
    process = netwright.start(*command, "--out", "run")
    kept = netwright.folder / "run" / "checkpoints"
    process.until(lambda: any(int(path.stem.split("-")[1]) >= 50 for path in kept.glob("step-*.pt")))
    process.send(signal.SIGKILL)
    assert process.end().code != 0
    ended = netwright("resume", "run", "--quiet", "--json").json
    assert ended["weights_sha256"] == whole["weights_sha256"] and ended["test"] == whole["test"]


@pytest.mark.parametrize("network", ["tcn", "lstm", "series-transformer", "mlp"])
def test_every_network_forecasts(netwright: Any, load: Path, network: str) -> None:
    size = {"tcn": "channels=8", "lstm": "hidden=8", "series-transformer": "width=8", "mlp": "hidden=[8]"}[
        network
    ]
    result = netwright(
        "fit", "load.csv", *SMALL, "--epochs", 1, "--network", network, "--set", f"network.{size}",
        "--json", "--out", "run",
    ).json  # fmt: skip
    assert result["findings"] == [] and len(result["test"]["per_column"]) == 2
    assert netwright("test", "run", "--json").json["test"] == result["test"]


def test_a_network_of_one_s_own(netwright: Any, load: Path) -> None:
    (netwright.folder / "mine.py").write_text(
        "from torch import nn\n\n\nclass Mine(nn.Module):\n    def __init__(self, forecast):\n        super().__init__()\n"
        "        self.places = list(forecast[1])\n        self.over_time = nn.Linear(24, forecast[0])\n\n"
        "    def forward(self, x):\n        return self.over_time(x[:, :, self.places].transpose(1, 2)).transpose(1, 2)\n\n\n"
        "class Wrong(Mine):\n    def forward(self, x):\n        return super().forward(x).transpose(1, 2)\n"
    )
    result = netwright("fit", "load.csv", *SMALL, "--network", "mine.py:Mine", "--json", "--out", "run").json
    assert result["parameters"] == 24 * 6 + 6
    refused = netwright("fit", "load.csv", *SMALL, "--network", "mine.py:Wrong", code=2)
    assert "A forecast of 6 rows of 2 columns is (N, 6, 2)." in refused.stderr


def test_several_series_and_several_seeds(netwright: Any, folder: Path) -> None:
    rows = [
        [f"2022-01-{1 + day:02}", shop, level + 10 * (day % 7) + shop_day % 3]
        for shop, level in (("north", 100), ("south", 1000))
        for day, shop_day in zip(range(31), range(31))
    ]
    write(folder / "shops.csv", ["day", "shop", "sold"], rows)
    command = (
        "fit", "shops.csv", "--target", "sold", "--horizon", 2, "--set", "data.group=shop", "--set", "series.window=7",
        "--epochs", 2, "--quiet",
    )  # fmt: skip
    found = netwright(*command, "--seeds", 2, "--json", "--out", "two").json
    assert len(found["test"]["rmse"]["values"]) == 2
    records = netwright("predict", "two/seed-0", "shops.csv", "--json").json
    assert [record["input"] for record in records] == ["shops.csv, north", "shops.csv, south"]
    assert records[0]["times"] == ["2022-02-01", "2022-02-02"]
    assert "cut by time" in netwright(*command, "--folds", 3, code=2).stderr


def test_windows_have_classes(netwright: Any, folder: Path) -> None:
    rng = np.random.default_rng(1)
    rows = []
    for block in range(60):
        for step in range(20):
            wave = np.sin(step * (0.4 if block % 2 else 1.6))
            rows.append(
                [len(rows), round(float(wave + rng.normal(0, 0.1)), 3), ["slow", "fast"][block % 2 == 0]]
            )
    write(folder / "moves.csv", ["t", "x", "what"], rows)
    result = netwright(
        "fit", "moves.csv", "--target", "what", "--time", "t", "--set", "series.window=12", "--epochs", 4,
        "--set", "network.channels=16", "--quiet", "--json", "--out", "run",
    ).json  # fmt: skip
    assert result["test"]["accuracy"] > 0.7 and result["findings"] == []
    assert netwright("test", "run", "--json").json["test"] == result["test"]
    (record,) = netwright("predict", "run", "moves.csv", "--json").json
    assert record["label"] in ("slow", "fast") and "columns" not in record


@pytest.mark.parametrize(
    "content, arguments, said",
    [
        ("t,y\n1,2\n3\n4,5,6\n", (), "rows do not have 2 cells"),
        ("", (), "an empty file"),
        ("t,y\n1,2\n\n3,\xff\n".encode("latin-1"), (), "expected text in utf-8, came byte 0xff in line 4"),
        ("t,y\n" + "1,2\n" * 90, (), "89 of 90 rows have the t of another row"),
        ("t,y\n" + "".join(f"{n},3\n" for n in range(90)), (), "came always 3 in the training part"),
        ("t,y\n" + "".join(f"{n},\n" for n in range(90)), (), "came nothing but gaps"),
        ("t,y\n" + "".join(f"{n},word {n}\n" for n in range(90)), (), "expected numbers in column 'y', came text"),
        ("t,y\n" + "".join(f"{n},{n % 7}\n" for n in range(20)), (), "for a window of 12 and a horizon of 4"),
        ("t,y\n" + "".join(f",{n % 7}\n" for n in range(90)), (), "the time, came nothing but gaps"),
        ("t,y\n" + "".join(f"{n},{n % 7}\n" for n in range(90)), ("--target", "z"), "no column 'z'"),
        ("t,y\n" + "".join(f"{n},{n % 7}\n" for n in range(90)), ("--time", "when"), "no column 'when'"),
        ("t,y\n" + "".join(f"{n},{n % 7}\n" for n in range(90)), ("--horizon", "0"), "series.horizon should be"),
        ("t,y\n" + "".join(f"{n},{n % 7}\n" for n in range(90)), ("--set", "series.windows=3"), "did you mean"),
        ("t,y\n" + "".join(f"{n},{n % 7}\n" for n in range(90)), ("--set", "augment.shift=1"), "augment"),
        ("t,y\n" + "".join(f"{n},{n % 7}\n" for n in range(90)), ("--network", "cnn"), "expects images"),
    ],
)  # fmt: skip
def test_bad_tables(netwright: Any, folder: Path, content: str | bytes, arguments: tuple, said: str) -> None:
    (folder / "t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    given = {"--target": "y", "--time": "t", "--horizon": 4} | dict(zip(arguments[::2], arguments[1::2]))
    window = ("--set", "series.window=12")
    refused = netwright(
        "fit", "t.csv", *(word for pair in given.items() for word in pair), *window, "--quiet", code=2
    )
    assert said in refused.stderr and "Traceback" not in refused.stderr
    assert len(refused.stderr.strip().splitlines()) <= 4
    assert not (folder / "runs").exists(), "a table that cannot be read makes no run"
