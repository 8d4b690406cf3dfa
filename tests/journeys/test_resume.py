"""Interrupted anywhere, in any way, and resumed: bit for bit the run that was never interrupted."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Everything that has a state of its own: dropout, momentum, schedule, averages, half an accumulation, patience.
MIX = (
    *(
        "fit",
        "digits",
        "--epochs",
        6,
        "--batch",
        16,
        "--optimizer",
        "sgd-momentum",
        "--lr",
        0.05,
        "--quiet",
        "--json",
        "--no-examine",
    ),
    *("--set", "network.hidden=[48]", "--set", "network.dropout=0.3", "--set", "schedule.name=cosine"),
    *("--set", "train.ema=0.9", "--set", "train.accumulate=3", "--set", "train.clip=1.0"),
    *("--set", "early_stopping.patience=2", "--set", "early_stopping.min_delta=0.001"),
    *("--set", "checkpoint.every_steps=7", "--set", "checkpoint.keep=last", "--set", "log.every_steps=5"),
)


def records(run: Path) -> list[dict[str, Any]]:
    """What metrics.jsonl holds, without the times."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def checkpoints(run: Path) -> list[Path]:
    """The finished checkpoints, oldest first."""
    return sorted((run / "checkpoints").glob("step-*.pt")) if (run / "checkpoints").is_dir() else []


def begun(run: Path) -> bool:
    return (run / "recipe.yaml").exists()


@pytest.fixture(scope="session")
def uninterrupted(
    tmp_path_factory: pytest.TempPathFactory, forked: Any
) -> Callable[..., tuple[str, list[Any]]]:
    """Runs a command once to its end, whoever asks; gives back its weights' hash and its metrics."""
    known: dict[Any, Any] = {}

    def answer(netwright: Any, *command: Any) -> tuple[str, list[Any]]:
        if command not in known:
            folder = tmp_path_factory.mktemp("uninterrupted")
            sha = netwright(*command, "--out", folder / "run").json["weights_sha256"]
            known[command] = sha, records(folder / "run")
        return known[command]

    return answer


def goes_on(netwright: Any, *command: Any) -> Any:
    """Starts `netwright resume run`; where the kill came before there was a run, the first command again."""
    if begun(netwright.folder / "run"):
        return netwright.start("resume", "run", "--quiet", "--json")
    return netwright.start(*command, "--out", "run", "--resume")


def moment(name: str, numbers: random.Random, run: Path) -> Callable[[], Any]:
    """A condition to wait for; each call draws another one of the kind `name`."""
    if name == "at the start":
        return lambda: True
    if name == "while starting":
        return (run / ("recipe.yaml" if numbers.random() < 0.5 else "metrics.jsonl")).exists
    if name == "mid-write":
        written = numbers.randrange(1, 12)
        seen: set[str] = set()

        def writing() -> bool:
            """A file of another name than the last one's: it was begun and is not yet called what it will be."""
            names = set(os.listdir(run / "checkpoints")) if (run / "checkpoints").is_dir() else set()
            seen.update(n for n in names if not (n.startswith("step-") and n.endswith(".pt")))
            return len(seen) >= written

        return writing
    step = numbers.randrange(1, 150)
    return lambda: any(int(p.stem.split("-")[1]) >= step for p in checkpoints(run))


MOMENTS = ["at the start", "while starting", "mid-write", "mid-write", "mid-write", *["mid-epoch"] * 7]


@pytest.mark.parametrize("seed", range(len(MOMENTS)), ids=lambda seed: f"{seed} {MOMENTS[seed]}")
def test_killed_and_resumed_is_never_interrupted(netwright: Any, uninterrupted: Any, seed: int) -> None:
    """kill -9 twice at moments that the seed draws, then to the end."""
    sha, metrics = uninterrupted(netwright, *MIX)
    numbers, run = random.Random(seed), netwright.folder / "run"
    process = netwright.start(*MIX, "--out", "run")
    for _ in range(2):
        process.until(moment(MOMENTS[seed], numbers, run))
        if process.poll() is None:
            process.send(signal.SIGKILL)
        process.end()
        process = goes_on(netwright, *MIX)
    ended = process.end()
    assert ended.code == 0, ended.stderr
    assert ended.json["weights_sha256"] == sha
    assert records(run) == metrics
    assert not [p for p in run.rglob("*") if "tmp" in p.name], "left over from a write that was cut"


