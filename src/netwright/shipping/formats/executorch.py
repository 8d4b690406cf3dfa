"""A program for ExecuTorch, on phones and microcontrollers: one example at a time unless --batch says otherwise.

What XNNPACK computes goes to it, the rest to ExecuTorch's own kernels. The file has no place for the card, which lies in the sidecar.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from netwright.errors import ArtefactError, ExportError
from netwright.shipping.formats import Forward, Work, needed
from netwright.shipping.formats.quiet import quiet


def write(work: Work, path: Path) -> list[str]:
    """Writes the file."""
    graph = work.graph
    with quiet():
        library = needed("executorch.exir", of="executorch", extra="executorch")
        backend = needed(
            "executorch.backends.xnnpack.partition.xnnpack_partitioner", of="executorch", extra="executorch"
        )
        try:
            lowered = library.to_edge_transform_and_lower(
                graph.program, partitioner=[backend.XnnpackPartitioner()]
            )
            content = lowered.to_executorch().buffer
        except Exception as error:  # of many kinds, some of them bare Exceptions
            told = " ".join(str(error).split())[:300]
            raise ExportError(f"ExecuTorch cannot hold the network: {told}\nTry --to onnx.") from error
    path.write_bytes(content)
    return ["the card is in the sidecar alone: the format has no place for it"]


def open(content: bytes, path: Path, sidecar: Mapping[str, Any]) -> tuple[Forward, dict[str, Any] | None]:
    """Returns what runs the file in ExecuTorch's runtime."""
    with quiet():  # it says at each import that it is experimental
        runtime = needed("executorch.runtime", of="opening .pte", extra="executorch")
    try:
        program = runtime.Runtime.get().load_program(content)
        method = program.load_method("forward")
    except Exception as error:
        raise ArtefactError(
            f"{path}: ExecuTorch cannot open it: {' '.join(str(error).split())[:200]}"
        ) from None

    # The method reads from the program, and the program from the bytes, and neither says so to Python: without being held here
    # they are gone, and the process with them.
    held = content, program

    def forward(raw: Tensor) -> tuple[Tensor, ...]:
        assert held
        # The outputs lie in memory that the next call writes to.
        return tuple(found.clone() for found in method.execute([raw.contiguous()]))

    return forward, None
