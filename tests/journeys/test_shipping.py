"""From a run to what is shipped: each kind of data trained, calibrated and guarded, exported, and opened again to answer the same."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import netwright as nw
from netwright.shipping.artefacts import open_artefact

QUICK: dict[str, Any] = {"epochs": 1, "quiet": True, "device": "cpu", "examine": False}
WORDS = [
    "the",
    "a",
    "good",
    "bad",
    "film",
    "play",
    "was",
    "is",
    "very",
    "not",
    "quite",
    "dull",
    "fine",
    "story",
    "actor",
]


def images(folder: Path, network: str) -> tuple[Any, Any]:
    run = nw.fit(network, "digits", out=folder / "run", recipe={"data.validation": 0.2}, **QUICK)
    strange = torch.randint(0, 17, (3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return run, torch.cat([run.data.test.inputs[:5, 0], strange])


def table(folder: Path, network: str) -> tuple[Any, Any]:
    draw = np.random.default_rng(0)
    rows = [
        {"age": float(age), "town": str(town), "left": "yes" if age + draw.normal() > 0 else "no"}
        for age, town in zip(draw.normal(size=500), draw.choice(["Ulm", "Bonn", "Kiel"], 500))
    ]
    lines = ["age,town,left", *(f"{row['age']:.3f},{row['town']},{row['left']}" for row in rows)]
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    asked = {"data.target": "left", "data.validation": 0.2}
    run = nw.fit(network, folder / "t.csv", out=folder / "run", recipe=asked, **QUICK)
    return run, [{"age": 0.1, "town": "Ulm"}, {"age": None, "town": "Rom"}, {"age": 1e6, "town": "Kiel"}]


def texts(folder: Path, network: str) -> tuple[Any, Any]:
    draw = np.random.default_rng(0)
    lines = ["text,stars"]
    for place in range(400):
        said = "good fine" if place % 2 else "bad dull"
        lines.append(f"{' '.join(draw.choice(WORDS, draw.integers(4, 12)))} {said} {place},{place % 2}")
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    asked = {"data.target": "stars", "text.column": "text", "data.validation": 0.2}
    run = nw.fit(network, folder / "t.csv", out=folder / "run", recipe=asked, **QUICK)
    return run, [run.data.test.texts[0], "dull", "zzz qqq " * 30]


def series(folder: Path, network: str) -> tuple[Any, Any]:
    draw = np.random.default_rng(0)
    values = [math.sin(hour / 24 * 2 * math.pi) + 0.1 * draw.normal() for hour in range(900)]
    lines = ["hour,load", *(f"{hour},{value:.4f}" for hour, value in enumerate(values))]
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    asked = {"data.target": "load", "data.time": "hour", "series.horizon": 6, "series.window": 48}
    run = nw.fit(network, folder / "t.csv", out=folder / "run", recipe=asked, **QUICK)
    (folder / "new.csv").write_text("\n".join(lines[:200]) + "\n")
    return run, folder / "new.csv"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "network"),
    [
        (images, "mlp"),
        (images, "cnn"),
        (table, "mlp"),
        (table, "table-transformer"),
        (texts, "lstm"),
        (texts, "transformer"),
        (series, "dlinear"),
    ],
    ids=lambda one: one if isinstance(one, str) else one.__name__,
)
def test_what_is_exported_answers_and_flags_as_the_run(make: Any, network: str, tmp_path: Path) -> None:
    run, inputs = make(tmp_path, network)
    assert run.guard is not None
    expected = run.predict(inputs)
    for name in ("onnx", "pt2", "safetensors"):
        found = run.export(name)
        shown = found["certificate"]
        assert shown["passed"] and shown["examples"] == len(run.data.test)
        score = "rmse" if run.classes is None else "accuracy"
        assert shown[f"{score}_before"] == run.result["test"][score]
        assert shown[f"{score}_after"] == pytest.approx(shown[f"{score}_before"], rel=1e-3)
        answers = open_artefact(found["artefact"]).predict(inputs)
        for one, other in zip(answers, expected, strict=True):
            numbers = "value" if run.classes is None else "probabilities"
            assert one.pop(numbers) == pytest.approx(other[numbers], rel=1e-4, abs=1e-4)
            assert one == {name: entry for name, entry in other.items() if name != numbers}
    flags = [record["unlike_training"] for record in expected]
    assert not any(flag is None for flag in flags)
    if make is not series:
        assert flags[-1] and not flags[0]