def test_killed_again_and_again(netwright: Any, uninterrupted: Any) -> None:
    """Each process gets three checkpoints further and no more."""
    sha, metrics = uninterrupted(netwright, *MIX)
    run, kills = netwright.folder / "run", 0
    process = netwright.start(*MIX, "--out", "run")
    while True:
        before = {p.name for p in checkpoints(run)}
        written: set[str] = set()
        process.until(lambda: written.update(p.name for p in checkpoints(run)) or len(written - before) >= 3)  # noqa: B023
        if process.poll() is not None:
            break
        process.send(signal.SIGKILL)
        process.end()
        kills += 1
        process = goes_on(netwright, *MIX)
    ended = process.end()
    assert kills >= 4
    assert ended.code == 0, ended.stderr
    assert ended.json["weights_sha256"] == sha
    assert records(run) == metrics


PAIRS = [
    ("adam", "constant", "32"), ("adamw", "cosine", "bf16-mixed"), ("sgd", "step", "32"),
    ("sgd-momentum", "one-cycle", "32"), ("sgd-nesterov", "plateau", "32"), ("rmsprop", "warmup", "32"),
    ("adagrad", "cosine", "32"), ("adadelta", "plateau", "bf16-mixed"), ("nadam", "one-cycle", "32"),
    ("muon", "cosine", "32"),
]  # fmt: skip
NEEDS = {"step": ("--set", "schedule.step_size=2"), "plateau": ("--set", "schedule.patience=0")}


@pytest.mark.parametrize(("optimizer", "schedule", "precision"), PAIRS)
def test_every_optimizer_and_schedule_resumes(
    netwright: Any, uninterrupted: Any, optimizer: str, schedule: str, precision: str
) -> None:
    command = (
        *(
            "fit",
            "digits",
            "--epochs",
            4,
            "--optimizer",
            optimizer,
            "--precision",
            precision,
            "--quiet",
            "--json",
            "--no-examine",
        ),
        *("--set", f"schedule.name={schedule}", *NEEDS.get(schedule, ()), "--set", "network.hidden=[24]"),
        *(
            "--set",
            "network.batch_norm=true",
            "--set",
            "network.dropout=0.1",
            "--set",
            "checkpoint.every_steps=3",
        ),
    )
    sha, metrics = uninterrupted(netwright, *command)
    run, numbers = netwright.folder / "run", random.Random(optimizer)
    process = netwright.start(*command, "--out", "run")
    step = numbers.randrange(3, 70)
    process.until(lambda: any(int(p.stem.split("-")[1]) >= step for p in checkpoints(run)))
    if process.poll() is None:
        process.send(signal.SIGKILL)
    process.end()
    ended = goes_on(netwright, *command).end()
    assert ended.code == 0, ended.stderr
    assert ended.json["weights_sha256"] == sha
    assert records(run) == metrics


def test_a_convolutional_network_on_images_of_a_folder_resumes(
    netwright: Any, uninterrupted: Any, photos: Path
) -> None:
    command = (
        *(
            "fit",
            photos,
            "--network",
            "cnn",
            "--epochs",
            3,
            "--batch",
            4,
            "--quiet",
            "--json",
            "--no-examine",
        ),
        *("--set", "network.channels=[4,8]", "--set", "checkpoint.every_steps=2"),
    )
    sha, metrics = uninterrupted(netwright, *command)
    run = netwright.folder / "run"
    process = netwright.start(*command, "--out", "run")
    process.until(lambda: len(checkpoints(run)) >= 2)
    process.send(signal.SIGKILL)
    process.end()
    ended = goes_on(netwright, *command).end()
    assert ended.code == 0, ended.stderr
    assert ended.json["weights_sha256"] == sha
    assert records(run) == metrics


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_polite_end_saves_first(netwright: Any, uninterrupted: Any, number: int, code: int) -> None:
    """In the first epoch and without `checkpoint.every_steps` nothing else would have been saved."""
    command = (
        *("fit", "digits", "--epochs", 2, "--batch", 1, "--optimizer", "sgd", "--json", "--no-examine"),
        *("--set", "network.hidden=[16]", "--set", "network.dropout=0.2", "--set", "log.every_steps=10"),
    )
    sha, metrics = uninterrupted(netwright, *command)
    run = netwright.folder / "run"
    process = netwright.start(*command, "--out", "run")
    process.until(lambda: (run / "metrics.jsonl").exists() and "\n" in (run / "metrics.jsonl").read_text())
    process.send(number)
    ended = process.end()
    assert ended.code == code, ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    assert "resume run" in ended.stderr, "says how to go on"
    assert len(checkpoints(run)) == 1
    assert not (run / "report.html").exists()
    ended = netwright("resume", "run", "--json")
    assert ended.json["weights_sha256"] == sha
    assert records(run) == metrics


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_polite_end_again_and_again(netwright: Any, uninterrupted: Any, number: int, code: int) -> None:
    sha, metrics = uninterrupted(netwright, *MIX)
    run = netwright.folder / "run"
    process = netwright.start(*MIX, "--out", "run")
    for step in (20, 60, 110):
        process.until(lambda: any(int(p.stem.split("-")[1]) >= step for p in checkpoints(run)))  # noqa: B023
        process.send(number)
        assert process.end().code == code
        process = netwright.start("resume", "run", "--json")
    assert process.end().json["weights_sha256"] == sha
    assert records(run) == metrics


