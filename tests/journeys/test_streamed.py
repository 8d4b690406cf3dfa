"""Sets on disk, as a person trains on them: killed, resumed, tested, ejected."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

SMALL = ("--batch", 16, "--epochs", 3, "--quiet", "--json", "--set", "network.hidden=[12]")


@pytest.fixture
def arrays(folder: Path) -> Path:
    """Three classes of 8 x 8 images that differ in brightness, as x.npy and y.npy."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 900)
    (folder / "set").mkdir()
    images = rng.integers(0, 120, (900, 8, 8)) + 60 * labels[:, None, None]
    np.save(folder / "set" / "x.npy", images.astype(np.uint8))
    np.save(folder / "set" / "y.npy", labels)
    return folder / "set"


def checkpoints(run: Path) -> list[int]:
    return sorted(int(path.stem.split("-")[1]) for path in (run / "checkpoints").glob("step-*.pt"))


@pytest.mark.parametrize("workers", ["thread", 2])
def test_killed_within_an_epoch_and_resumed(netwright: Any, arrays: Path, workers: Any) -> None:
    """kill -9 at a step that is no epoch's end; then the weights of the run that nobody disturbed, and of one in memory."""
    command = (
        *("fit", "set", *SMALL, "--no-examine", "--set", "checkpoint.every_steps=5"),
        *("--set", "network.dropout=0.3"),
    )
    streamed = (*command, "--set", "data.stream=true", "--set", f"data.workers={workers}")
    whole = netwright(*streamed, "--out", "whole").json
    held = netwright(*command, "--set", "data.stream=false", "--out", "held").json
    assert whole["weights_sha256"] == held["weights_sha256"] and whole["test"] == held["test"]
    assert whole["test"]["accuracy"] > 0.6

    run = netwright.folder / "run"
    process = netwright.start(*streamed, "--out", "run")
    process.until(lambda: run.exists() and any(step >= 55 for step in checkpoints(run)))
    process.send(signal.SIGKILL)
    assert process.end().code != 0
    assert checkpoints(run)[-1] % 40, "killed at an epoch's end: nothing was jumped over"
    ended = netwright("resume", "run", "--quiet", "--json").json
    assert ended["weights_sha256"] == whole["weights_sha256"] and ended["test"] == whole["test"]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["set", "photos"])
def test_the_ejected_script_reads_from_disk_too(
    netwright: Any, script: Any, arrays: Path, photos: Path, source: str, weights_sha256: Any
) -> None:
    sha = netwright("fit", source, *SMALL, "--set", "data.stream=true", "--out", "run").json["weights_sha256"]
    code = netwright("eject", "run").stdout
    assert "class OnDisk" in code
    (netwright.folder / "train.py").write_text(code)
    script(netwright.folder / "train.py")
    assert weights_sha256(torch.load(netwright.folder / "weights.pt", weights_only=True)) == sha


def test_a_parquet_file_from_end_to_end(netwright: Any, folder: Path) -> None:
    """What `auto` came to is kept: a resumed run has the order that it began with, however much memory is free."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rng = np.random.default_rng(0)
    x = rng.normal(size=(800, 2)).astype(np.float32)
    side = np.where(x[:, 0] > x[:, 1], "over", "under")
    parquet.write_table(
        pyarrow.table({"a": x[:, 0], "b": x[:, 1], "side": side}), folder / "t.parquet", row_group_size=100
    )
    fit = ("fit", "t.parquet", "--target", "side", *SMALL, "--lr", 0.01)
    ended = netwright(*fit, "--set", "data.stream=true", "--out", "run").json
    assert ended["test"]["accuracy"] > 0.9
    assert netwright("test", "run", "--json").json["test"] == ended["test"]
    answers = netwright("predict", "run", "-", "--json", stdin=json.dumps([[2.0, -2.0], [-2.0, 2.0]])).json
    assert [answer["label"] for answer in answers] == ["over", "under"]
    refused = netwright("eject", "run", code=2)
    assert "Parquet" in refused.stderr and "Traceback" not in refused.stderr

    held = netwright(*fit, "--out", "held").json
    assert "stream: false" in (folder / "held" / "recipe.yaml").read_text()
    again = netwright(*fit, "--out", "held", "--resume").json
    assert again["weights_sha256"] == held["weights_sha256"]


def test_said_to_people(netwright: Any, arrays: Path) -> None:
    ended = netwright("fit", "set", "--epochs", 1, "--batch", 16, "--set", "data.stream=true", "--out", "run")
    assert "streamed from disk, as asked (in memory the inputs would take 57.6 kB)" in ended.stderr
    assert "\nread " in ended.stderr and (
        "an epoch, by a trial (" in ended.stderr or "of a step" in ended.stderr
    )
    near = netwright("fit", "set", "--target", "y", code=2)
    assert "target= goes with a table" in near.stderr
