"""A run's folder: which one, whether it may be begun in, and what is written before the first step."""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

import netwright
from netwright.errors import RunFolderError
from netwright.recipe import Recipe
from netwright.run import Run, network_title
from netwright.run_files import CHECKPOINTS, ENVIRONMENT, FROM_PYTHON, MEANING, PRETRAINED, RECIPE, SPLIT
from netwright.training.checkpoints import (
    write_bytes,
)
from netwright.training.distributed import (
    Processes,
    agreed,
    restarted,
    wait_for_all,
)

if TYPE_CHECKING:
    from netwright.data import Data


def free_folder(recipe: Recipe) -> Path:
    """Returns runs/<data>-<network>-<n> with the first n that is free."""
    source = Path(str(recipe.data.source)).stem if recipe.data.source != FROM_PYTHON else "data"
    network = recipe.network.name.rpartition(":")[2] if recipe.network.name != FROM_PYTHON else "network"
    if recipe.transfer.source is not None:
        network = f"{network_title(recipe)}-finetuned"
    number = 1
    while (folder := Path("runs") / f"{source}-{network}-{number}").exists():
        number += 1
    return folder


def _folder_before(free: Path) -> Path | None:
    """Returns the folder that was made last, where `free` would be the next one."""
    stem, _, number = free.name.rpartition("-")
    return free.with_name(f"{stem}-{int(number) - 1}") if int(number) > 1 else None


def folder_to_go_on_in(recipe: Recipe, out: str | Path | None, *, resume: bool) -> Path | None:
    """Returns the folder of a run that is to be gone on with, if there is one."""
    if out is not None:
        return Path(out) if (resume or restarted()) and (Path(out) / RECIPE).is_file() else None
    if not restarted():
        return None
    # Started again without a folder's name: the run is the last one of its name that is not finished.
    begun = _folder_before(free_folder(recipe))
    return begun if begun is not None and (begun / RECIPE).is_file() and not Run(begun).finished else None


def create_once(
    recipe: Recipe,
    data: Data,
    *,
    out: str | Path | None,
    module: nn.Module | None,
    begun: nn.Module | None,
    processes: Processes,
) -> Run:
    """Lets the first process make the run's folder, and returns the run in every one."""
    made = _create(recipe, data, out=out, module=module, begun=begun) if processes.first else None
    path = agreed(None if made is None else made.path, processes)
    check_folder_is_shared(path, processes)
    return made if made is not None else Run(path, network=module, data=data)


def _create(
    recipe: Recipe,
    data: Data,
    *,
    out: str | Path | None,
    module: nn.Module | None,
    begun: nn.Module | None = None,
) -> Run:
    """Makes the run's folder and writes what is known before training, the weights of a network that `begun` from others among it."""
    folder = Path(out) if out is not None else free_folder(recipe)
    if folder.exists() and not _can_be_begun_in(folder):
        raise RunFolderError(
            f"{folder} is there already and is not an empty folder.\n"
            "Give another --out, or --resume to go on with the run that it holds."
        )
    recipe = _kept_beside(recipe, folder)
    meaning = {
        "name": data.name,
        "task": data.task,
        "classes": None if data.classes is None else list(data.classes),
        "class_counts": data.class_counts,
        "input_shape": list(data.input_shape),
        "num_outputs": data.num_outputs,
        "preparation": data.preparation.to_dict(),
        "notes": list(data.notes),
    }
    try:
        (folder / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"cannot make the run's folder {folder}: {error.strerror}") from None
    write_json(folder / MEANING, meaning)
    write_json(folder / ENVIRONMENT, environment())
    if data.rows:
        split = io.BytesIO()
        np.savez_compressed(split, **data.rows)  # type: ignore[arg-type]
        write_bytes(folder / SPLIT, split.getvalue())
    if begun is not None:
        write_bytes(folder / PRETRAINED, as_safetensors(begun.state_dict()))
    # Last: a folder with a recipe is a run.
    write_bytes(folder / RECIPE, recipe.to_yaml().encode())
    return Run(folder, network=module, data=data)


def _can_be_begun_in(folder: Path) -> bool:
    """Whether a folder is empty, or holds only what a start that was cut off has left."""
    if not folder.is_dir():
        return False
    inside = list(folder.iterdir())
    ours = {CHECKPOINTS, MEANING, ENVIRONMENT, SPLIT, PRETRAINED}
    started = any(path.name in ours for path in inside)
    known = all(
        path.name in ours or path.name.startswith(".writing-") or path.suffix == ".py" for path in inside
    )
    return not inside or (started and known and not any((folder / CHECKPOINTS).glob("*")))


def _kept_beside(recipe: Recipe, folder: Path) -> Recipe:
    """Returns the recipe with paths that hold from anywhere; a network's file is copied into the folder."""
    entries = recipe.model_dump()
    source = entries["data"]["source"]
    if source != FROM_PYTHON and Path(source).exists():
        from netwright.data import datasets

        if source not in datasets:
            entries["data"]["source"] = str(Path(source).resolve())
    origin = entries["transfer"]["source"]
    if origin is not None and Path(origin).exists():
        entries["transfer"]["source"] = str(Path(origin).resolve())
    file, _, name = recipe.network.name.rpartition(":")
    if file.endswith(".py"):
        path = Path(file).resolve()
        if _imports_its_neighbours(path):
            entries["network"]["name"] = f"{path}:{name}"
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / path.name)
            entries["network"]["name"] = f"{path.name}:{name}"
    return Recipe.build(entries)


def _imports_its_neighbours(path: Path) -> bool:
    """Whether a file imports another one from its own folder, without which its copy would not work."""
    import ast

    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return any(
        (path.parent / f"{name}.py").exists() or (path.parent / name).is_dir() for name in names if name
    )


def environment() -> dict[str, Any]:
    """Returns what a run's numbers depend on beside its recipe."""
    return {
        "netwright": netwright.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "processes": Processes.here().world,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def check_folder_is_shared(folder: Path, processes: Processes) -> None:
    """Raises RunFolderError where a process does not see what the first one writes."""
    if processes.alone:
        return
    token = folder / agreed(f".writing-seen-{os.getpid()}-{time.time_ns()}", processes)
    if processes.first:
        write_bytes(token, b"")
    wait_for_all(processes)
    seen = token.exists()
    wait_for_all(processes)
    if processes.first:
        token.unlink(missing_ok=True)
    if not seen:
        raise RunFolderError(
            f"{folder.resolve()} on {platform.node()} is not the folder that the first process writes.\n"
            "Processes on several machines need an --out in a folder that all of them share."
        )


def as_safetensors(weights: Mapping[str, Tensor]) -> bytes:
    from safetensors.torch import save

    # Copies, because tied weights share memory, which the format refuses; contiguous, which it demands.
    return save(
        {
            name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, value in weights.items()
        }
    )


def write_json(path: Path, content: dict[str, Any]) -> None:
    write_bytes(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
