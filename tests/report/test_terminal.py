"""What is printed: golden files, a fake clock, and a real pseudo-terminal."""

from __future__ import annotations

import io
import os
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import pytest
import torch

from netwright.report import Progress, epoch_line, summary, terminal

Golden = Callable[[str, str], None]
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(terminal, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[TextIO, Callable[[], str]]]:
    """A terminal of 80 columns, and what has been written to it so far."""
    pty = pytest.importorskip("pty", reason="pseudo-terminals are a thing of Unix")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    written: list[bytes] = []

    def read() -> str:
        while True:
            try:
                written.append(os.read(master, 65536))
            except BlockingIOError:
                return b"".join(written).decode()

    with os.fdopen(slave, "w", encoding="utf-8") as stream:
        yield stream, read
    os.close(master)


def record(epoch: int, epochs: int, **more: Any) -> dict[str, Any]:
    values = {
        "train_loss": 0.9 / epoch,
        "validation_loss": 1.1 / epoch,
        "lr": 0.001,
        "seconds": 4.2 * epoch,
        "best": True,
    }
    return {"epoch": epoch, "epochs": epochs, **values, **more}


def per_class(names: list[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {
            "class": name,
            "precision": 1 - n / 97,
            "recall": 1 - n / 89,
            "f1": 1 - (n * 7 % 20) / 93,
            "support": 40 + n,
        }
        for n, name in enumerate(names)
    ]
    rows[1] |= {"precision": None, "recall": None, "f1": None, "support": 0}
    return rows


def confusion(count: int) -> list[list[int]]:
    return [
        [40 if row == column else (row * 7 + column * 3) % 11 // 8 for column in range(count)]
        for row in range(count)
    ]


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
SCORES = {"loss": 0.0921, "accuracy": 0.97222, "interval": [0.9499, 0.9848]}
RESULTS: dict[str, dict[str, Any]] = {
    "digits": {
        "title": "digits · mlp",
        "run": "runs/digits-1",
        "report": "runs/digits-1/report.html",
        "parameters": 109_386,
        "epochs": 10,
        "seconds": 4.2,
        "examples": 360,
        "test": {**SCORES, "per_class": per_class(list("0123456789")), "confusion": confusion(10)},
    },
    "fashion": {
        "run": "runs/fashion mnist",
        "tested": True,
        "test": {**SCORES, "per_class": per_class(FASHION), "confusion": confusion(10)},
    },
    "forty": {
        "title": "species",
        "run": "runs/species",
        "test": {
            **SCORES,
            "per_class": per_class(
                [f"species {number} with a name as long as a sentence" for number in range(40)]
            ),
            "confusion": confusion(40),
        },
    },
    "regression": {
        "title": "california-housing · mlp",
        "run": "runs/housing",
        "parameters": 5_000,
        "epochs": 1,
        "seconds": 83,
        "test": {"loss": 0.21, "rmse": 0.6112, "mae": 0.4761, "r2": 0.6919, "interval": [0.5962, 0.6265]},
    },
    "forecast": {
        "title": "ETTh1 · dlinear",
        "run": "runs/ett-1",
        "test": {
            "loss": 0.3237,
            "rmse": 2.6292,
            "mae": 1.3667,
            "r2": 0.5365,
            "interval": [2.4892, 2.7772],
            "scaled_mse": 0.3237,
            "scaled_mae": 0.3676,
            "steps": {"scaled_mse": [0.1, None, *(0.3 + n / 100 for n in range(22))]},
            "skill": -0.0512,
            "beside": {
                "seasonal naive (24)": {"scaled_mse": 0.3079, "scaled_mae": 0.3892, "steps": [0.42] * 24},
                "linear": {"scaled_mse": 0.3146, "scaled_mae": 0.3564, "steps": [0.1] * 24},
            },
        },
    },
    "interrupted": {
        "title": "mnist · cnn",
        "run": "runs/mnist-3",
        "parameters": 421_642,
        "epochs": 2,
        "seconds": 7400,
        "test": None,
        "interrupted": True,
    },
}


def printed(result: dict[str, Any]) -> str:
    stream = io.StringIO()
    summary(result, stream=stream)
    return stream.getvalue()


@pytest.mark.parametrize("name", RESULTS)
def test_summary(name: str, golden: Golden) -> None:
    text = printed(RESULTS[name])
    golden(f"summary-{name}.txt", text)
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("name", RESULTS)
def test_summary_in_colour_is_the_same_text(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    plain = printed(RESULTS[name])
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    coloured = printed(RESULTS[name])
    assert COLOURS.search(coloured)
    assert COLOURS.sub("", coloured) == plain


def test_hostile_names_cannot_drive_the_terminal() -> None:
    test = {**SCORES, "per_class": per_class(["\x1b[2Jcat", "[red]dog[/red]\n"]), "confusion": confusion(2)}
    text = printed({"title": "\x1b]0;owned\x07", "run": "runs/\x1b[31m", "test": test})
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[red]dog[/red]" in text


def test_a_stream_that_lacks_a_letter_does_not_end_the_run() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    summary({"title": "köpfe · mlp", "run": "r", "test": RESULTS["digits"]["test"]}, stream=stream)
    stream.flush()
    assert b"k?pfe" in stream.buffer.getvalue()  # type: ignore[attr-defined]


def test_epoch_lines(golden: Golden) -> None:
    lines = [
        epoch_line(record(1, 10, accuracy=0.1)),
        epoch_line(record(9, 10, accuracy=0.99999, best=False)),
        epoch_line(record(10, 10, accuracy=1.0, lr=2.5e-5)),
        epoch_line(record(1, 100, rmse=0.61)),
        epoch_line(record(99, 100, rmse=12345.678, train_loss=float("nan"), best=False)),
        epoch_line({"epoch": 1, "epochs": 1, "train_loss": 0.5, "validation_loss": None}),
        epoch_line({"epoch": 7, "train_loss": 1e-7}),
    ]
    golden("epochs.txt", "\n".join(lines) + "\n")
    assert max(map(len, lines)) <= 80


def test_elsewhere_there_is_a_line_an_epoch_and_one_every_ten_seconds(clock: Clock, golden: Golden) -> None:
    stream = io.StringIO()
    with Progress(epochs=2, steps_per_epoch=50, start_step=10, stream=stream) as progress:
        for step in range(11, 101):
            clock.now += 0.5 if step <= 50 else 0.01
            progress.advance(lambda step=step: torch.tensor(1 / step))
            if step % 50 == 0:
                progress.epoch(record(step // 50, 2, accuracy=0.9))
        progress.note("saved runs/digits-1")
    golden("progress.txt", stream.getvalue())


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"TERM": "unknown"}])
def test_a_dumb_terminal_gets_plain_lines(
    variables: dict[str, str], screen: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, read = screen
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with Progress(epochs=1, steps_per_epoch=5, stream=stream) as progress:
        for _ in range(5):
            clock.now += 1
            progress.advance(0.5)
        progress.epoch(record(1, 1))
    assert read().splitlines() == [epoch_line(record(1, 1))]


def test_a_file_called_a_terminal_gets_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = io.StringIO()
    with Progress(epochs=1, steps_per_epoch=1, stream=stream) as progress:
        progress.advance(0.5)
        progress.epoch(record(1, 1))
    assert COLOURS.sub("", stream.getvalue()) == epoch_line(record(1, 1)) + "\n"


def test_the_bar_is_drawn_four_times_a_second_and_reads_the_loss_only_then(screen: Any, clock: Clock) -> None:
    stream, read = screen
    reads = []

    def loss() -> float:
        reads.append(clock.now)
        return 0.25

    threads = threading.active_count()
    with Progress(epochs=2, steps_per_epoch=1000, stream=stream) as progress:
        for _ in range(1000):
            clock.now += 0.005
            progress.advance(loss)
        assert threading.active_count() == threads
        shown = COLOURS.sub("", read())
        progress.epoch(record(1, 2, accuracy=0.5))
    assert 15 <= len(reads) <= 21
    assert "epoch 1/2" in shown
    assert re.search(r"step +\d+/1000  loss 0.2500  200 steps/s  0:\d\d left", shown)
    assert epoch_line(record(1, 2, accuracy=0.5)) in COLOURS.sub("", read())
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[\??\w+", "", shown))
    assert max(map(len, lines)) <= 80


def test_without_colour_there_is_still_a_bar(
    screen: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream, read = screen
    with Progress(epochs=1, steps_per_epoch=10, stream=stream) as progress:
        progress.advance(0.5)
    assert "loss 0.5000" in read()
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", read())


def test_quiet_prints_nothing() -> None:
    stream = io.StringIO()
    with Progress(epochs=1, steps_per_epoch=1, quiet=True, stream=stream) as progress:
        progress.advance(lambda: pytest.fail("the loss was read"))
        progress.epoch(record(1, 1))
        progress.note("hello")
    assert stream.getvalue() == ""


def test_the_bar_goes_when_training_fails(screen: Any) -> None:
    stream, read = screen
    with pytest.raises(KeyboardInterrupt), Progress(epochs=1, steps_per_epoch=10, stream=stream) as progress:
        progress.advance(0.5)
        raise KeyboardInterrupt
    shown = read()
    assert shown.index("\x1b[?25l") < shown.index("\x1b[?25h"), "the cursor stays hidden"
    assert shown.endswith("\x1b[2K"), "the bar stays"


@pytest.mark.parametrize("quiet", [True, False])
def test_a_step_asks_for_the_time_and_nothing_else(
    quiet: bool, count_calls: Callable[[Callable[[], Any]], int]
) -> None:
    loss = torch.tensor(0.5)
    with Progress(epochs=10, steps_per_epoch=10**6, quiet=quiet, stream=io.StringIO()) as progress:
        progress.advance(loss)
        assert count_calls(lambda: progress.advance(loss)) == 3, "the lambda, advance, monotonic"


def test_the_summary_tells_how_far_probabilities_are_off_and_what_is_flagged() -> None:
    result = {
        "test": {"loss": 0.1, "accuracy": 0.9, "unlike_training": 0.0125},
        "calibration": {"temperature": 0.4567, "ece_before": 0.0958, "ece_after": 0.0017},
    }
    shown = io.StringIO()
    summary(result, stream=shown)
    assert "  calibration error 0.17 % (9.58 % before temperature 0.457)\n" in shown.getvalue()
    assert "  unlike the training data: 1.25 % of what was tested\n" in shown.getvalue()
    assert max(map(len, shown.getvalue().splitlines())) <= 80
    shown = io.StringIO()
    summary({**result, "calibration": {**result["calibration"], "reason": "few"}, "test": {"accuracy": 0.9}}, stream=shown)  # fmt: skip
    assert "  calibration error 0.17 %\n" in shown.getvalue() and "unlike" not in shown.getvalue()


def test_a_part_that_is_worse_has_lines_of_its_own() -> None:
    row = {"by": "a\x1bcolumn", "slice": "x" * 200, "accuracy": 0.5, "rest": 0.9, "p": 0.01, "worse": True}
    stream = io.StringIO()
    test = {"accuracy": 0.8, "loss": 0.5}
    summary({"test": test, "slices": {"rows": [row, {**row, "p": 0.02}]}}, stream=stream)
    lines = stream.getvalue().splitlines()
    (place,) = [
        number for number, line in enumerate(lines) if "worse than the rest: a\ufffdcolumn xxx" in line
    ]
    assert lines[place + 1] == "      50.00 %, the rest 90.00 %; 1 more in the report"
    assert max(map(len, lines)) <= 80
