"""Checkpoints on disk: written whole or not at all, each with its checksum in its name.

A file is called `step-00001234-<sha256>.pt` (the first 16 hex digits), the convention of `torch.hub`
("filename-<sha256>.ext"): the checksum cannot get lost or disagree about which file it belongs to, and any
tool can check it. The file is first written beside its place, flushed to the disk, and then renamed.

The checkpoint of several processes is a folder of such a name, without `.pt`, which `shared_checkpoints` writes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from netwright.errors import CheckpointError, WritingFailed

Found = TypeVar("Found")
_NAME = re.compile(r"^step-(\d+)-([0-9a-f]{16})(\.pt)?$")
MANIFEST = "manifest.json"


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file atomically: whoever opens `path` sees the old content or the new, never a part.

    Raises:
        WritingFailed: the disk is full or the file cannot be written; what stood there is intact.
    """
    handle = None
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=".writing-", dir=path.parent)
        with open(handle, "wb") as file:
            handle = None
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        flush_folder(path.parent)
    except OSError as error:
        if handle is not None:
            os.close(handle)
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise write_failure(path, error) from error


def write_failure(path: Path, error: OSError) -> WritingFailed:
    """Returns the error to raise when `path` could not be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    reason = "the disk is full" if full else (error.strerror or str(error))
    return WritingFailed(
        f"cannot write {path.name} in {path.parent}: {reason}.\n"
        "What was saved before is intact. Make room, then go on with: netwright resume RUN"
    )


def flush_folder(folder: Path) -> None:
    """Makes a rename durable (a file's own fsync does not cover its name)."""
    with contextlib.suppress(OSError):  # some file systems and Windows refuse to open a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def save_checkpoint(folder: Path, state: dict[str, Any], *, keep: int = 2) -> Path:
    """Writes `state` as the newest checkpoint of `folder`, then removes all but the newest `keep`.

    Returns its path. Raises WritingFailed as `write_bytes` does; older checkpoints then still stand.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()[:16]
    path = folder / f"step-{state['steps']:08d}-{digest}.pt"
    if not path.exists():
        write_bytes(path, content)
    remove_old(folder, keep=keep, but=path)
    return path


def remove_old(folder: Path, *, keep: int, but: Path) -> None:
    """Removes all but the newest `keep` checkpoints of a folder, and never `but`."""
    for old in list_checkpoints(folder)[keep:]:
        if old != but:
            _remove(old)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def list_checkpoints(folder: Path) -> list[Path]:
    """Returns the checkpoints of a folder, the newest first (most steps, then last written)."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _NAME.match(path.name)
        if match:
            found.append((int(match[1]), path.stat().st_mtime_ns, path))
    return [path for *_, path in sorted(found, reverse=True)]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Returns the state in one checkpoint, on the CPU; nothing in it is unpickled.

    Raises:
        CheckpointError: the content does not have the checksum in the name, or is no checkpoint.
    """
    if path.is_dir():
        from netwright.training.shared_checkpoints import read_shared

        return read_shared(path)
    match = _NAME.match(path.name)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: {error.strerror}") from None
    digest = hashlib.sha256(content).hexdigest()[:16]
    if match is None or digest != match[2]:
        expected = match[2] if match else "a name like step-00000100-<sha256>.pt"
        raise CheckpointError(
            f"the checkpoint {path.name} is damaged: its content has checksum {digest}, expected {expected}"
        )
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        first = str(error).splitlines()[0]
        raise CheckpointError(f"the checkpoint {path.name} cannot be read: {first}") from None
    if not isinstance(state, dict) or "network" not in state:
        raise CheckpointError(f"{path.name} is not a checkpoint of netwright")
    return state


def newest_checkpoint(folder: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """Returns the newest intact checkpoint (or None) and a message for each damaged one passed over."""
    return _newest(folder, read_checkpoint)


def newest_intact(folder: Path) -> tuple[Path | None, list[str]]:
    """Returns the path of the newest intact checkpoint (or None) and a message for each damaged one passed over."""

    def check(path: Path) -> Path:
        if path.is_dir():
            check_files(path)
        else:
            read_checkpoint(path)
        return path

    return _newest(folder, check)


def _newest(folder: Path, read: Callable[[Path], Found]) -> tuple[Found | None, list[str]]:
    passed_over: list[str] = []
    for path in list_checkpoints(folder):
        try:
            return read(path), passed_over
        except CheckpointError as error:
            passed_over.append(str(error))
    return None, passed_over


def check_files(path: Path) -> None:
    """Raises CheckpointError unless every file of a checkpoint of several processes has its checksum."""
    match = _NAME.match(path.name)
    try:
        content = (path / MANIFEST).read_bytes()
        files: dict[str, str] = json.loads(content)["files"] if match else {}
        expected = {MANIFEST: match[2] if match else "", **files}
        for name, digest in expected.items():
            if hashlib.sha256((path / name).read_bytes()).hexdigest()[: len(digest)] != digest:
                raise CheckpointError(
                    f"the checkpoint {path.name} is damaged: its file {name} has another checksum"
                )
    except OSError as error:
        missing = Path(str(error.filename)).name
        raise CheckpointError(f"the checkpoint {path.name} is damaged: {missing}: {error.strerror}") from None
    except (ValueError, LookupError, TypeError, AttributeError):
        raise CheckpointError(f"the checkpoint {path.name} is damaged: {MANIFEST} cannot be read") from None


def clear_unfinished(folder: Path) -> None:
    """Removes what a killed process left half-written."""
    for path in folder.glob(".writing-*"):
        _remove(path)
