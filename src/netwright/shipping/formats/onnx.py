"""ONNX, for onnxruntime and everything else that reads it: any number of examples, the preparation inside, the card in its metadata."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from netwright.errors import ArtefactError, ExportError
from netwright.shipping.formats import Forward, Work, needed
from netwright.shipping.formats.quiet import quiet
from netwright.shipping.graph import Graph

KEY = "netwright"
# They remark on packages and on what is folded.
LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir")
# Protocol buffers hold no more; weights beside the file would be a second file to lose.
BYTES_AT_MOST = (1 << 31) - (1 << 20)
# Where layers with a state, or attention, make ranges that no calibration foresees, they are taken anew for each batch.
WEIGHTS_ALONE = (nn.LSTM, nn.GRU, nn.MultiheadAttention, nn.TransformerEncoderLayer)


def write(work: Work, path: Path) -> list[str]:
    """Writes the file; with `work.calibration` its linear layers and convolutions compute in int8."""
    onnx = needed("onnx", of="ONNX", extra="onnx")
    needed("onnxscript", of="ONNX", extra="onnx")
    needed("onnxruntime", of="ONNX", extra="onnx")
    size = sum(tensor.numel() * tensor.element_size() for tensor in work.shipped.state_dict().values())
    if size > BYTES_AT_MOST:
        raise ExportError(f"an ONNX file holds at most 2 GB; these weights take {size:,} bytes: use --to pt2")
    model = _converted(work.graph)
    _name_sides(model, work.graph)
    notes = []
    if work.calibration is not None:
        model, how = _in_int8(model, work)
        notes.append(how)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {KEY: json.dumps(work.card.to_dict(), ensure_ascii=False)})
    path.write_bytes(model.SerializeToString())
    return notes


def open(content: bytes, path: Path, sidecar: Mapping[str, Any]) -> tuple[Forward, dict[str, Any] | None]:
    """Returns what runs the file in onnxruntime on the CPU, and the card in it."""
    runtime = needed("onnxruntime", of="opening ONNX", extra="onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of no kind of its own
        raise ArtefactError(f"{path}: onnxruntime cannot open it: {_first_line(error)}") from None
    kept = session.get_modelmeta().custom_metadata_map.get(KEY)
    if kept is None:
        raise ArtefactError(f"{path}: an ONNX file without netwright's card: was it exported by netwright?")
    name = session.get_inputs()[0].name

    def forward(raw: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(found) for found in session.run(None, {name: raw.contiguous().numpy()}))

    try:
        return forward, json.loads(kept)
    except ValueError as error:
        raise ArtefactError(f"{path}: the card in it is no JSON ({error})") from None


def _converted(graph: Graph) -> Any:
    names = [port.name for port in graph.outputs]
    try:
        with quiet(*LOGGERS):
            made = torch.onnx.export(
                graph.program, dynamo=True, input_names=[graph.input.name], output_names=names, verbose=False
            )
    except Exception as error:  # torch.onnx wraps what it meets
        raise ExportError(_lacking(error, graph)) from error
    assert made is not None
    return made.model_proto


def _lacking(error: BaseException, graph: Graph) -> str:
    """Returns which operation of which layer ONNX does not have, as far as the exporter tells."""
    told, cause = str(error), error.__cause__
    while cause is not None:
        told, cause = f"{told}\n{cause}", cause.__cause__
    found = re.search(r"No ONNX function found for <OpOverload\(op='([\w.]+)'", told)
    if found is None:
        reason = _first_line(error.__cause__ or error)
        return f"ONNX cannot hold the network: {reason}\nTry --to pt2, which holds whatever torch.export can follow."
    operation = found.group(1).partition(".")[2]
    layer = graph.layer_of(operation)
    place = f" (in the layer {layer})" if layer else ""
    return (
        f"ONNX has no operation for {operation}{place}.\n"
        "Put another layer in its place, or use --to pt2, which holds whatever torch.export can follow."
    )


def _name_sides(model: Any, graph: Graph) -> None:
    """Calls the free sides batch and length, where the exporter has s38 and formulas of it."""
    del model.graph.value_info[:]
    for values, ports in ((model.graph.input, [graph.input]), (model.graph.output, graph.outputs)):
        for value, port in zip(values, ports, strict=True):
            for at, (side, known) in enumerate(
                zip(value.type.tensor_type.shape.dim, port.shape, strict=True)
            ):
                if known is None:
                    side.dim_param = "batch" if at == 0 else "length"
                else:
                    side.dim_value = known


def _in_int8(model: Any, work: Work) -> tuple[Any, str]:
    """Returns the model with int8 weights, and in a sentence how; what prepares the data stays float32."""
    quantization = needed("onnxruntime.quantization", of="int8", extra="onnx")
    prepared = [node.name for node in model.graph.node if not _of_network(node)]
    recurrent = any(isinstance(module, WEIGHTS_ALONE) for module in work.shipped.network.modules())
    attentive = any("scaled_dot_product" in str(node.target) for node in work.graph.program.graph.nodes)
    with TemporaryDirectory() as folder, quiet(*LOGGERS):
        made = Path(folder) / "int8.onnx"
        if recurrent or attentive:
            kinds = ["MatMul", "Gemm", "LSTM", "Attention"]
            quantization.quantize_dynamic(
                model,
                made,
                op_types_to_quantize=kinds,
                nodes_to_exclude=prepared,
                per_channel=True,
                reduce_range=True,
            )
            how = "weights in int8, the ranges of what they are multiplied with taken from each batch"
        else:
            reader = _Examples(work)
            quantization.quantize_static(
                model,
                made,
                reader,
                op_types_to_quantize=["Conv", "MatMul", "Gemm"],
                per_channel=True,
                # 7 bits: sums of 8-bit products overflow 16 bits on processors without VNNI. A linear forecast on one (AMD
                # EPYC, AVX2) was off by 0.56 standard deviations with 8, by 0.017 with 7.
                reduce_range=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                nodes_to_exclude=prepared,
            )
            how = f"linear layers and convolutions in int8, their ranges from {reader.count:,} training examples"
        onnx = needed("onnx", of="ONNX", extra="onnx")
        return onnx.load(str(made)), how


def _of_network(node: Any) -> bool:
    """Says whether a node was made by the network, not by what prepares its input or judges its answer."""
    spaces = {entry.key: entry.value for entry in node.metadata_props}.get("namespace", "")
    return re.search(r"(^|/)network(\.|:|/)", spaces.replace(" ", "")) is not None


class _Examples:
    """Batches of calibration examples as onnxruntime asks for them."""

    def __init__(self, work: Work) -> None:
        assert work.calibration is not None
        port = work.graph.input
        self.name, self.count = port.name, len(work.calibration)
        size = port.shape[0] or 32
        batches = [
            part for part in port.fitted(work.calibration).split(size) if port.shape[0] in (None, len(part))
        ]
        self.batches = iter(batches)

    def get_next(self) -> dict[str, Any] | None:
        part = next(self.batches, None)
        return None if part is None else {self.name: part.numpy()}

    def set_range(self, start_index: int, end_index: int) -> None:
        raise NotImplementedError

    def __iter__(self) -> _Examples:
        return self


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split("\n")[0].split())[:300] or type(error).__name__
