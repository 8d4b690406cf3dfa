"""The training loop, as an iterator of steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from netwright.errors import DataError, RecipeError
from netwright.training.allocation import memory_kept
from netwright.training.average import Average
from netwright.training.distributed import ALONE, Processes, parallel, shard, without_exchange
from netwright.training.evaluation import Batches
from netwright.training.freezing import Freezing
from netwright.training.losses import make_loss, match_targets
from netwright.training.optimizers import make_optimizer, optimizers, takes_network
from netwright.training.precision import autocast, choose_device, make_scaler
from netwright.training.schedules import make_schedule
from netwright.training.state import TrainingState

Data = Batches | Iterable[tuple[Tensor, Tensor]]


@dataclass(slots=True)
class Step:
    """One optimizer step that has just been taken.

    `number` counts from 1 over the whole run, `epoch` from 1. `loss` is a 0-d tensor and `outputs`
    `(N, ...)` and `targets` `(N, ...)` are the last batch, all detached and on the device: reading a number
    from them waits for the device. Each of several processes has those of its part of the batch. `state` can be
    saved at this moment and holds the averages so far.
    """

    number: int
    epoch: int
    loss: Tensor
    outputs: Tensor
    targets: Tensor
    ends_epoch: bool
    state: TrainingState


def begin(
    network: nn.Module,
    data: Data,
    *,
    loss: Any = "auto",
    optimizer: Any = "adam",
    lr: float | None = None,
    schedule: Any = "constant",
    epochs: int = 1,
    batch: int = 64,
    accumulate: int = 1,
    seed: int = 0,
    device: str | torch.device = "auto",
    precision: str = "32",
    ema: float | None = None,
    task: str | None = None,
    num_classes: int | None = None,
    class_counts: Sequence[int] | None = None,
    loss_options: dict[str, Any] | None = None,
    optimizer_options: dict[str, Any] | None = None,
    schedule_options: dict[str, Any] | None = None,
    freezing: Freezing | None = None,
    processes: Processes = ALONE,
    sharded: bool = False,
) -> TrainingState:
    """Returns the state of a run before its first step: the network on its device and all that trains it.

    `freezing`: which parts of a pretrained network learn when. `processes`: who trains together, each of which must call this at the same time. `sharded`: each of them
    keeps only its part of the network, its gradients and the optimizer's state. The gradient of a step is that of
    the mean over the whole batch. Two things see a process's part of it alone: a batch norm, and the division by
    the sum of class weights (as with `accumulate`), whose result differs as far as the parts' classes do.

    Raises:
        RecipeError: an entry that cannot be, also one that several processes cannot do.
    """
    place = device if isinstance(device, torch.device) else choose_device(device)
    if not processes.alone:
        place = processes.device(place)
        processes.check_batch(batch)
        _check_shared(data)
    autocast(precision, place)  # an unknown precision is refused here, not at the first step
    network.to(place)
    if freezing is not None:
        _check_freezing(freezing, optimizer, processes, sharded=sharded)
        freezing.apply(network, 0)
    elif not network.training:
        network.train()
    average = Average(network, decay=ema) if ema is not None else None  # before the network is wrapped
    if average is not None and sharded:
        shard(average.network, processes, device=place)
    wrapped = None if processes.alone else _wrapped(network, data, place, processes, sharded=sharded)
    task = task or _task_of(data)
    if loss == "auto":
        loss = "mse" if task == "regression" else "cross-entropy"
    chosen_loss = make_loss(
        loss,
        task=task,
        num_classes=num_classes,
        class_counts=class_counts,
        device=place,
        **(loss_options or {}),
    )
    groups = None if freezing is None else freezing.groups(network)
    chosen_optimizer = make_optimizer(optimizer, network, lr=lr, groups=groups, **(optimizer_options or {}))
    steps_per_epoch = steps_in_epoch(data, batch=batch, accumulate=accumulate)
    chosen_schedule = make_schedule(
        schedule,
        chosen_optimizer,
        total_steps=steps_per_epoch * epochs,
        steps_per_epoch=steps_per_epoch,
        **(schedule_options or {}),
    )
    return TrainingState(
        network=network,
        loss=chosen_loss,
        optimizer=chosen_optimizer,
        schedule=chosen_schedule,
        device=place,
        seed=seed,
        scaler=make_scaler(precision, place),
        average=average,
        freezing=freezing,
        processes=processes,
        parallel=wrapped,
    )


def _check_freezing(freezing: Freezing, optimizer: Any, processes: Processes, *, sharded: bool) -> None:
    builder = optimizers[optimizer] if isinstance(optimizer, str) else optimizer
    by_network = callable(builder) and takes_network(builder)
    freezing.check(
        optimizer_takes_network=by_network,
        processes=processes.world,
        sharded=sharded,
        called=str(optimizer),
    )


def _check_shared(data: Data) -> None:
    if not hasattr(data, "epoch"):
        raise RecipeError(
            "several processes share out the data that netwright.load returns; a loader of your own they cannot.\n"
            "Give the data set instead of the loader."
        )


def _wrapped(
    network: nn.Module, data: Any, place: torch.device, processes: Processes, *, sharded: bool
) -> nn.Module | None:
    """What a step calls in place of the network; a network that is sharded stays what is called."""
    if sharded:
        shard(network, processes, device=place)
        return None
    example, _ = data.prepared(slice(0, 1))
    return parallel(network, processes, example=example.to(place))


def _task_of(data: Data) -> str:
    targets = getattr(data, "targets", None)
    if targets is None:
        return "classification"
    return "regression" if targets.is_floating_point() else "classification"


def steps_in_epoch(data: Data, *, batch: int, accumulate: int) -> int:
    """Returns the number of optimizer steps in one epoch.

    Raises:
        DataError: there is no example, or the data is a stream without a length.
    """
    if not hasattr(data, "__len__"):
        raise DataError("the data has no length: give a data set, or a loader whose len() is known")
    batches = -(-len(data) // batch) if hasattr(data, "epoch") else len(data)  # type: ignore[arg-type]
    if batches == 0:
        raise DataError("there is nothing to train on: the training part holds no example")
    return -(-batches // accumulate)


def train(
    network: nn.Module,
    data: Data,
    *,
    epochs: int = 1,
    batch: int = 64,
    accumulate: int = 1,
    clip: float | None = None,
    precision: str = "32",
    seed: int = 0,
    state: TrainingState | None = None,
    **options: Any,
) -> Iterator[Step]:
    """Trains `network` on `data`, one optimizer step for each turn of the consumer's loop.

    Args:
        network: any module; it is moved to the device and trained in place.
        data: `netwright.load(...).train`, or any sized loader of `(inputs, targets)` batches.
        batch: examples a batch (a loader of your own keeps its own). accumulate: batches a step; the gradient
            is that of the mean over all their examples. clip: largest gradient norm.
        loss, optimizer, schedule, lr, device, ema: names from the registries or objects of yours.
        state: where to go on; made anew from the other arguments if not given.

    Raises:
        NetwrightError: a name or an option is not known, or the data does not fit.

    >>> import torch, netwright as nw
    >>> torch.manual_seed(0) and None
    >>> net = torch.nn.Linear(4, 2)
    >>> loader = [(torch.randn(8, 4), torch.randint(2, (8,))) for _ in range(5)]
    >>> [step.number for step in nw.train(net, loader, epochs=2, device="cpu") if step.ends_epoch]
    [5, 10]
    """
    if batch < 1 or accumulate < 1:
        raise RecipeError(f"batch and accumulate are at least 1, not {batch} and {accumulate}")
    if state is None:
        state = begin(
            network,
            data,
            epochs=epochs,
            batch=batch,
            accumulate=accumulate,
            precision=precision,
            seed=seed,
            **options,
        )
    elif options:
        raise RecipeError(f"{', '.join(options)}: decided by the state that is given; leave it out")
    return _with_memory_kept(
        state,
        _steps(
            state, data, epochs=epochs, batch=batch, accumulate=accumulate, clip=clip, precision=precision
        ),
    )


def _with_memory_kept(state: TrainingState, steps: Iterator[Step]) -> Iterator[Step]:
    with memory_kept(state.device):
        yield from steps


def _steps(
    state: TrainingState,
    data: Data,
    *,
    epochs: int,
    batch: int,
    accumulate: int,
    clip: float | None,
    precision: str,
) -> Iterator[Step]:
    network, loss, optimizer, schedule = state.network, state.loss, state.optimizer, state.schedule
    scaler, average, device = state.scaler, state.average, state.device
    processes, called = state.processes, state.parallel or network
    alone = processes.alone
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def forward_backward(x: Tensor, y: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        """Forward and backward; returns outputs and loss, detached."""
        with autocast(precision, device):
            outputs = called(x)
            value = loss(outputs, match_targets(y, loss, outputs))
        part = value if weight == 1.0 else value * weight
        (part if scaler is None else scaler.scale(part)).backward()
        return outputs.detach(), value.detach()

    while state.epoch < epochs:
        if state.freezing is not None:
            state.freezing.apply(network, state.epoch)
        if state.batches == 0:
            state.loss_sum.zero_()
            state.examples = 0
        for micro_batches, ends_epoch in _groups(data, state, batch=batch, size=accumulate):
            if alone:
                sizes = [len(y) for _, y in micro_batches]
                examples = sum(sizes)
            else:
                sizes, examples = _shares(len(micro_batches), data, state, batch=batch)
            optimizer.zero_grad(set_to_none=True)
            for number, (x, y) in enumerate(micro_batches, start=1):
                x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
                # Weighted by size, so that a smaller last batch counts by its examples; times the number of
                # processes, because what is exchanged is the mean of their gradients.
                weight = sizes[number - 1] * processes.world / examples
                if alone or number == len(micro_batches):
                    outputs, value = forward_backward(x, y, weight)
                else:
                    with without_exchange(called):
                        outputs, value = forward_backward(x, y, weight)
                state.loss_sum.add_(value, alpha=sizes[number - 1])
            if scaler is not None:
                scaler.unscale_(optimizer)
            if clip is not None:
                nn.utils.clip_grad_norm_(parameters, clip)
            if scaler is None:
                optimizer.step()
            else:
                scaler.step(optimizer)
                scaler.update()
            if average is not None:
                average.update(network)
            state.steps += 1
            state.examples += examples
            state.batches += len(micro_batches)
            if schedule.scheduler is not None and schedule.per == "step":
                schedule.scheduler.step()
            if ends_epoch:
                state.epoch += 1
                state.batches = 0
                if schedule.scheduler is not None and schedule.per == "epoch" and not schedule.needs_score:
                    schedule.scheduler.step()
            yield Step(
                number=state.steps,
                epoch=state.epoch if ends_epoch else state.epoch + 1,
                loss=value,
                outputs=outputs,
                targets=y,
                ends_epoch=ends_epoch,
                state=state,
            )


def _shares(count: int, data: Data, state: TrainingState, *, batch: int) -> tuple[list[int], int]:
    """How many examples of each of the next batches this process counts, and how many all processes do together.

    A process for which a small last batch has left nothing counts none of the one example that it is given.
    """
    from netwright.data.order import share_of

    first = state.batches * batch
    rest = range(first, min(first + count * batch, len(data)), batch)  # type: ignore[arg-type]
    whole = [min(batch, len(data) - begin) for begin in rest]  # type: ignore[arg-type]
    own = [share_of(count, state.processes.share) for count in whole]
    return [rows.stop - rows.start for rows in own], sum(whole)


def _groups(
    data: Data, state: TrainingState, *, batch: int, size: int
) -> Iterator[tuple[list[tuple[Tensor, Tensor]], bool]]:
    """Yields the batches of each step of the present epoch, from where the state stands, and whether it is the last."""
    total = steps_in_epoch(data, batch=batch, accumulate=size)
    done = state.batches // size
    if hasattr(data, "epoch"):
        part: dict[str, Any] = {} if state.processes.alone else {"share": state.processes.share}
        batches = data.epoch(batch, seed=state.seed, epoch=state.epoch, start=state.batches, **part)
    else:
        # A loader of the user's cannot jump: what was consumed is read again and passed over.
        batches = islice(iter(data), state.batches, None)
    for number in range(done + 1, total + 1):
        group = list(islice(batches, size))
        if not group:
            raise DataError(
                f"the loader ended after {(number - 1) * size} batches, but its len() promised {total * size}"
            )
        yield group, number == total
