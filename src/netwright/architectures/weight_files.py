"""Weights from a file of somebody's: read as data, never executed, and compared with a network name by name."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from netwright.errors import CheckpointError

SUFFIXES = (".safetensors", ".pt", ".pth", ".th", ".bin", ".ckpt")
# Under these keys programs keep the state dict beside epochs and optimizers; what wrappers put before each name.
KEYS = ("state_dict", "model_state_dict", "model_state", "model", "network", "net", "weights")
PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")
SHOWN = 4


def read_weights(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Returns the tensors of a state dict in a file by name, and, in sentences, where in the file they were found.

    `.safetensors` is read as such, all else with torch.load(weights_only=True): nothing in it is executed. Prefixes that a
    wrapper has put before all names are taken off by `without_prefix`, not here. Raises CheckpointError.
    """
    try:
        content = _safetensors(path) if path.suffix == ".safetensors" else _torch(path)
    except OSError as error:
        raise CheckpointError(f"the weights {path} cannot be read: {error.strerror or error}") from None
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}, expected a state dict: tensors by name.\n"
            "Save it with: torch.save(network.state_dict(), path)"
        )
    notes = []
    for key in KEYS:
        inner = content.get(key)
        if isinstance(inner, Mapping) and any(isinstance(value, Tensor) for value in inner.values()):
            notes.append(f"the weights are those under {key!r} in {path.name}")
            content = inner
            break
    weights = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    others = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if not weights:
        raise CheckpointError(
            f"{path} holds no tensors, but {_some(others) or 'nothing'}: expected a state dict"
        )
    if others:
        notes.append(f"{len(others):,} entries of {path.name} are no tensors and not used: {_some(others)}")
    return weights, notes


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"the weights {path} cannot be read as safetensors: {error}") from None


def _torch(path: Path) -> Any:
    import pickle
    import warnings

    try:
        with warnings.catch_warnings():  # of old formats, which are read all the same
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" not in str(error) and "Unsupported" not in str(error):
            raise CheckpointError(f"the weights {path} cannot be read: damaged, or no weights") from None
        raise CheckpointError(
            f"{path} holds more than tensors: Python objects, which only its own program can make. They are not executed.\n"
            "Save the tensors alone: torch.save(network.state_dict(), path), or as safetensors."
        ) from None
    except OSError:
        raise
    except Exception as error:  # a damaged file can make the reader raise anything
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"the weights {path} cannot be read ({said}): damaged, or no weights") from None


def without_prefix(weights: Mapping[str, Tensor], network: nn.Module) -> tuple[dict[str, Tensor], str]:
    """Returns the weights without what wrappers (DataParallel, compile, …) put before all names, and that prefix.

    A prefix that the network's own names have stays.

    >>> found, prefix = without_prefix({"module.weight": torch.ones(1)}, nn.Linear(1, 1))
    >>> list(found), prefix
    (['weight'], 'module.')
    """
    own = network.state_dict()
    found, taken = dict(weights), ""
    while True:
        prefix = next(
            (one for one in PREFIXES if found and all(name.startswith(one) for name in found)), None
        )
        if prefix is None or any(name in own for name in found):
            return found, taken
        found = {name.removeprefix(prefix): value for name, value in found.items()}
        taken += prefix


def fill(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    where: str,
    called: str,
    spared: Collection[str] = (),
) -> list[str]:
    """Puts weights into a network and returns, in sentences, what of the `spared` layers was not there or did not fit.

    `spared` are modules whose entries may be missing or of another shape, because they are made anew. Raises CheckpointError
    that names what is missing, unexpected or of another shape.
    """
    own = network.state_dict()
    free = [name for name in own if _inside(name, spared)]
    # PyTorch before 0.4.1 did not count the batches of a batch norm, and PyTorch does without the count too.
    missing = [
        name
        for name in own
        if name not in weights and name not in free and not name.endswith(".num_batches_tracked")
    ]
    unexpected = [name for name in weights if name not in own and not _inside(name, spared)]
    shapes = [
        f"{name} is {_shape(weights[name])} there and {_shape(own[name])} in the network"
        for name in own
        if name in weights and name not in free and own[name].shape != weights[name].shape
    ]
    if missing or unexpected or shapes:
        raise _misfit(own, weights, missing, unexpected, shapes, where=where, called=called)
    taken = {
        name: weights[name] for name in own if name in weights and own[name].shape == weights[name].shape
    }
    network.load_state_dict({**own, **taken})
    left = [name for name in free if name not in taken]
    return [f"{where} has no {_some(left)} that fits: begun anew"] if left else []


def _misfit(
    own: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    missing: list[str],
    unexpected: list[str],
    shapes: list[str],
    *,
    where: str,
    called: str,
) -> CheckpointError:
    lines = [f"the weights in {where} are not those of {called}:"]
    if missing:
        near = [_near(name, own, weights, unexpected) for name in missing[:SHOWN]]
        lines.append(f"  missing there ({len(missing)}): {_some(near, len(missing))}")
    if unexpected:
        lines.append(f"  unexpected ({len(unexpected)}): {_some(unexpected)}")
    if shapes:
        lines.append(f"  of another shape ({len(shapes)}): {_some(shapes)}")
    return CheckpointError("\n".join(lines))


def _near(name: str, own: Mapping[str, Tensor], weights: Mapping[str, Tensor], unexpected: list[str]) -> str:
    """Returns a name with the unexpected one of the same shape that is most like it, if there is one."""
    alike = [other for other in unexpected if weights[other].shape == own[name].shape]
    close = difflib.get_close_matches(name, alike, n=1, cutoff=0.4) or (alike if len(alike) == 1 else [])
    return f"{name} (is it {close[0]}?)" if close else name


def _inside(name: str, modules: Collection[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def _some(names: list[str], total: int | None = None) -> str:
    total = len(names) if total is None else total
    return ", ".join(names[:SHOWN]) + (f" and {total - SHOWN:,} more" if total > SHOWN else "")


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "one number"