@pytest.fixture
def interrupted(netwright: Any) -> Path:
    """A run of MIX that was killed after several checkpoints."""
    run = netwright.folder / "run"
    process = netwright.start(*MIX, "--out", "run")
    process.until(lambda: any(int(p.stem.split("-")[1]) >= 40 for p in checkpoints(run)))
    process.send(signal.SIGKILL)
    process.end()
    assert len(checkpoints(run)) >= 2
    return run


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        flip,
        lambda p: os.truncate(p, p.stat().st_size // 2),
        lambda p: os.truncate(p, 0),
        lambda p: p.write_text("x"),
    ],
    ids=["a flipped bit", "truncated", "emptied", "replaced"],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(
    netwright: Any, uninterrupted: Any, interrupted: Path, damage: Callable[[Path], Any]
) -> None:
    sha, metrics = uninterrupted(netwright, *MIX)
    newest = checkpoints(interrupted)[-1]
    damage(newest)
    ended = netwright("resume", "run", "--json")
    assert newest.name in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.json["weights_sha256"] == sha
    assert records(interrupted) == metrics


def test_if_all_checkpoints_are_damaged_it_says_so(netwright: Any, interrupted: Path) -> None:
    for file in checkpoints(interrupted):
        flip(file)
    ended = netwright("resume", "run", "--json", code=None)
    assert ended.code in (1, 2)
    assert ended.stdout == ""
    assert "checkpoint" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) <= 6


def test_an_interrupted_run_that_was_moved_resumes(
    netwright: Any, uninterrupted: Any, interrupted: Path
) -> None:
    sha, metrics = uninterrupted(netwright, *MIX)
    moved = interrupted.parent / "elsewhere" / "renamed run"
    moved.parent.mkdir()
    shutil.move(interrupted, moved)
    ended = netwright("resume", "elsewhere/renamed run", "--json")
    assert ended.json["weights_sha256"] == sha
    assert ended.json["run"].endswith("elsewhere/renamed run")
    assert records(moved) == metrics


def test_fit_with_resume_goes_on_too(netwright: Any, uninterrupted: Any, interrupted: Path) -> None:
    sha, metrics = uninterrupted(netwright, *MIX)
    ended = netwright(*MIX, "--out", "run", "--resume")
    assert ended.json["weights_sha256"] == sha
    assert records(interrupted) == metrics


def test_a_finished_run_is_resumed_to_itself(netwright: Any, run: Path) -> None:
    before = {
        p: p.stat().st_mtime_ns for p in run.rglob("*") if p.suffix in (".pt", ".safetensors", ".jsonl")
    }
    first, second = (netwright("resume", "run", "--json").json for _ in range(2))
    assert first == second
    assert {p: p.stat().st_mtime_ns for p in before} == before


@pytest.mark.slow
def test_with_two_threads_and_fresh_interpreters(fresh: Any) -> None:
    fresh.threads = 2
    sha = fresh(*MIX, "--out", "whole").json["weights_sha256"]
    run = fresh.folder / "run"
    process = fresh.start(*MIX, "--out", "run")
    process.until(lambda: any(int(p.stem.split("-")[1]) >= 40 for p in checkpoints(run)))
    process.send(signal.SIGKILL)
    process.end()
    assert fresh("resume", "run", "--json").json["weights_sha256"] == sha
    assert records(run) == records(fresh.folder / "whole")
