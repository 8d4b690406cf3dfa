"""Outputs and losses of a network in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from netwright.errors import DataError
from netwright.training.losses import match_targets, to_probabilities

# Large enough that the fixed cost of a call disappears, small enough for the activations of a CNN.
EVALUATION_BATCH = 1000


class Batches(Protocol):
    """What training and evaluation need of a part of the data (`netwright.data.Split` has it)."""

    def __len__(self) -> int: ...

    def epoch(
        self, batch: int, *, seed: int, epoch: int, start: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]: ...

    def batches(
        self, batch: int, order: Tensor | None = None, start: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]: ...


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Puts every layer into evaluation mode without gradients, and each back as it was afterwards.

    A batch norm that the user froze stays frozen: the flag of each module is restored, not one for all.
    """
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def outputs_of(
    network: nn.Module,
    data: Batches | Iterable[Any],
    *,
    batch: int = EVALUATION_BATCH,
    precision: str = "32",
) -> tuple[Tensor, Tensor]:
    """Returns the outputs and targets of all examples, in their order, on the network's device.

    Outputs `(N, ...) float32`, targets `(N, ...)` as the data has them.
    """
    from netwright.training.precision import autocast, device_of

    device = device_of(network)
    outputs: list[Tensor] = []
    targets: list[Tensor] = []
    with evaluation_mode(network), autocast(precision, device):
        batches = data.batches(batch) if hasattr(data, "batches") else data
        for x, y in batches:
            outputs.append(network(x.to(device, non_blocking=True)).float())
            targets.append(y.to(device, non_blocking=True))
    if not outputs:
        raise DataError("nothing to evaluate: this part of the data holds no example")
    return torch.cat(outputs), torch.cat(targets)


def evaluate(
    network: nn.Module,
    data: Batches | Iterable[Any],
    loss: nn.Module,
    *,
    batch: int = EVALUATION_BATCH,
    precision: str = "32",
) -> dict[str, float]:
    """Returns `loss` and `accuracy` (class ids as targets) or `rmse` (numbers) over all of `data`.

    The loss is taken once over all outputs, so that a smaller last batch or class weights do not tilt it.
    """
    outputs, targets = outputs_of(network, data, batch=batch, precision=precision)
    with torch.no_grad():
        value = loss(outputs, match_targets(targets, loss, outputs))
    scores = {"loss": float(value)}
    if targets.is_floating_point():
        scores["rmse"] = float((outputs.reshape(targets.shape) - targets).square().mean().sqrt())
    else:
        scores["accuracy"] = float((to_probabilities(outputs, loss).argmax(dim=1) == targets).float().mean())
    return scores
