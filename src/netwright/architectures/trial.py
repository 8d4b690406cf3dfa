"""One example through the network, before anything is trained: does what comes out fit the labels?"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netwright.architectures.user_file import where
from netwright.errors import NetworkError


def try_on_example(
    network: nn.Module,
    example: Tensor,
    num_outputs: int,
    *,
    task: str = "classification",
    single_logit: bool = False,
    output_shape: Sequence[int] | None = None,
) -> Tensor:
    """Returns what the network gives for one prepared example, (1, num_outputs) float, or says what is wrong.

    `example` is (1, ...), a batch of one, and is moved to the network's device. With `single_logit`, for two
    classes and a loss such as bce-with-logits, (1, 1) and (1,) are also right. Of a language model (task "language") the
    example is (1, L) and (1, num_outputs, L) is right; with `output_shape`, that of a forecast, so is (1, *output_shape). The network runs in eval mode and
    without gradients; its mode, its buffers, and every random generator are afterwards as they were. Raises
    NetworkError if forward fails (with the line of the person's own code) or gives something else.

    >>> try_on_example(nn.Linear(4, 3), torch.zeros(1, 4), 10)
    Traceback (most recent call last):
    netwright.errors.NetworkError: the network gives (1, 3) for one example, but (1, 10) is needed: 10 classes, one output for each.
    Change its last layer to 10 outputs.
    """
    place = next((tensor.device for tensor in [*network.parameters(), *network.buffers()]), example.device)
    try:
        with untouched(network), torch.no_grad():
            outputs = network(example.to(place))
    except Exception as error:
        raise _forward_failed(example, error) from error
    if task == "language":
        _check_tokens(outputs, num_outputs, example.shape[1])
    elif output_shape is None or not _is_forecast(outputs, output_shape):
        _check(outputs, num_outputs, task=task, single_logit=single_logit, output_shape=output_shape)
    return outputs


def _is_forecast(outputs: Any, output_shape: Sequence[int]) -> bool:
    shaped = isinstance(outputs, Tensor) and tuple(outputs.shape) == (1, *output_shape)
    return shaped and outputs.is_floating_point()


def _check(
    outputs: Any,
    num_outputs: int,
    *,
    task: str,
    single_logit: bool,
    output_shape: Sequence[int] | None = None,
) -> None:
    if not isinstance(outputs, Tensor):
        raise NetworkError(
            f"the network gives a {type(outputs).__name__} for one example, but one tensor (1, {num_outputs}) is "
            "needed.\nReturn only the outputs from `forward`."
        )
    if not outputs.is_floating_point():
        raise NetworkError(
            f"the network gives {outputs.dtype} for one example, but floating-point outputs are needed.\n"
            "Return the outputs themselves from `forward`, not the classes chosen by argmax."
        )
    shape = tuple(outputs.shape)
    if shape == (1, num_outputs) or (single_logit and num_outputs <= 2 and shape in {(1, 1), (1,)}):
        return
    if task == "classification":
        meaning = f"{num_outputs} classes, one output for each"
    else:
        meaning = f"{num_outputs} number{'s' if num_outputs > 1 else ''} for each example"
    if output_shape is not None and len(output_shape) == 2:
        advice = f"A forecast of {output_shape[0]} rows of {output_shape[1]} columns is (N, {output_shape[0]}, {output_shape[1]})."
    elif len(shape) == 2 and shape[0] == 1:
        advice = f"Change its last layer to {num_outputs} outputs."
        if shape == (1, 1) and num_outputs == 2:
            advice += " One output for two classes goes with the loss bce-with-logits."
    elif shape == (1,) and num_outputs == 1:
        advice = "Keep the last dimension: return `outputs.unsqueeze(1)` from `forward`."
    else:
        advice = "`forward` takes a batch (N, ...) and must return one row for each example of it."
    raise NetworkError(
        f"the network gives {shape} for one example, but (1, {num_outputs}) is needed: {meaning}.\n{advice}"
    )


def _check_tokens(outputs: Any, vocabulary: int, length: int) -> None:
    wanted = (1, vocabulary, length)
    came = tuple(outputs.shape) if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
    if came != wanted or not outputs.is_floating_point():
        raise NetworkError(
            f"the network gives {came} for one window of {length} tokens, but {wanted} is needed: for each of its tokens a "
            f"logit for each of {vocabulary} that may follow.\nReturn `logits.transpose(1, 2)` from `forward`."
        )


def _forward_failed(example: Tensor, error: Exception) -> NetworkError:
    lines = str(error).strip().splitlines() or [""]
    line = where(error)
    return NetworkError(
        f"the network cannot take an example of shape {tuple(example.shape)} {example.dtype}:\n"
        f"{type(error).__name__}: {lines[0]}" + (f"\nat {line}" if line else "")
    )


@contextmanager
def untouched(network: nn.Module) -> Iterator[None]:
    """Eval mode inside; afterwards modes, buffers and random generators are as they were."""
    modes = [(module, module.training) for module in network.modules()]
    buffers = [
        (buffer, buffer.detach().clone()) for buffer in network.buffers() if not nn.parameter.is_lazy(buffer)
    ]
    python_state, numpy_state = random.getstate(), np.random.get_state()
    kinds = {tensor.device.type for tensor in [*network.parameters(), *network.buffers()]} - {"cpu", "meta"}
    device_states = [(kind, torch.get_device_module(kind).get_rng_state()) for kind in sorted(kinds)]
    cpu_state = torch.get_rng_state()
    try:
        network.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training
        for buffer, value in buffers:
            with torch.no_grad():
                buffer.copy_(value)
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.set_rng_state(cpu_state)
        for kind, state in device_states:
            torch.get_device_module(kind).set_rng_state(state)
