"""Checkpoints of several processes: each writes its part beside the training, by `torch.distributed.checkpoint`.

A checkpoint is a folder `step-00001234-<sha256>` (16 hex digits of the manifest's checksum) of safetensors files
and `manifest.json`, which has the checksum of each file. It is written under another name and renamed when the
first process has seen all of it: it is there whole or not at all. Nothing in it is a pickle. Every process must see
the folder. It holds nothing that depends on the number of processes but their random generators, so that any
number of them, also one, goes on from it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from netwright.errors import CheckpointError, TrainingFailed
from netwright.training.checkpoints import (
    MANIFEST,
    check_files,
    flush_folder,
    read_checkpoint,
    remove_old,
    write_bytes,
    write_failure,
)
from netwright.training.distributed import is_sharded, wait_for_all
from netwright.training.state import TrainingState

VERSION = 1
# Smaller tensors (step counts, statistics) travel with the plain values: each by itself would cost more than it is.
SMALL = 64
_MARK = "__tensor__"
_PLAIN, _RANDOM = "plain", "random/{}"


class SharedCheckpoints:
    """Writes the checkpoints of all processes into `folder`; each must save at the same steps.

    `save` copies the state and returns; the copy is written by a thread. At most one is under way, and `finish`
    waits for it. Raises TrainingFailed, in the save after it or in `finish`, if one could not be written.
    """

    def __init__(self, folder: Path, state: TrainingState, *, keep: int = 2) -> None:
        self.folder, self.state, self.keep = folder, state, keep
        # Its own group, because its messages come from another thread than those of the training.
        self._group = torch.distributed.new_group(backend="gloo")
        self._pending: Future[Any] | None = None

    def save(self) -> None:
        self.finish()
        from torch.distributed.checkpoint import HuggingFaceStorageWriter, async_save

        processes = self.state.processes
        tensors, plain = packed(self.state.state_dict())
        tensors[_RANDOM.format(processes.rank)] = _to_tensor(plain.pop("random"))
        if processes.first:
            tensors[_PLAIN] = _to_tensor(plain)
        steps = self.state.steps  # the training goes on while this is written
        temporary = self.folder / f".writing-step-{steps:08d}"
        if processes.first:
            _make_empty(temporary)
        wait_for_all(processes)
        written: Any = async_save(
            tensors,
            storage_writer=HuggingFaceStorageWriter(str(temporary), save_distributed=True),
            process_group=self._group,
        )
        if processes.first:
            written = _then(written, lambda: self._complete(temporary, steps))
        self._pending = written

    def finish(self) -> None:
        """Waits until what is being written stands."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        try:
            pending.result()
        except OSError as error:
            raise write_failure(self.folder / "checkpoint", error) from error
        except BaseException as error:  # what PyTorch raises here is no Exception
            raise _why_not_written(self.folder, error) from error

    def _complete(self, temporary: Path, steps: int) -> None:
        files = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(temporary.iterdir())
        }
        manifest = {
            "version": VERSION,
            "steps": steps,
            "processes": self.state.processes.world,
            "files": files,
        }
        content = json.dumps(manifest, indent=1).encode()
        write_bytes(temporary / MANIFEST, content)
        path = self.folder / f"step-{steps:08d}-{hashlib.sha256(content).hexdigest()[:16]}"
        if path.exists():
            shutil.rmtree(temporary)
        else:
            os.replace(temporary, path)
            flush_folder(self.folder)
        remove_old(self.folder, keep=self.keep, but=path)


def _make_empty(folder: Path) -> None:
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    except OSError as error:
        raise write_failure(folder, error) from error


def _then(before: Future[Any], complete: Callable[[], None]) -> Future[None]:
    """Returns a future that is done when `complete`, called after `before`, is."""
    after: Future[None] = Future()

    def go_on(done: Future[Any]) -> None:
        try:
            done.result()
            complete()
        except BaseException as error:
            after.set_exception(error)
        else:
            after.set_result(None)

    before.add_done_callback(go_on)
    return after


def _why_not_written(folder: Path, error: BaseException) -> BaseException:
    """What one process could not write PyTorch reports in all, as a dictionary of ranks."""
    failures = getattr(error, "failures", None)
    if not failures:
        return error
    rank, (cause, *_) = next(iter(failures.items()))
    if isinstance(cause, OSError):
        return write_failure(folder / "checkpoint", cause)
    return TrainingFailed(f"process {rank} cannot write its part of the checkpoint in {folder}: {cause}")


