"""A robot's loop: a stream of sensor rows through a trained network, which answers at every tick, whatever the sensors say.

    python examples/robot.py make sensors.csv
    netwright fit sensors.csv --target action --out robot
    netwright export robot --to onnx --out robot.onnx
    python examples/robot.py drive robot.onnx

`drive` takes a run's folder as well. The network's answer is used only where every sensor is there and says what it can say, the
answer is a number and came in time, and the guard does not find the row unlike all that the network was trained on. Everywhere
else the answer is SAFE, and a line on standard error says why. On standard output is one JSON object a tick.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SAFE = "stop"
# What each sensor can say at all, in its unit. What lies outside is a fault of the sensor, not a state of the world.
POSSIBLE = {
    "distance_m": (0.0, 12.0),
    "speed_m_s": (-2.0, 2.0),
    "tilt_deg": (-90.0, 90.0),
    "motor_a": (0.0, 30.0),
    "battery_v": (9.0, 13.0),
}
SURFACES = ("floor", "carpet", "grass")
log = logging.getLogger("robot")
Row = dict[str, Any]


def sensed(draw: random.Random) -> Row:
    """Returns one row as sound sensors give it, in the world that the robot knows."""
    surface = draw.choice(SURFACES)
    speed = draw.uniform(0.0, 1.2)
    tilt = draw.gauss(0.0, 6.0)
    drag = {"floor": 1.0, "carpet": 1.6, "grass": 2.4}[surface]
    return {
        "distance_m": round(draw.uniform(0.1, 6.0), 3),
        "speed_m_s": round(speed, 3),
        "tilt_deg": round(max(-35.0, min(35.0, tilt)), 2),
        "motor_a": round(1.0 + 4.0 * speed * drag + abs(tilt) * 0.05 + draw.uniform(0, 0.3), 3),
        "battery_v": round(draw.uniform(11.0, 12.6), 2),
        "surface": surface,
    }


def right(row: Row) -> str:
    """Returns what is right to do: stop before what is near or where it is steep, slow down before what comes nearer."""
    needed = 0.2 + row["speed_m_s"] ** 2 / (1.0 if row["surface"] == "floor" else 2.0)
    if row["distance_m"] < needed or abs(row["tilt_deg"]) > 15:
        return "stop"
    return "slow" if row["distance_m"] < 2.5 * needed else "go"


def make(file: Path, *, rows: int, seed: int) -> None:
    """Writes rows with what is right to do in each, to train on."""
    draw = random.Random(seed)
    made = [sensed(draw) for _ in range(rows)]
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, [*made[0], "action"])
        writer.writeheader()
        writer.writerows({**row, "action": right(row)} for row in made)


def stream(*, ticks: int, faults: float, seed: int) -> Iterator[tuple[Any, str | None]]:
    """Yields at each tick what the sensors say, and which fault that has (None: none), which the loop does not get to see."""
    draw = random.Random(seed)
    for _ in range(ticks):
        row = sensed(draw)
        if draw.random() >= faults:
            yield row, None
            continue
        fault = draw.choice(["nan", "gap", "impossible", "infinite", "words", "nothing", "garbage"])
        name = draw.choice(list(POSSIBLE))
        broken = {
            "nan": math.nan,
            "gap": None,
            "impossible": draw.choice([-40.0, 999.0]),
            "infinite": math.inf,
            "words": "ERR",
        }
        if fault in broken:
            yield {**row, name: broken[fault]}, fault
        else:
            yield (None if fault == "nothing" else [0xDE, 0xAD, "\x00"]), fault


def wrong_with(row: Any) -> str | None:
    """Returns why a row is not to be asked about; None for one of sound sensors."""
    if not isinstance(row, dict):
        return "no row came" if row is None else f"no row, but a {type(row).__name__}"
    for name, (least, most) in POSSIBLE.items():
        value = row.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{name} is a gap" if value is None else f"{name} is no number: {value!r}"
        if not least <= value <= most:  # NaN is in no range
            return f"{name} is {value:g}, which cannot be: {least:g} to {most:g}"
    return None if row.get("surface") in SURFACES else f"surface is {row.get('surface')!r}"


def decided(answering: Any, row: Any, *, deadline: float) -> tuple[str, str | None]:
    """Returns what to do now, and why that is the safe answer (None: it is the network's)."""
    why = wrong_with(row)
    if why is not None:
        return SAFE, why
    begun = time.monotonic()
    try:
        record = next(answering.together([("now", answering.preparation.read(row))]))
    except Exception as error:  # whatever it is, the robot must not be left without an answer
        return SAFE, f"the network failed ({type(error).__name__}: {error})"
    late = time.monotonic() - begun
    if late > deadline:
        return SAFE, f"the answer took {1000 * late:.0f} ms"
    if not math.isfinite(sum(record["probabilities"].values())):
        return SAFE, "the answer is no number"
    if record["unlike_training"]:
        return SAFE, "unlike all that the network was trained on"
    return record["label"], None


def drive(answering: Any, *, ticks: int, faults: float, seed: int, deadline: float) -> Counter[str]:
    """Answers at every tick and returns how often by what."""
    counted: Counter[str] = Counter()
    for tick, (row, _) in enumerate(stream(ticks=ticks, faults=faults, seed=seed)):
        action, why = decided(answering, row, deadline=deadline)
        counted["network" if why is None else "safe"] += 1
        if why is not None:
            log.warning("tick %d: %s, for %s", tick, action, why)
        print(json.dumps({"tick": tick, "action": action, "safe": why is not None}))
    return counted


def opened(path: Path) -> Any:
    """Returns what answers: a run's folder, or what `netwright export` wrote."""
    if path.is_dir():
        from netwright import Run

        return Run(path).answering
    from netwright.shipping.artefacts import open_artefact

    return open_artefact(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="A robot's loop on a trained network.")
    parser.add_argument("what", choices=["make", "drive"])
    parser.add_argument("path", type=Path)
    parser.add_argument("--rows", type=int, default=4000, help="rows to make")
    parser.add_argument("--ticks", type=int, default=500)
    parser.add_argument(
        "--faults", type=float, default=0.1, help="share of ticks at which a sensor is broken"
    )
    parser.add_argument(
        "--deadline", type=float, default=0.1, help="seconds after which an answer is of no use"
    )
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if asked.what == "make":
        make(asked.path, rows=asked.rows, seed=asked.seed)
        return
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    answering = opened(asked.path)
    guard = "on" if answering.card.strange_above is not None else "off: this network was shipped without one"
    log.info("%s; the guard is %s", answering.card.title, guard)
    decided(answering, sensed(random.Random(0)), deadline=math.inf)  # the first answer takes longest
    counted = drive(
        answering, ticks=asked.ticks, faults=asked.faults, seed=asked.seed + 1, deadline=asked.deadline
    )
    log.info(
        "%d ticks, %d answers of the network, %d safe ones", asked.ticks, counted["network"], counted["safe"]
    )


if __name__ == "__main__":
    main()
