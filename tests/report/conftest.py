"""Reports of every kind, and a headless Chromium spoken to over a pipe (no driver, no WebSocket library)."""

from __future__ import annotations

import base64
import json
import os
import select
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from netwright.explain.attribution import Attribution
from netwright.explain.maps import Map, Part
from netwright.explaining import Explanation
from netwright.report import Report, write_report
from netwright.report.explanation import write_explanation
from netwright.report.tour import Seen, write_tour

CHROMIUM = Path("/usr/bin/chromium")


class Browser:
    """One page of a browser, as a context manager; Chrome DevTools Protocol, `--remote-debugging-pipe`."""

    def __enter__(self) -> Browser:
        self._home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        read_commands, self._write = os.pipe()
        self._read, write_answers = os.pipe()
        options = (
            "--headless --no-sandbox --disable-gpu --hide-scrollbars --remote-debugging-pipe --no-first-run "
            "--disable-background-networking --disable-component-update --disable-sync --disable-dev-shm-usage"
        )
        command = (
            f"exec {CHROMIUM} {options} --user-data-dir={shlex.quote(self._home.name)} "
            f"3<&{read_commands} 4>&{write_answers}"
        )
        self._process = subprocess.Popen(
            ["bash", "-c", command],
            pass_fds=(read_commands, write_answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": self._home.name},
        )
        os.close(read_commands)
        os.close(write_answers)
        self._buffer, self._number, self._session = b"", 0, None
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._write)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        self._home.cleanup()

    def open(self, page: Path, *, width: int, dark: bool = False, media: str = "screen") -> None:
        """Loads a file at a width, and waits until it is there."""
        self.visit(page.resolve().as_uri(), width=width, dark=dark, media=media)

    def visit(self, address: str, *, width: int = 1280, dark: bool = False, media: str = "screen") -> None:
        """Goes to an address, and waits until it is there."""
        self.requests.clear()
        self.complaints.clear()
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=844,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.send("Page.navigate", url=address)
        self._message("Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        """Returns what a JavaScript expression gives, as plain values."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def screenshot(self, file: Path, *, top: int = 0, height: int | None = None) -> None:
        """Writes a PNG of the page, of all of it if no height is given."""
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {
            "x": 0,
            "y": top,
            "width": size["width"],
            "height": height or size["height"] - top,
            "scale": 1,
        }
        answer = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        file.write_bytes(base64.b64decode(answer["data"]))

    def send(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Calls a method of the protocol and returns its result."""
        self._number += 1
        call: dict[str, Any] = {"id": self._number, "method": method, "params": arguments}
        if self._session:
            call["sessionId"] = self._session
        os.write(self._write, json.dumps(call).encode() + b"\0")
        answer = self._message(self._number)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def _message(self, wanted: int | str, seconds: float = 30) -> dict[str, Any]:
        """Returns the answer with this number, or the next event of this name."""
        until = time.monotonic() + seconds
        while True:
            while b"\0" not in self._buffer:
                left = until - time.monotonic()
                ready = select.select([self._read], [], [], max(left, 0))[0]
                chunk = os.read(self._read, 1 << 20) if ready else b""
                if not chunk:
                    raise TimeoutError(f"chromium did not answer {wanted} within {seconds} s")
                self._buffer += chunk
            line, self._buffer = self._buffer.split(b"\0", 1)
            message = json.loads(line)
            if message.get("method") == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            if message.get("method") == "Log.entryAdded":
                self.complaints.append(message["params"]["entry"]["text"])
            if wanted in (message.get("id"), message.get("method")):
                return message


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed: nothing is rendered")
    with Browser() as opened:
        yield opened


HOSTILE = "<script>alert(1)</script>"
FASHION = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
]
FINDING = {
    "code": "NW104",
    "slug": "relu-on-logits",
    "level": "error",
    "title": "A ReLU stands behind the last layer",
    "file": "train.py",
    "line": 31,
    "layer": "head.1",
    "step": 0,
    "seen": {"smallest_logit": 0.0, "clipped_true_logit_share": 0.48},
    "expected": {"smallest_logit": "below 0"},
    "why": "Cross-entropy needs logits of both signs.",
    "fix": "Remove the ReLU.",
    "diff": "-    nn.Linear(64, 10), nn.ReLU(),\n+    nn.Linear(64, 10),",
    "sure": {"fact": "proved", "harm": "likely"},
    "consequences": ["NW403"],
}


def scores_of(classes: list[str], seed: int = 0) -> dict[str, Any]:
    """Scores as `netwright.metrics` gives them; this room's tests do without that room."""
    generator = np.random.default_rng(seed)
    count = len(classes)
    confusion = generator.integers(0, 4, (count, count)) * (generator.random((count, count)) < 0.3)
    confusion += np.diag(generator.integers(50, 1100, count))
    right = float(np.trace(confusion) / confusion.sum())
    rows = [
        {
            "class": name,
            "precision": 0.9,
            "recall": 0.8,
            "f1": float(generator.random()),
            "support": int(row.sum()),
        }
        for name, row in zip(classes, confusion)
    ]
    return {
        "loss": 0.1034,
        "accuracy": right,
        "interval": [right - 0.01, right + 0.01],
        "per_class": rows,
        "confusion": confusion.tolist(),
    }


def history_of(epochs: int, score: str, per_epoch: int = 94) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "epochs": 20,
            "step": epoch * per_epoch,
            "train_loss": 2.0 * 0.7**epoch,
            "validation_loss": 2.0 * 0.8**epoch,
            score: 1 - 0.8**epoch,
            "lr": 0.001 * 0.9**epoch,
            "seconds": 1.5,
            "best": epoch % 3 == 0,
            "layers": {
                "0": {"weights": 10.0 + epoch, "gradient": 0.5**epoch, "change": None if epoch == 1 else 0.1},
                "1": {"dead": epoch / 40, "saturated": 0.25},
                HOSTILE: {"weights": 3.0, "gradient": 0.0 if epoch > 3 else None, "change": 0.2},
            },
        }
        for epoch in range(1, epochs + 1)
    ]


