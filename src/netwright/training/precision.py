"""Devices and number formats."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from itertools import chain

import torch
from torch import nn

from netwright.errors import RecipeError, unknown_name

PRECISIONS = {"32": None, "bf16-mixed": torch.bfloat16, "fp16-mixed": torch.float16}


@lru_cache
def choose_precision(name: str, device: torch.device) -> str:
    """Returns the precision that is asked for; `auto` is bf16-mixed where the device computes in bfloat16, else 32.

    Without arithmetic of its own for it a device emulates bfloat16, which is slower than float32. Whatever is chosen, weights,
    gradients and optimizer stay float32. Raises UnknownNameError.

    >>> choose_precision("32", torch.device("cpu"))
    '32'
    """
    if name != "auto":
        if name not in PRECISIONS:
            raise unknown_name("precision", name, ["auto", *PRECISIONS])
        return name
    return "bf16-mixed" if computes_in_bfloat16(device) else "32"


def computes_in_bfloat16(device: torch.device) -> bool:
    """Returns whether a device has instructions for products of bfloat16: AVX-512 BF16, AMX, CUDA from 8.0 on, XPU.

    Other processors that may have some (ARM) are taken not to.
    """
    if device.type == "cpu":
        # Private, but the only question that PyTorch answers: there is no public one for processors.
        asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(bool(getattr(torch.cpu, name, bool)()) for name in asked)
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "xpu" and torch.xpu.is_bf16_supported()


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Returns the context in which the forward pass runs: autocast for the mixed precisions."""
    dtype = PRECISIONS[choose_precision(precision, device)]
    if dtype is None:
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def make_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler | None:
    """Returns the gradient scaler that float16 needs, else None.

    The gradients of float16 underflow below 6e-8 without one (Micikevicius et al. 2018, section 3.2).
    """
    if choose_precision(precision, device) != "fp16-mixed":
        return None
    return torch.amp.GradScaler(device.type)


def choose_device(name: str = "auto") -> torch.device:
    """Returns the device that is asked for; `auto` takes the first of CUDA, MPS, XPU, CPU that is there.

    >>> choose_device("cpu")
    device(type='cpu')
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        if hasattr(torch, "xpu") and torch.xpu.is_available():
            return torch.device("xpu")
        return torch.device("cpu")
    kind = name.split(":")[0]
    if kind not in ("cpu", "cuda", "mps", "xpu"):
        raise unknown_name("device", name, ["auto", "cpu", "cuda", "mps", "xpu"])
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise RecipeError(
            f"device {name!r} cannot be used here: {str(error).splitlines()[0]}\n"
            "Take --device cpu, or --device auto for the best one that is there."
        ) from None
    return device


def device_of(network: nn.Module) -> torch.device:
    """Returns the device of the network's first parameter or buffer; the CPU if it has none."""
    tensor = next(chain(network.parameters(), network.buffers()), None)
    return torch.device("cpu") if tensor is None else tensor.device
