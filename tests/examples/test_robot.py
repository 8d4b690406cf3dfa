"""The robot of examples/robot.py answers at every tick, and what a broken sensor says never reaches the wheels."""

from __future__ import annotations

import importlib.util
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "examples" / "robot.py"
spec = importlib.util.spec_from_file_location("example_robot", FILE)
assert spec and spec.loader
robot = importlib.util.module_from_spec(spec)
spec.loader.exec_module(robot)


@pytest.fixture
def trained(netwright: Any, script: Any) -> Path:
    script(FILE, "make", "sensors.csv", "--rows", 1500)
    netwright("fit", "sensors.csv", "--target", "action", "--out", "robot", "--epochs", 8)
    return netwright.folder / "robot"


def test_it_answers_at_every_tick_and_says_why_it_stops(trained: Path, script: Any) -> None:
    ended = script(FILE, "drive", trained, "--ticks", 300, "--faults", 0.2, "--deadline", 60)
    ticks = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [tick["tick"] for tick in ticks] == list(range(300))
    rows = list(robot.stream(ticks=300, faults=0.2, seed=1))
    said = dict(re.findall(r"tick (\d+): stop, for (.*)", ended.stderr))
    right = 0
    for tick, (row, fault) in zip(ticks, rows, strict=True):
        if fault is not None:
            assert (tick["action"], tick["safe"]) == ("stop", True), (tick, row)
            assert str(tick["tick"]) in said
        elif not tick["safe"]:
            right += tick["action"] == robot.right(row)
    assert {fault for _, fault in rows} == {
        None,
        "nan",
        "gap",
        "impossible",
        "infinite",
        "words",
        "nothing",
        "garbage",
    }
    asked = sum(not tick["safe"] for tick in ticks)
    assert right > 0.8 * asked > 0.8 * 200
    assert len(said) == 300 - asked
    assert f"300 ticks, {asked} answers of the network, {300 - asked} safe ones" in ended.stderr


class Answers:
    """What answers as it is told to."""

    class preparation:
        read = staticmethod(lambda row: row)

    def __init__(self, **record: Any) -> None:
        self.record = {"label": "go", "probabilities": {"go": 1.0}, "unlike_training": False, **record}

    def together(self, chunk: Any) -> Any:
        if isinstance(self.record["label"], Exception):
            raise self.record["label"]
        yield self.record


GOOD = {
    "distance_m": 3.0,
    "speed_m_s": 0.5,
    "tilt_deg": 0.0,
    "motor_a": 2.0,
    "battery_v": 12.0,
    "surface": "floor",
}


@pytest.mark.parametrize(
    ("answers", "row", "action", "why"),
    [
        ({}, GOOD, "go", None),
        ({"unlike_training": None}, GOOD, "go", None),
        ({"unlike_training": True}, GOOD, "stop", "unlike all"),
        ({"probabilities": {"go": math.nan}}, GOOD, "stop", "no number"),
        ({"label": RuntimeError("broken")}, GOOD, "stop", "RuntimeError: broken"),
        ({}, {**GOOD, "tilt_deg": math.nan}, "stop", "tilt_deg is nan, which cannot be"),
        ({}, {**GOOD, "battery_v": None}, "stop", "battery_v is a gap"),
        ({}, {**GOOD, "distance_m": True}, "stop", "no number: True"),
        ({}, {**GOOD, "surface": "lava"}, "stop", "surface is 'lava'"),
        ({}, {}, "stop", "distance_m is a gap"),
        ({}, None, "stop", "no row came"),
        ({}, b"\x00", "stop", "but a bytes"),
    ],
)
def test_when_the_answer_is_the_safe_one(answers: Any, row: Any, action: str, why: str | None) -> None:
    found, said = robot.decided(Answers(**answers), row, deadline=60)
    assert found == action
    assert said is None if why is None else why in said


def test_an_answer_that_comes_too_late_is_of_no_use() -> None:
    action, why = robot.decided(Answers(), GOOD, deadline=-1)
    assert action == "stop" and re.fullmatch(r"the answer took \d+ ms", why)


def test_the_guard_is_asked_where_there_is_one(trained: Path) -> None:
    """With a limit that every row exceeds, no answer of the network is used."""
    answering = robot.opened(trained)

    def forward(raw: Any) -> Any:
        answers = answering.forward(raw)
        return (answers[0], answers[0].sum(1))

    strict = replace(answering, card=replace(answering.card, strange_above=0.0), forward=forward)
    assert robot.decided(strict, GOOD, deadline=60)[0] == "stop"
    loose = replace(answering, card=replace(answering.card, strange_above=2.0), forward=forward)
    assert robot.decided(loose, GOOD, deadline=60)[1] is None