def steps_of(count: int) -> list[dict[str, Any]]:
    wobble = np.random.default_rng(0).random(count)
    return [
        {"step": step + 1, "loss": float(2 * 0.998**step + 0.1 * wobble[step]), "lr": 0.001 * 0.999**step}
        for step in range(count)
    ]


def forecast_scores() -> dict[str, Any]:
    """The scores of a forecast of 24 rows ahead, one of its columns with a name that is markup."""
    whole = {"rmse": 2.63, "mae": 1.37, "scaled_mse": 0.3237, "scaled_mae": 0.3676}
    steps = [0.1 + n / 100 for n in range(24)]
    plain = {"rmse": 2.8, "mae": 1.4, "scaled_mse": 0.3079, "scaled_mae": 0.39, "steps": [0.3079] * 24}
    return {
        **whole,
        "loss": 0.3237,
        "r2": None,
        "interval": [2.5, 2.8],
        "steps": {"scaled_mse": steps},
        "per_column": [{"column": name, **whole} for name in ("<i>load</i>", "degrees")],
        "skill": -0.05,
        "beside": {"last value": plain, "seasonal naive (24)": plain, "linear": plain},
    }


def slices_of(key: str, count: int = 8) -> dict[str, Any]:
    """Scores of parts of a test set, of which every sixth is worse than the rest."""
    rows = [
        {
            "by": f"column {number // 4}",
            "slice": HOSTILE if number == 2 else f"{number} to {number + 1}",
            "examples": 10 + number,
            key: 0.5 + number / 100,
            "interval": [0.4 + number / 100, 0.65 + number / 100],
            "rest": 0.9,
            "p": 0.001 if number % 6 == 1 else 0.5,
            "worse": number % 6 == 1,
        }
        for number in range(count)
    ]
    return {"examples": 1000, "rows": rows, "left_out": "5 further slices are not kept"}


HOLDINGS = {
    "parts": {"train": 1258, "validation": 180, "test": 359},
    "classes": [{"class": name, "train": 600, "validation": 90, "test": 180} for name in ("cat", HOSTILE)],
    "range": [0.0, 16.0],
    "gaps": [{"column": HOSTILE, "gaps": 9}, {"column": "age", "gaps": 177}],
    "copies": {
        "within": 2,
        "between": 1,
        "differing": 1,
        "pairs": [[f"photos/{HOSTILE}.jpg", "test example 3"]],
    },
}
COST = {
    "validating": 2.4,
    "examples_per_second": 12345.6,
    "memory": {"process": 575_762_432, "device": None, "weights": 38_728},
    "energy": {
        "kwh": 3.9e-6,
        "cpu_kwh": 1e-6,
        "gpu_kwh": 0.0,
        "ram_kwh": 2.9e-6,
        "how": "codecarbon 3: a load",
    },
}


