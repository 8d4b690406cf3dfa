"""The global random generators: seeded, saved and put back."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seeds the global generators of Python, NumPy and PyTorch (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state(device: torch.device | None = None) -> dict[str, Any]:
    """Returns the state of every global generator, in types that `weights_only=True` reads back.

    `device`: of the accelerators only this one, for a process beside others, each with a device of its own.
    """
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    assert isinstance(keys, np.ndarray)
    state: dict[str, Any] = {
        "python": [version, list(words), gauss],
        "numpy": [str(name), torch.from_numpy(keys.astype(np.int64)), position, has_gauss, float(cached)],
        "torch": torch.get_rng_state(),
    }
    if device is not None:
        state["device"] = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        return state
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def restore_random_state(state: dict[str, Any], device: torch.device | None = None) -> None:
    """Puts back what `random_state` returned; generators of devices that are not here are left alone.

    What one process had for its `device` fits another's; what it had for all devices fits only all of them.
    """
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    own = state.get("device")
    if own is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(own, device if device is not None else "cuda")
    if device is None and "cuda" in state and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])
    if device is None and "mps" in state and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"])
