"""TensorFlow's SavedModel: made of the ONNX artefact in an environment of its own, because TensorFlow's pins clash with PyTorch's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from netwright.errors import ExportError
from netwright.shipping.formats import Forward, Work

HOW = (
    "TensorFlow is not installed beside PyTorch, whose pins clash with its own: convert the ONNX artefact in an environment of its own.\n"
    "netwright export RUN --to onnx --batch 1 --out model.onnx\n"
    "python3.11 -m venv tf && tf/bin/pip install onnx2tf tensorflow-cpu && tf/bin/onnx2tf -i model.onnx -o saved_model\n"
    "It takes images channels last. What it makes is not certified: compare it on test examples before you use it."
)


def write(work: Work, path: Path) -> NoReturn:
    """Raises ExportError with the commands that make a SavedModel."""
    raise ExportError(HOW)


def open(content: bytes, path: Path, sidecar: Mapping[str, Any]) -> tuple[Forward, dict[str, Any] | None]:
    """Raises ExportError: there is no such artefact."""
    raise ExportError(HOW)
