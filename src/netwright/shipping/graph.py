"""A shipped network as one program of PyTorch's operations: what every format begins from."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from netwright.architectures.fused import plain_attention
from netwright.architectures.user_file import where
from netwright.data.text import TextPreparation
from netwright.errors import ExportError
from netwright.shipping.card import Card
from netwright.shipping.inputs import Port, input_of, outputs_of
from netwright.shipping.portable import portable
from netwright.shipping.shipped import Shipped


@dataclass(frozen=True, eq=False)
class Graph:
    """`program`: what `torch.export` made of the portable form of a network; `example`: a raw batch of its size."""

    program: torch.export.ExportedProgram
    example: Tensor
    input: Port
    outputs: list[Port]

    def layer_of(self, operation: str) -> str | None:
        """Returns the path of the first layer that uses an operation such as "stft"; None if none is known to."""
        for node in self.program.graph.nodes:
            if node.op == "call_function" and operation in str(node.target).split("."):
                stack = list((node.meta.get("nn_module_stack") or {}).values())
                if stack:
                    return str(stack[-1][0]).removeprefix("network.") or None
        return None


def trace(shipped: Shipped, example: Tensor, card: Card, *, batch: int | None = None) -> Graph:
    """Returns the graph of a shipped network.

    `example`: raw examples (n, ...), at least 2. `batch`: the graph takes so many at a time; None: any number. Texts are of any
    length up to the longest of training, unless a layer (an LSTM among them) wants to know it beforehand; then they are padded to it.

    Raises:
        ExportError: PyTorch cannot follow the network, with the reason and the line in a person's own file.
    """
    module = portable(shipped)
    preparation = shipped.preparation
    lengths = [False]
    recurrent = any(isinstance(part, nn.RNNBase) for part in module.modules())
    if (
        isinstance(preparation, TextPreparation)
        and preparation.length > 2
        and batch is None
        and not recurrent
    ):
        lengths = [True, False]
    for any_length in lengths:
        port = input_of(preparation, batch=batch, any_length=any_length)
        try:
            given = port.fitted(example)
            if batch is not None:
                given = given[torch.arange(batch) % len(given)]
            elif any_length:
                given = given[:, : max(2, int((given != 0).sum(1).max()))]
            program = _followed(module, given, port, preparation.shape[0])
            break
        except Exception as error:  # torch.export raises what it meets
            if any_length:
                continue
            raise ExportError(_explained(error, batch)) from error
    with torch.no_grad():
        outputs = outputs_of(card, shipped.output_names, module(given), batch=batch)
    return Graph(program, given, port, outputs)


def _followed(module: Shipped, given: Tensor, port: Port, length: int) -> torch.export.ExportedProgram:
    free: dict[int, Any] = {}
    if port.shape[0] is None:
        free[0] = torch.export.Dim("batch")
    if len(port.shape) > 1 and port.shape[1] is None:
        free[1] = torch.export.Dim("length", min=1, max=length)
    with plain_attention(), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of recurrences' flat weights, which are the layer's own
        return torch.export.export(module, (given,), dynamic_shapes=(free or None,))


def _explained(error: Exception, batch: int | None) -> str:
    """Returns what stopped torch.export, for people."""
    told = " ".join(str(error).split("\n\n")[0].split())[:300]
    place = where(error) or _own_line(str(error))
    at = f" at {place}" if place else ""
    kind = type(error).__name__
    if "specialized it to be a constant" in told and "batch" in told:
        return (
            f"the network computes with a fixed number of examples{at}, so a graph of any number of them cannot be made.\n"
            "Write x.shape[0] where it says len(x) or a number, or export for a fixed number: --batch 1"
        )
    if (
        kind in ("GuardOnDataDependentSymNode", "UserError", "Unsupported")
        or "data-dependent" in told.lower()
    ):
        return (
            f"torch.export cannot follow the network{at}: what it does depends on the values of an example ({told}).\n"
            "Write the choice as torch.where, or serve the run itself: netwright serve RUN"
        )
    return f"torch.export cannot follow the network{at}: {kind}: {told}"


def _own_line(text: str) -> str:
    """Returns file:line of a person's own code in the trace that an error of torch.export prints, or ""."""
    found = re.findall(r'File "([^"]+)", line (\d+), in \w+', text)
    own = [
        f"{file}:{line}" for file, line in found if "site-packages" not in file and "/netwright/" not in file
    ]
    return own[-1] if own else ""
