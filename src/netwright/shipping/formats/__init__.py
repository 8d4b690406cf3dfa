"""The formats by name: how each is written, and opened again in its own runtime.

One file a format; the packages that it needs are imported there alone, when it is used. A file has `write(work, path)`, which
returns what people should know of the artefact in sentences, and `open(content, path, ports)`, which returns the function that
maps a raw batch to the outputs and the card that the file itself holds (None where the format has no place for one).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from netwright.errors import ExportError
from netwright.registry import Registry
from netwright.shipping.card import Card
from netwright.shipping.graph import Graph, trace
from netwright.shipping.inputs import Port, input_of, outputs_of
from netwright.shipping.shipped import Shipped

Forward = Callable[[Tensor], tuple[Tensor, ...]]


@dataclass(frozen=True, eq=False)
class Work:
    """What is to be exported.

    `example`: raw examples (n, ...), at least 2, that a graph is traced with; `calibration`: raw training examples from which
    int8 ranges are taken, None for float32. `batch`: the artefact takes so many examples at a time, None any number. `source`:
    the network as plain PyTorch, for the format that ships it so; `file`: a person's own file that it is defined in.
    """

    shipped: Shipped
    card: Card
    example: Tensor
    batch: int | None = None
    calibration: Tensor | None = None
    source: str | None = None
    file: Path | None = None

    @cached_property
    def graph(self) -> Graph:
        return trace(self.shipped, self.example, self.card, batch=self.batch)

    def plain_ports(self) -> tuple[Port, list[Port]]:
        """Returns input and outputs of a format that runs the module itself."""
        port = input_of(self.shipped.preparation, batch=None, any_length=False)
        outputs = self.shipped(port.fitted(self.example))
        return port, outputs_of(self.card, self.shipped.output_names, outputs, batch=None)


class Writer(Protocol):
    """What the file of a format has."""

    def write(self, work: Work, path: Path) -> list[str]: ...

    def open(
        self, content: bytes, path: Path, sidecar: Mapping[str, Any]
    ) -> tuple[Forward, dict[str, Any] | None]: ...


@dataclass(frozen=True)
class Format:
    """`module`: the file below this folder. `extra`: what to install. `batch`: how many at a time, where the format wants to know.

    `traced`: whether it holds a graph (else the module itself). `narrow`: numbers of 64 bits go in and out as 32. `runs`: what runs
    it, for people.
    """

    module: str
    suffix: str
    extra: str | None
    runs: str
    batch: int | None = None
    traced: bool = True
    narrow: bool = False

    def load(self) -> Writer:
        """Returns the file of the format; raises ExportError where a package that it needs is not installed."""
        return importlib.import_module(f"netwright.shipping.formats.{self.module}")


formats: Registry[Format] = Registry(
    "format",
    {
        "onnx": Format("onnx", ".onnx", "onnx", "onnxruntime"),
        "pt2": Format("pt2", ".pt2", None, "torch.export.load"),
        "aoti": Format("aoti", ".aoti.pt2", None, "torch._inductor.aoti_load_package"),
        "safetensors": Format(
            "safetensors", ".safetensors", None, "PyTorch with the class beside it", traced=False
        ),
        "tflite": Format("tflite", ".tflite", "tflite", "LiteRT", batch=1, narrow=True),
        "executorch": Format("executorch", ".pte", "executorch", "ExecuTorch", batch=1),
        "tensorflow": Format("tensorflow", ".tf.zip", None, "TensorFlow"),
    },
)


def needed(package: str, *, of: str, extra: str) -> Any:
    """Returns an installed package; raises ExportError that names the extra for one that is not."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        missing = package.partition(".")[0]
        if error.name is not None and error.name.partition(".")[0] != missing:
            raise ExportError(f"{of} needs {missing}, which cannot be imported: {error}") from error
        raise ExportError(
            f"{of} needs the package {missing}, which is not installed: pip install 'netwright[{extra}]'"
        ) from None
