"""A flatbuffer for LiteRT (TensorFlow Lite), by litert-torch: one example at a time unless --batch says otherwise.

Numbers of 64 bits go in and out as 32: token ids as int32, rows of series as float32. A flatbuffer has no place for the card, which
lies in the sidecar.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from netwright.architectures.fused import plain_attention
from netwright.errors import ArtefactError, ExportError
from netwright.shipping.formats import Forward, Work, needed
from netwright.shipping.formats.quiet import quiet
from netwright.shipping.portable import portable


def write(work: Work, path: Path) -> list[str]:
    """Writes the file."""
    graph = work.graph
    with quiet():
        library = needed("litert_torch", of="tflite", extra="tflite")
        needed("ai_edge_litert.interpreter", of="tflite", extra="tflite")
        try:
            with plain_attention():
                made = library.convert(portable(work.shipped), (graph.example,))
            made.export(str(path))
        except Exception as error:  # the converter raises what it meets
            raise ExportError(_lacking(error, work)) from error
    return ["the card is in the sidecar alone: the format has no place for it"]


def open(content: bytes, path: Path, sidecar: Mapping[str, Any]) -> tuple[Forward, dict[str, Any] | None]:
    """Returns what runs the file in LiteRT's interpreter."""
    runtime = needed("ai_edge_litert.interpreter", of="opening .tflite", extra="tflite")
    try:
        interpreter = runtime.Interpreter(model_content=content, num_threads=torch.get_num_threads())
        interpreter.allocate_tensors()
        run = interpreter.get_signature_runner()
    except Exception as error:
        raise ArtefactError(f"{path}: LiteRT cannot open it: {' '.join(str(error).split())[:200]}") from None
    name = next(iter(run.get_input_details()))
    count = len(sidecar["outputs"])

    def forward(raw: Tensor) -> tuple[Tensor, ...]:
        found = run(**{name: raw.contiguous().numpy()})
        return tuple(torch.from_numpy(found[f"output_{place}"].copy()) for place in range(count))

    return forward, None


def _lacking(error: Exception, work: Work) -> str:
    """Returns which operation LiteRT does not have, and the layer that uses it, as far as the converter tells."""
    told = " ".join(str(error).split())
    missing = re.search(r"Lowering not found: (aten\.[\w.]+)", told) or re.search(
        r"operation '([\w.]+)'", told
    )
    if missing is None:
        return f"LiteRT cannot hold the network: {told[:300]}\nTry --to onnx."
    layer = work.graph.layer_of(missing.group(1).split(".")[1])
    place = f" (in the layer {layer})" if layer else ""
    return f"LiteRT has no operation for {missing.group(1)}{place}.\nPut another layer in its place, or use --to onnx."