def report_of(title: str, classes: list[str], /, **more: Any) -> Report:
    """A report of a classifier, with whatever is given replaced."""
    generator = np.random.default_rng(1)
    report: Report = {
        "title": title,
        "task": "classification",
        "run": "runs/digits-1",
        "network": "Sequential(\n  (0): Flatten(start_dim=1, end_dim=-1)\n  (1): Linear(in_features=64, out_features=10, bias=True)\n)",
        "parameters": 17_226,
        "history": history_of(20, "accuracy"),
        "steps": steps_of(1880),
        "epochs": 20,
        "test": scores_of(classes),
        "classes": classes,
        "wrong": [
            {
                "image": generator.integers(0, 256, (8, 8), dtype=np.uint8),
                "text": None,
                "true": classes[number % len(classes)],
                "predicted": classes[(number + 1) % len(classes)],
                "probability": 0.98,
                "name": f"photos/{classes[0]}/IMG_{number}.jpg",
            }
            for number in range(30)
        ],
        "slices": slices_of("accuracy"),
        "suspects": {
            "count": 40,
            "examples": [
                {
                    "image": None,
                    "text": None,
                    "true": "cat",
                    "predicted": HOSTILE,
                    "probability": 0.9,
                    "name": f"n{n}",
                }
                for n in range(20)
            ],
        },
        "data": HOLDINGS,
        "cost": COST,
        "scatter": None,
        "notes": ["1,797 images of 8 x 8 grey pixels.", "Kept 1 of 3 copies of the same image."],
        "findings": [FINDING, {"title": "The learning rate is low", "level": "warning"}],
        "recipe": "data:\n  source: digits\ntrain:\n  epochs: 20\n",
        "environment": {"python": "3.11.7", "packages": {"numpy": "2.4.6"}, "threads": 2},
        "files": [{"name": "recipe.yaml", "bytes": 312, "about": "everything that decides the run"}],
        "seconds": 24.3,
        "interrupted": False,
    }
    report.update(more)  # type: ignore[typeddict-item]
    return report


@pytest.fixture(scope="session")
def reports() -> dict[str, Report]:
    generator = np.random.default_rng(2)
    true = generator.normal(2, 1, 3000)
    values = {"rmse": 0.61, "mae": 0.47, "r2": 0.69, "interval": [0.59, 0.63], "loss": 0.21}
    photo = generator.integers(0, 256, (200, 300, 3), dtype=np.uint8)
    return {
        "fashion": report_of("fashion-mnist · cnn", FASHION),
        "two": report_of(
            "cats and dogs",
            ["cat", "dog"],
            findings=None,
            suspects={"count": 0, "examples": []},
            wrong=[
                {"image": photo, "true": "cat", "predicted": "dog", "probability": 0.9, "name": "cat/1.jpg"}
            ],
        ),
        "forty": report_of(
            "species", [f"species {number} of the grey kind" for number in range(40)], findings=[]
        ),
        "hundred": report_of("cifar-100", [f"class_{number}" for number in range(100)]),
        "regression": report_of(
            "california-housing · mlp",
            ["-"],
            task="regression",
            test=values,
            slices=slices_of("rmse", count=60),
            suspects=None,
            classes=None,
            wrong=[],
            history=history_of(12, "rmse"),
            scatter={"true": true, "predicted": true + generator.normal(0, 0.6, 3000)},
        ),
        "forecast": report_of(
            "ETTh1 · dlinear",
            ["-"],
            task="regression",
            test=forecast_scores(),
            classes=None,
            wrong=[],
            history=history_of(12, "rmse"),
            scatter=None,
        ),
        "interrupted": report_of(
            "digits · cnn",
            FASHION,
            test=None,
            wrong=[],
            history=history_of(4, "accuracy"),
            steps=steps_of(400),
            interrupted=True,
            findings=None,
        ),
        "text": report_of(
            "reviews",
            ["bad", "good"],
            wrong=[
                {
                    "image": None,
                    "text": f"{HOSTILE} it is " * 9,
                    "true": "bad",
                    "predicted": "good",
                    "probability": None,
                }
            ],
        ),
        "hostile": report_of(
            HOSTILE * 3,
            [HOSTILE, '"><img src=x onerror=alert(1)>', "a" * 500, "'; onload='alert(1)", "\x00\x1b[2J"],
            run=f"runs/{HOSTILE}",
            network=HOSTILE,
            recipe="x" * 5000,
            notes=[HOSTILE, "b" * 900],
            findings=[
                dict.fromkeys(FINDING, HOSTILE) | {"seen": {HOSTILE: HOSTILE}, "expected": {}, "sure": {}}
            ],
            environment={HOSTILE: {HOSTILE: HOSTILE}, "long": "c" * 400},
            files=[
                {"name": "javascript:alert(1)"},
                {"name": "../a b/" + HOSTILE, "bytes": 5_000_000, "about": HOSTILE},
            ],
        ),
        "minimal": {"title": "tiny", "task": "classification"},
    }


