"""`compare` and `runs` as a person uses them: real processes in an empty folder."""

from __future__ import annotations

import json
import signal

import pytest

SMALL = ("--epochs", 2, "--set", "network.hidden=[8]", "--workers", 1)


def test_compare_then_runs(netwright, folder):
    ended = netwright("compare", "digits", "--vary", "activation=relu,tanh", "--seeds", 2, *SMALL, "--json")
    result = ended.json
    assert {row["values"]["network.activation"] for row in result["rows"]} == {"relu", "tanh"}
    assert all(row["mean"] and len(row["interval"]) == 2 for row in result["rows"])
    out = folder / result["comparison"]
    assert out == folder / "comparisons" / "digits-1"
    assert json.loads((out / "comparison.json").read_text(encoding="utf-8")) == result
    assert (out / "comparison.html").is_file()
    rows = netwright("runs", out, "--json").json
    assert len(rows) == 4 and {row["state"] for row in rows} == {"finished"}
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    same = [out / "runs" / f"{name}-seed-0" for name in ("default", "activation-tanh")]
    pair = netwright("runs", *same, "--json").json
    assert pair["recipe"] == {"network.activation": [None, "tanh"]} and pair["differ"]["test"] == "McNemar"
    # What was trained is a run like any other.
    assert netwright("test", same[0], "--json").json["test"]["accuracy"] == next(
        row["score"] for row in rows if row["run"] == str(same[0])
    )
    again = netwright(
        "compare", "digits", "--vary", "activation=relu,tanh", "--seeds", 2, *SMALL, "--out", out
    )
    assert again.stderr.count("2 of 2 trials were done before") == 2 and "By activation" in again.stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_what_the_same_command_goes_on_with(netwright, folder, number, code):
    command = (
        "compare",
        "digits",
        "--vary",
        "optimizer=adam,sgd",
        "--seeds",
        2,
        *SMALL,
        "--epochs",
        20,
        "--limit",
        300,
        "--no-prune",
    )
    started = netwright.start(*command)
    runs = folder / "comparisons" / "digits-1" / "trials"
    started.until(lambda: runs.is_dir() and any(runs.glob("*.json")))
    started.send(number)
    ended = started.end()
    assert ended.code == code and "Traceback" not in ended.stderr
    assert not (folder / "comparisons" / "digits-1" / "comparison.json").exists()
    if number == signal.SIGINT:
        return  # what goes on is the same
    ended = netwright(*command, "--json")
    assert "trials were done before" in ended.stderr
    assert ended.json["comparison"] == "comparisons/digits-1" and ended.json["trials"] == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("compare", "digits", "--vary", "activaton=relu,tanh"), "did you mean 'activation'"),
        (("compare", "digits", "--vary", "activation=relu,rellu"), "did you mean 'relu'"),
        (("compare", "nowhere.csv", "--vary", "lr=0.1,0.2"), "nowhere.csv"),
        (("compare", "digits", "--seeds", "0"), "--seeds is a whole number of at least 1"),
        (("compare", "digits", "--search", "3"), "among what"),
        (("compare", "digits", "--vary", "lr=0.1,0.2", "--vary", "lr=1,2"), "varied twice"),
        (("compare", "digits", "--vary", "lr=0.1,-1"), "lr is above 0"),
        (("compare", "digits", "--vary", "lr=0.1,0.2", "--out", "mine"), "holds no comparison"),
        (("runs", "nowhere"), "does not exist"),
        (("runs", ".", "--sort", "scor"), "did you mean 'score'"),
        (("runs", "a", "b", "c"), "not 3"),
        (("runs", "a", "b"), "a is not a run"),
    ],
)
def test_bad_input_is_told_in_a_few_lines(netwright, folder, arguments, said):
    (folder / "mine").mkdir()
    (folder / "mine" / "letter.txt").write_text("dear")
    ended = netwright(*arguments, code=2)
    assert said in ended.stderr and ended.stdout == "" and "Traceback" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) <= 4
    assert [path.name for path in folder.iterdir()] == ["mine"]


def test_a_full_disk_is_told(netwright, folder):
    ended = netwright("compare", "digits", "--vary", "optimizer=adam,sgd", *SMALL, code=1, limit=8_000)
    assert "the disk is full" in ended.stderr and "Traceback" not in ended.stderr


def test_no_run_is_said(netwright):
    assert netwright("runs", "--json").json == []
    assert "no run in ." in netwright("runs").stdout