def packed(state: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns the tensors of a nested state by their place in it, and the state with marks in their stead."""
    tensors: dict[str, Tensor] = {}

    def put(value: Any, place: str) -> Any:
        if isinstance(value, Tensor) and (value.numel() > SMALL or _is_divided(value)):
            tensors[place] = value.detach()
            return {_MARK: place}
        if isinstance(value, dict):
            return type(value)((key, put(entry, f"{place}/{key}")) for key, entry in value.items())
        if isinstance(value, list | tuple):
            return type(value)(put(entry, f"{place}/{index}") for index, entry in enumerate(value))
        return value

    random = state["random"]
    plain = {key: put(value, key) for key, value in state.items() if key != "random"}
    return tensors, {**plain, "random": random}


def unpacked(plain: Any, tensors: dict[str, Tensor]) -> Any:
    """Undoes `packed`."""
    if isinstance(plain, dict):
        if set(plain) == {_MARK}:
            return tensors[plain[_MARK]]
        return type(plain)((key, unpacked(entry, tensors)) for key, entry in plain.items())
    if isinstance(plain, list | tuple):
        return type(plain)(unpacked(entry, tensors) for entry in plain)
    return plain


def restore(path: Path, state: TrainingState) -> int:
    """Puts the checkpoint in `path`, of one process or of several, into `state`; returns how many they were.

    Every process must do so at the same time. Those that there were not get new random numbers.

    Raises:
        CheckpointError: it cannot be read, or belongs to another network.
    """
    sharded = is_sharded(state.network)
    if path.is_dir():
        saved, processes = _read(path, _places(state) if sharded else _anywhere, together=sharded)
    else:
        saved, processes = read_checkpoint(path), 1
    if path.is_dir():
        saved["random"] = _random_state(path, state.processes.rank, processes)
    elif not state.processes.first:
        saved["random"] = None
    if sharded:
        _divide(saved, state)
    state.load_state_dict(saved)
    return processes


def read_shared(path: Path) -> dict[str, Any]:
    """Returns the whole state in a checkpoint of several processes, with the random generators of the first.

    Raises:
        CheckpointError: a file is damaged, or this PyTorch cannot read it.
    """
    check_files(path)
    saved, processes = _read(path, _anywhere)
    return {**saved, "random": _random_state(path, 0, processes)}


# Says where a tensor of this name and size is to be read into; None: into a new one.
Into = Callable[[str, torch.Size], Tensor | None]


def _anywhere(name: str, size: torch.Size) -> Tensor | None:
    return None


def _places(state: TrainingState) -> Into:
    """The parts of a sharded network and of its optimizer's state are read where they belong."""
    weights = {f"network/{name}": value for name, value in state.network.state_dict().items()}
    if state.average is not None:
        weights |= {f"average/weights/{name}": value for name, value in state.average.weights().items()}
    parameters = _parameters(state.optimizer)

    def into(name: str, size: torch.Size) -> Tensor | None:
        index = name.split("/")[2] if name.startswith("optimizer/state/") else ""
        if index.isdigit() and int(index) < len(parameters) and parameters[int(index)].shape == size:
            return torch.zeros_like(parameters[int(index)].detach())
        return weights.get(name)

    return into


def _read(path: Path, into: Into, *, together: bool = False) -> tuple[dict[str, Any], int]:
    """Reads the state, but for the random generators; also how many processes wrote it."""
    processes = json.loads((path / MANIFEST).read_text())["processes"]
    plain = _from_tensor(_load(path, [_PLAIN], _anywhere)[_PLAIN])
    return unpacked(plain, _load(path, list(_marked(plain)), into, together=together)), processes


def _marked(plain: Any) -> Iterator[str]:
    if isinstance(plain, dict) and set(plain) == {_MARK}:
        yield plain[_MARK]
    elif isinstance(plain, dict | list | tuple):
        for entry in plain.values() if isinstance(plain, dict) else plain:
            yield from _marked(entry)


def _random_state(path: Path, rank: int, processes: int) -> dict[str, Any] | None:
    if rank >= processes:
        return None
    name = _RANDOM.format(rank)
    return _from_tensor(_load(path, [name], _anywhere)[name])


def _load(path: Path, names: list[str], into: Into, *, together: bool = False) -> dict[str, Tensor]:
    """Reads tensors by name; `together`: with all processes, each of which reads its parts."""
    try:
        from torch.distributed.checkpoint import HuggingFaceStorageReader, load
    except ImportError:
        raise CheckpointError(
            f"{path.name} was written by several processes: PyTorch {torch.__version__} cannot read it, 2.8 can"
        ) from None
    try:
        reader = HuggingFaceStorageReader(str(path))
        known: dict[str, Any] = reader.read_metadata().state_dict_metadata
        tensors = {}
        for name in names:
            size, dtype = known[name].size, known[name].properties.dtype
            place = into(name, size)
            tensors[name] = torch.empty(size, dtype=dtype) if place is None else place
        with warnings.catch_warnings():
            # That it is read in a single process, which is meant.
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            load(tensors, storage_reader=reader, no_dist=not together)
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"the checkpoint {path.name} cannot be read: {first}") from error
    return tensors


def _is_divided(value: Any) -> bool:
    return hasattr(value, "device_mesh")


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _divide(saved: dict[str, Any], state: TrainingState) -> None:
    """Divides whole tensors of a saved network and its optimizer's state as the network's parameters are."""
    pairs = [(state.network.state_dict(), saved["network"])]
    if state.average is not None and saved["average"] is not None:
        pairs.append((state.average.weights(), saved["average"]["weights"]))
    for owned, weights in pairs:
        for name, own in owned.items():
            if name in weights:
                weights[name] = _divided_like(weights[name], own)
    for index, parameter in enumerate(_parameters(state.optimizer)):
        entries = saved["optimizer"]["state"].get(index, {})
        for name, value in entries.items():
            entries[name] = _divided_like(value, parameter)


def _divided_like(value: Any, own: Any) -> Any:
    from torch.distributed.tensor import distribute_tensor

    whole = isinstance(value, Tensor) and not _is_divided(value)
    if not whole or not _is_divided(own) or value.shape != own.shape:
        return value
    return distribute_tensor(value.to(own.device), own.device_mesh, own.placements)


def _to_tensor(value: Any) -> Tensor:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)


def _from_tensor(content: Tensor) -> Any:
    return torch.load(io.BytesIO(content.numpy().tobytes()), map_location="cpu", weights_only=True)
