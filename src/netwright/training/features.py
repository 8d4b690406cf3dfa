"""What a frozen network gives for each example, computed once: its head is then trained on that."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from netwright.training.evaluation import evaluation_mode
from netwright.training.precision import autocast, device_of

# Examples that go through the network at once: with more a CPU waits for memory.
AT_ONCE = 64
# The share of free memory that features may take.
MEMORY_AT_MOST = 0.25


@dataclass(frozen=True, eq=False)
class FeatureSplit:
    """A part of the data as the head of a frozen network sees it, in the batches and the order of its `origin`.

    `features` (N, ...) float, on the device.
    """

    features: Tensor
    origin: Any

    @property
    def targets(self) -> Tensor:
        targets: Tensor = self.origin.targets
        return targets

    @property
    def preparation(self) -> Any:
        return self.origin.preparation

    @property
    def evaluation_batch(self) -> int:
        return 1000

    def __len__(self) -> int:
        return len(self.features)

    def epoch(
        self, batch: int, *, seed: int, epoch: int, start: int = 0, share: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields the batches of one epoch from batch `start` on, of the examples that the origin's have."""
        return self.batches(batch, self.origin.arranged(batch, seed=seed, epoch=epoch), start)

    def batches(
        self, batch: int, order: Tensor | None = None, start: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields (features, targets); `order` defaults to the stored one, `start` batches are jumped over."""
        order = torch.arange(len(self)) if order is None else order.cpu()
        for rows in order[start * batch :].split(batch):
            if len(rows):
                yield (
                    self.features.index_select(0, rows.to(self.features.device)),
                    self.targets.index_select(0, rows.to(self.targets.device)),
                )


def head_input(network: nn.Module, head: nn.Module, example: Tensor) -> Tensor | None:
    """Returns what the head gets for a prepared example (1, ...), if its output is that of the network; else None.

    Then the head alone, given that, gives what the network gives.
    """
    seen: list[tuple[tuple[Any, ...], Any]] = []
    hook = head.register_forward_hook(lambda module, args, output: seen.append((args, output)))
    try:
        with evaluation_mode(network):
            outputs = network(example.to(device_of(network)))
    finally:
        hook.remove()
    if len(seen) != 1 or len(seen[0][0]) != 1 or not isinstance(seen[0][0][0], Tensor):
        return None
    (features,), given = seen[0]
    same = isinstance(outputs, Tensor) and isinstance(given, Tensor) and torch.equal(outputs, given)
    return features if same else None


def features_of(network: nn.Module, head: nn.Module, part: Any, *, precision: str = "32") -> FeatureSplit:
    """Returns what the head gets for each example of a part, with the network in evaluation mode."""
    device = device_of(network)
    found: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda module, args: found.append(args[0].float()))
    batch = min(AT_ONCE, int(getattr(part, "evaluation_batch", AT_ONCE)))
    try:
        with evaluation_mode(network), autocast(precision, device):
            for x, _ in part.batches(batch):
                network(x.to(device, non_blocking=True))
    finally:
        hook.remove()
    return FeatureSplit(torch.cat(found), part)


def fits_in_memory(example: Tensor, count: int) -> bool:
    """Whether features like those of this example (1, ...) of so many examples may be held."""
    from netwright.data.memory import free_memory

    free = free_memory()
    needed = count * math.prod(example.shape[1:]) * 4
    return free is None or needed < MEMORY_AT_MOST * free
