"""Outputs and losses of a network in evaluation mode."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from netwright.errors import DataError
from netwright.metrics.forecasts import ForecastErrors
from netwright.training.distributed import ALONE, Processes, divide_again, gathered
from netwright.training.losses import match_targets, to_probabilities

# Large enough that the fixed cost of a call disappears, small enough for the activations of a CNN.
EVALUATION_BATCH = 1000


class Batches(Protocol):
    """What training and evaluation need of a part of the data (`netwright.data.Split` has it)."""

    def __len__(self) -> int: ...

    def epoch(
        self, batch: int, *, seed: int, epoch: int, start: int = 0, share: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]: ...

    def batches(
        self, batch: int, order: Tensor | None = None, start: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]: ...


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Puts every layer into evaluation mode without gradients, and each back as it was afterwards.

    A batch norm that the user froze stays frozen: the flag of each module is restored, not one for all.
    """
    with modes_kept(network), torch.no_grad():
        network.eval()
        try:
            yield
        finally:
            divide_again(network)


@contextmanager
def modes_kept(network: nn.Module) -> Iterator[None]:
    """Afterwards puts each module back into training mode that was in it; all others must be in evaluation mode."""
    training = [module for module in network.modules() if module.training]
    try:
        yield
    finally:
        for module in training:
            module.training = True


def outputs_of(
    network: nn.Module,
    data: Batches | Iterable[Any],
    *,
    batch: int | None = None,
    precision: str = "32",
    processes: Processes = ALONE,
) -> tuple[Tensor, Tensor]:
    """Returns the outputs and targets of all examples, in their order, on the network's device.

    Outputs `(N, ...) float32`, targets `(N, ...)` as the data has them. Several processes compute a contiguous
    part each, and all of them get the whole; a loader of the user's own each of them reads to its end. `batch` None: as
    many at once as the data says (`evaluation_batch`), else EVALUATION_BATCH.
    """
    from netwright.training.precision import autocast, device_of

    device = device_of(network)
    if batch is None:
        batch = int(getattr(data, "evaluation_batch", EVALUATION_BATCH))
    known = len(data) if processes.alone and hasattr(data, "batches") else 0  # type: ignore[arg-type]
    outputs, targets = Rows(known), Rows(known)
    with evaluation_mode(network), autocast(precision, device):
        for x, y in _batches(data, batch, processes):
            outputs.add(network(x.to(device, non_blocking=True)).float())
            targets.add(y.to(device, non_blocking=True))
    if not outputs.pieces:
        raise DataError("nothing to evaluate: this part of the data holds no example")
    whole = outputs.whole(), targets.whole()
    if processes.alone or not hasattr(data, "batches"):
        return whole
    count = len(data)  # type: ignore[arg-type]
    return gathered(whole[0], count, processes), gathered(whole[1], count, processes)


class Rows:
    """Puts pieces of rows together; where they are `expected` in all, in one block from the first piece on.

    Small pieces that stay between large ones that go would keep the heap from using their memory again, and a list of pieces takes
    twice the memory while it is joined.
    """

    def __init__(self, expected: int = 0):
        self.expected = expected
        self.pieces: list[Tensor] = []
        self._block: Tensor | None = None
        self._filled = 0

    def add(self, piece: Tensor) -> None:
        """Takes the next rows, (n, ...)."""
        if self._block is None and not self.pieces and piece.ndim and len(piece) < self.expected:
            self._block = piece.new_empty((self.expected, *piece.shape[1:]))
        place = None if self._block is None else self._block[self._filled : self._filled + len(piece)]
        if place is not None and place.shape == piece.shape and place.dtype == piece.dtype:
            self.pieces.append(place.copy_(piece))
            self._filled += len(piece)
        else:
            self.pieces.append(piece)

    def whole(self) -> Tensor:
        """Returns all rows, (N, ...), in the order in which they came."""
        if self._block is not None and sum(map(len, self.pieces)) == self._filled == self.expected:
            return self._block
        return torch.cat(self.pieces)


