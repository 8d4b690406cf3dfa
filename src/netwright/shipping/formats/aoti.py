"""A program compiled for this machine by AOTInductor: native code in one package, which only processors of its kind run."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from netwright.errors import ArtefactError, ExportError
from netwright.shipping.formats import Forward, Work


def write(work: Work, path: Path) -> list[str]:
    """Compiles the program with the C++ compiler of this machine."""
    if shutil.which("g++") is None and shutil.which("c++") is None and shutil.which("clang++") is None:
        raise ExportError(
            "aoti compiles the network: it needs a C++ compiler (g++ or clang++), and none is found"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch._inductor.aoti_compile_and_package(work.graph.program, package_path=str(path))
    except Exception as error:  # the compiler's, of many kinds
        told = " ".join(str(error).split())[:300]
        raise ExportError(
            f"AOTInductor cannot compile the network: {type(error).__name__}: {told}"
        ) from error
    return ["native code for this kind of processor: opening it runs that code"]


def open(content: bytes, path: Path, sidecar: Mapping[str, Any]) -> tuple[Forward, dict[str, Any] | None]:
    """Returns what runs the package. It holds no card: that of the sidecar counts."""
    try:
        module = torch._inductor.aoti_load_package(str(path))
    except Exception as error:
        raise ArtefactError(f"{path}: PyTorch cannot load it: {' '.join(str(error).split())[:200]}") from None

    def forward(raw: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.no_grad():
            found = module(raw)
        return tuple(found) if isinstance(found, tuple | list) else (found,)

    return forward, None