@pytest.fixture(scope="session")
def explanations() -> dict[str, Explanation]:
    """Explanations of a picture, a text, a table's row and a series."""
    generator = np.random.default_rng(3)
    ten = {str(digit): 0.91 if digit == 4 else 0.01 for digit in range(10)}
    record = {"input": "test example 147", "label": "4", "probabilities": ten, "unlike_training": False}
    grid = generator.normal(size=(28, 28))
    image = tuple(
        Map(
            Attribution(name, torch.from_numpy(grid), signed, total, like),
            grid=abs(grid) if not signed else grid,
        )
        for name, signed, total, like in (
            ("saliency", False, None, 0.02),
            ("integrated gradients", True, 1.25, 0.07),
            ("occlusion", True, None, 0.81),
        )
    )
    words = ["what", HOSTILE, "a" * 90, "lovely", *(f"word{number}" for number in range(30))]
    adds = torch.from_numpy(generator.normal(size=len(words)))
    tokens = tuple(Part(word, float(one)) for word, one in zip(words, adds))
    cells = (("age", "39"), ("sex", "male"), ("lives in", HOSTILE), ("gap", "a gap"))
    columns = tuple(Part(name, float(one), text) for (name, text), one in zip(cells, adds))
    rows = generator.normal(size=(96, 3))
    names = ("load", "degrees", HOSTILE)
    made = {
        "image": ("digits · mlp", record, "5", "that it is 4 and not 5", 1.833, "log-odds", image, {}),
        "text": (
            "reviews · gru",
            {
                **record,
                "input": f"{HOSTILE}.txt:3",
                "label": "good",
                "probabilities": {"good": 0.7, "bad": 0.3},
            },
            "good",
            "that it is good",
            0.85,
            "log-odds",
            (Map(Attribution("leave one out", adds, likeness=0.21), tokens, kind="tokens"),),
            {
                "integrated gradients": "the network has no nn.Embedding that is given the tokens by themselves"
            },
        ),
        "table": (
            "people · mlp",
            {"input": "people.csv, row 3", "label": None, "value": 12.5, "unlike_training": True},
            None,
            "the value",
            12.5,
            "the data's unit",
            (Map(Attribution("shapley", adds[:4], sum_wanted=2.0, reason="4 parts are too few"), columns),),
            {},
        ),
        "series": (
            "ETTh1 · dlinear",
            {"input": "test example 652", "label": None, "value": [[1.0] * 3] * 24, "unlike_training": None},
            "5.36, 2.61, 2.49, 0.853, …",
            "the mean of all values",
            1.0,
            "the data's unit",
            (
                Map(
                    Attribution("integrated gradients", torch.from_numpy(rows), sum_wanted=3.0, likeness=0.3),
                    tuple(Part(name, float(sum(rows[:, place]))) for place, name in enumerate(names)),
                    rows,
                    columns=names,
                ),
            ),
            {},
        ),
    }
    picture = generator.integers(0, 256, (28, 28), dtype=np.uint8)
    return {
        name: Explanation("runs/one", *entries, picture if name == "image" else None)  # type: ignore[arg-type]
        for name, entries in made.items()
    }


@pytest.fixture(scope="session")
def pages(
    reports: dict[str, Report],
    explanations: dict[str, Explanation],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """The same reports, and explanations, written."""
    folder = tmp_path_factory.mktemp("pages")
    written = {name: write_report(folder / f"{name}.html", report) for name, report in reports.items()}
    for name, found in explanations.items():
        written[f"explained-{name}"] = write_explanation(folder / f"explained-{name}.html", found)
    return {**written, "tour": write_tour(folder / "tour.html", seen_of_pictures())}


def seen_of_pictures() -> Seen:
    """A network of pictures, blocks in a row and a branch, on an example."""
    from torch import nn

    from netwright.explain.diagram import diagram_of_trace
    from netwright.explain.structure import parameters_of, structure_of
    from netwright.explain.terms import words_for
    from netwright.explain.tour import tour_of
    from netwright.explain.trace import trace

    class Branch(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([x, super().forward(x)], 1)

    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Sigmoid()) for _ in range(12)]
    network = nn.Sequential(Branch(nn.Conv2d(3, 5, 3, padding=1)), *blocks, nn.Flatten(), nn.Linear(512, 3))
    network.add_module(HOSTILE, nn.Softmax(1))
    x = torch.randn(1, 3, 8, 8)
    watched = trace(network, x)
    structure, tour, parameters = structure_of(watched), tour_of(watched), parameters_of(watched)
    words = words_for(structure, tour, parameters)
    picture = np.full((8, 8, 3), 90, dtype=np.uint8)
    together = tour_of(trace(network, x.repeat(3, 1, 1, 1)))
    drawing = diagram_of_trace(watched)
    return Seen(
        f"a {HOSTILE}",
        "The input.",
        structure,
        tour,
        parameters,
        drawing,
        words,
        together,
        picture,
        [HOSTILE],
    )
