"""Which stages of a pretrained network learn in which epoch, and how fast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from netwright.errors import RecipeError

Freeze = Literal["backbone", "gradual", "none"]
BatchNorm = Literal["frozen", "adapt"]


@dataclass(frozen=True)
class Freezing:
    """A network in stages from the first layers to the last, and its head, which always learns.

    Args:
        stages: of each stage the names of its modules; parameters of no module named here belong to the first stage.
        head: the name of the module that is made anew; None: the last stage is it.
        freeze: "backbone" (the stages never learn), "none" (all learn from the beginning), or "gradual" (one stage more every
            `every` epochs, from the last to the first, the head alone at first; Howard & Ruder, arXiv:1801.06146, section 3.3).
        rate, decay: the learning rate of the last stage over that of the head, and of each earlier stage over that of the next
            (discriminative fine-tuning, same source).
        batch_norm: in stages that learn, statistics of batch norms stay ("frozen") or follow the batches ("adapt").

    A stage that does not learn computes as in evaluation: no dropout, and its statistics stay. While none learns, neither is
    there dropout before the head. Everything is a function of the epoch, so that nothing needs to be saved.
    """

    stages: tuple[tuple[str, ...], ...]
    head: str | None
    freeze: Freeze = "backbone"
    every: int = 1
    rate: float = 1.0
    decay: float = 1.0
    batch_norm: BatchNorm = "frozen"

    def learning(self, epoch: int) -> int:
        """Returns how many of the stages learn in an epoch counted from 0.

        >>> gradual = Freezing((("a",), ("b",)), "head", freeze="gradual", every=2)
        >>> [gradual.learning(epoch) for epoch in range(5)]
        [0, 0, 1, 1, 2]
        """
        if self.freeze == "gradual":
            least = 1 if self.head is None else 0
            return min(len(self.stages), max(least, epoch // self.every))
        return len(self.stages) if self.freeze == "none" else 0

    @property
    def changes(self) -> bool:
        """Whether what learns differs from epoch to epoch."""
        return self.freeze == "gradual"

    def factors(self) -> list[float]:
        """Returns for each stage, and then for the head, what the learning rate is multiplied by."""
        count = len(self.stages)
        own = [self.rate * self.decay ** (count - 1 - place) for place in range(count)]
        return [*own, 1.0] if self.head is not None else [*own[:-1], 1.0]

    def groups(self, network: nn.Module) -> list[tuple[list[nn.Parameter], float]]:
        """Returns the parameters of each stage, and then of the head, with the factor of their learning rate; each parameter once.

        A parameter that several share belongs to the first of them, so that a list may be empty.
        """
        named = list(network.named_parameters())
        taken: set[str] = set()
        parts: list[list[nn.Parameter]] = []
        heads = [(self.head,)] if self.head is not None else []
        for modules in [*self.stages, *heads]:
            own = [name for name, _ in named if name not in taken and _inside(name, modules)]
            taken.update(own)
            parts.append([parameter for name, parameter in named if name in own])
        rest = [parameter for name, parameter in named if name not in taken]
        parts = [[*rest, *parts[0]], *parts[1:]] if parts else [rest]
        return list(zip(parts, self.factors() or [1.0], strict=True))

    def apply(self, network: nn.Module, epoch: int) -> None:
        """Sets what learns in this epoch (counted from 0): who has gradients, and who is in training mode."""
        count = self.learning(epoch)
        frozen, learning = self.stages[: len(self.stages) - count], self.stages[len(self.stages) - count :]
        free = {id(one) for part, _ in self.groups(network)[len(frozen) :] for one in part}
        for parameter in network.parameters():
            parameter.requires_grad_(id(parameter) in free)
        network.train()
        if not learning:  # nothing but the head, whatever stands between it and the stages
            network.eval()
            if self.head is not None:
                network.get_submodule(self.head).train()
        for name in _names(frozen):
            network.get_submodule(name).eval()
        if self.batch_norm == "frozen":
            for name in _names(learning if self.head is not None else learning[:-1]):
                for module in network.get_submodule(name).modules():
                    if isinstance(module, nn.modules.batchnorm._NormBase):
                        module.eval()

    def check(self, *, optimizer_takes_network: bool, processes: int, sharded: bool, called: str) -> None:
        """Raises RecipeError for what cannot be done with this optimizer or these processes."""
        several_rates = self.freeze == "none" and len(set(self.factors())) > 1
        if optimizer_takes_network and (self.changes or several_rates):
            raise RecipeError(
                f"{called} sorts the weights itself, so it goes with one learning rate and without gradual unfreezing.\n"
                "Take adamw, or --set transfer.freeze=none --set transfer.backbone_lr=1 --set transfer.layer_decay=1"
            )
        if processes > 1 and self.changes:
            raise RecipeError(
                "transfer.freeze=gradual goes with one process: several settle in the beginning which weights they exchange.\n"
                "Take transfer.freeze=backbone or none, or leave --processes out"
            )
        if sharded:
            raise RecipeError("train.shard goes without a transfer: leave one of them out")


def _inside(name: str, modules: Sequence[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def _names(stages: Sequence[tuple[str, ...]]) -> Iterator[str]:
    for stage in stages:
        yield from stage
