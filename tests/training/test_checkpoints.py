"""Checkpoints: whole or not at all, checked when read, never unpickled."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
from pathlib import Path

import pytest
import torch

from netwright.errors import CheckpointError, TrainingFailed
from netwright.training import checkpoints
from netwright.training.checkpoints import (
    clear_unfinished,
    list_checkpoints,
    newest_checkpoint,
    read_checkpoint,
    save_checkpoint,
    write_bytes,
)


def state(steps: int) -> dict:
    return {"steps": steps, "network": {"weight": torch.full((3,), float(steps))}}


def test_the_name_holds_the_sha256_of_the_content(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, state(7))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.name == f"step-00000007-{digest[:16]}.pt"


def test_a_checkpoint_is_read_by_torch_itself_without_unpickling(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, state(3))
    assert torch.equal(torch.load(path, weights_only=True)["network"]["weight"], torch.full((3,), 3.0))


def test_only_the_newest_two_are_kept(tmp_path: Path) -> None:
    for steps in (1, 2, 10, 100):
        save_checkpoint(tmp_path, state(steps))
    assert [path.name[:13] for path in list_checkpoints(tmp_path)] == ["step-00000100", "step-00000010"]


def test_the_same_state_twice_is_one_file(tmp_path: Path) -> None:
    assert save_checkpoint(tmp_path, state(1)) == save_checkpoint(tmp_path, state(1))
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_newest_is_named_and_the_one_before_is_used(tmp_path: Path, damage: str) -> None:
    save_checkpoint(tmp_path, state(1))
    newest = save_checkpoint(tmp_path, state(2))
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes({"flip": bytes(content), "cut": bytes(content[:-100]), "empty": b""}[damage])
    found, damaged = newest_checkpoint(tmp_path)
    assert found is not None and found["steps"] == 1
    assert len(damaged) == 1 and newest.name in damaged[0] and "checksum" in damaged[0]


def test_a_pickle_with_a_right_checksum_is_refused(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "sprung"),)

    content = pickle.dumps({"network": Trap()})
    path = tmp_path / f"step-00000001-{hashlib.sha256(content).hexdigest()[:16]}.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(path)
    assert not (tmp_path / "sprung").exists()


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "x.pt")
    digest = hashlib.sha256((tmp_path / "x.pt").read_bytes()).hexdigest()[:16]
    path = (tmp_path / "x.pt").rename(tmp_path / f"step-00000001-{digest}.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint of netwright"):
        read_checkpoint(path)


def test_a_full_disk_leaves_what_stood_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "model.safetensors"
    write_bytes(target, b"old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints.os, "fsync", full)
    with pytest.raises(TrainingFailed, match="disk is full"):
        write_bytes(target, b"new")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".writing-abc").write_bytes(b"half")
    keep = save_checkpoint(tmp_path, state(1))
    clear_unfinished(tmp_path)
    assert list(tmp_path.iterdir()) == [keep]


def test_files_are_readable_by_others(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"x")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644