def _batches(data: Any, batch: int, processes: Processes) -> Iterable[tuple[Tensor, Tensor]]:
    """This process's part of the data in batches; of equal number everywhere, because a sharded network's call is a joint one."""
    if not hasattr(data, "batches"):
        return data
    if processes.alone or not len(data):
        return data.batches(batch)
    from netwright.data.order import share_of

    own = torch.arange(len(data))[share_of(len(data), processes.share)]
    if len(own) < -(-len(data) // processes.world):
        own = torch.cat([own, torch.tensor([len(data) - 1])])  # fills up; `gathered` drops it
    return data.batches(batch, own)


def evaluate(
    network: nn.Module,
    data: Batches | Iterable[Any],
    loss: nn.Module,
    *,
    batch: int | None = None,
    precision: str = "32",
    processes: Processes = ALONE,
) -> dict[str, float]:
    """Returns `loss` and `accuracy` (class ids as targets) or `rmse` (numbers) over all of `data`.

    The loss is taken once over all outputs, so that a smaller last batch or class weights do not tilt it. It is that of
    the numbers as they are learned, the RMSE that of the data's own unit.
    """
    if getattr(data, "every_token", False):
        return token_scores(network, data, loss, precision=precision)
    if getattr(data, "horizon", None):
        mean, errors = forecast_errors(network, data, loss, precision=precision)
        return {"loss": mean, "rmse": errors.rmse()}
    outputs, targets = outputs_of(network, data, batch=batch, precision=precision, processes=processes)
    with torch.no_grad():
        value = loss(outputs, match_targets(targets, loss, outputs))
    scores = {"loss": float(value)}
    if targets.is_floating_point():
        values, targets = in_units(data, outputs.reshape(targets.shape)), in_units(data, targets)
        scores["rmse"] = float((values - targets).square().mean().sqrt())
    else:
        scores["accuracy"] = float((to_probabilities(outputs, loss).argmax(dim=1) == targets).float().mean())
    return scores


def forecast_errors(
    network: nn.Module, data: Any, loss: nn.Module | None = None, *, precision: str = "32"
) -> tuple[float, ForecastErrors]:
    """Returns the loss (0 without one) and the errors of the forecasts of all windows of `data`.

    Added up batch by batch: all outputs of many rows ahead take many times the memory of the data. Targets that were gaps are left
    out of the errors. Several processes compute all of it each.
    """
    from netwright.training.precision import autocast, device_of

    device = device_of(network)
    prepared = data.preparation
    errors = ForecastErrors(list(prepared.targets), prepared.target_std)
    total, count = 0.0, 0
    with evaluation_mode(network), autocast(precision, device):
        for rows in torch.arange(len(data)).split(data.evaluation_batch):
            x, y = data.prepared(rows)
            outputs, y = network(x.to(device)).float(), y.to(device)
            if loss is not None:
                total += float(loss(outputs, match_targets(y, loss, outputs))) * len(y)
            count += len(y)
            errors.add(outputs.reshape(y.shape), y, data.known_targets(rows))
    if not count:
        raise DataError("nothing to evaluate: this part of the data holds no window")
    return total / count, errors


def forecast_scores(
    network: nn.Module, data: Any, loss: nn.Module, *, precision: str = "32"
) -> dict[str, Any]:
    """Returns `loss` and the scores of `ForecastErrors` on all windows of `data`."""
    value, errors = forecast_errors(network, data, loss, precision=precision)
    return {"loss": value, **errors.scores()}


def in_units(data: Any, values: Tensor) -> Tensor:
    """Returns values (N, ...) as they are learned in the unit of the data, where its preparation scales them."""
    preparation = getattr(data, "preparation", None)
    return (
        values
        if preparation is None or not hasattr(preparation, "in_units")
        else preparation.in_units(values)
    )


def token_scores(
    network: nn.Module, data: Any, loss: nn.Module, *, precision: str = "32"
) -> dict[str, float]:
    """Returns `loss`, `perplexity`, `bits_per_character` and `accuracy` of a language model over all tokens of `data`.

    Outputs (N, V, L) logits, targets (N, L). Perplexity is e to the mean negative log-likelihood of a token; bits per character
    are those of all tokens together over the characters that they stand for, so that they can be compared between tokens of
    different kinds. Added up batch by batch, because the outputs for a whole text would not fit in memory. Several processes
    compute all of it each.
    """
    from netwright.training.precision import autocast, device_of

    device = device_of(network)
    sums = torch.zeros(3, dtype=torch.float64)
    count = 0
    with evaluation_mode(network), autocast(precision, device):
        for x, y in data.batches(data.evaluation_batch):
            x, y = x.to(device), y.to(device)
            outputs = network(x).float()
            nats = torch.nn.functional.cross_entropy(outputs, y, reduction="sum")
            right = (outputs.argmax(1) == y).sum()
            sums += torch.stack([loss(outputs, y) * y.numel(), nats, right]).double().cpu()
            count += y.numel()
    if not count:
        raise DataError("nothing to evaluate: this part of the text holds no token to predict")
    loss_sum, total, hits = sums.tolist()
    return {
        "loss": loss_sum / count,
        "perplexity": math.exp(min(total / count, 700.0)),
        "bits_per_character": total / math.log(2) / max(1, data.characters),
        "accuracy": hits / count,
    }
