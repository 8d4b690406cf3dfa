"""Everything that decides the rest of a run, in one object that can be saved and put back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from netwright.errors import CheckpointError
from netwright.training.distributed import ALONE, Processes, put_weights, total
from netwright.training.randomness import random_state, restore_random_state, seed_everything
from netwright.training.schedules import Schedule
from netwright.training.stopping import EarlyStopping

if TYPE_CHECKING:
    from netwright.training.average import Average
    from netwright.training.freezing import Freezing

VERSION = 1


@dataclass
class TrainingState:
    """The state of a run between two optimizer steps.

    `epoch` counts finished epochs, `batches` the batches of the present epoch that are consumed, `steps` the
    optimizer steps. The order of an epoch is a pure function of `seed` and `epoch`, so that these two and
    `batches` are the permutation and the place in it. `notes` holds plain values of whoever consumes the steps.

    With several `processes` everything but the random generators and the sum of the losses so far is the same
    in each. `parallel` is what a step calls instead of `network`, if it is another module: what exchanges the gradients of
    several processes, or the head of a frozen network.
    """

    network: nn.Module
    loss: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    device: torch.device
    seed: int = 0
    scaler: torch.amp.GradScaler | None = None
    average: Average | None = None
    freezing: Freezing | None = None
    processes: Processes = ALONE
    parallel: nn.Module | None = None
    stopping: EarlyStopping = field(default_factory=EarlyStopping)
    epoch: int = 0
    batches: int = 0
    steps: int = 0
    examples: int = 0
    notes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Summed on the device: reading it on the host is for the consumer to decide, not for every step.
        dtype = torch.float32 if self.device.type == "mps" else torch.float64
        self.loss_sum: Tensor = torch.zeros((), dtype=dtype, device=self.device)

    @property
    def epoch_loss(self) -> Tensor:
        """The mean training loss over the examples of this epoch so far: 0-d tensor on the device."""
        return self.total_loss() / max(self.examples, 1)

    def total_loss(self) -> Tensor:
        """Returns the sum of the losses of this epoch's examples so far; several processes must ask at the same time."""
        return total(self.loss_sum, self.processes)

    @property
    def own_device(self) -> torch.device | None:
        """The one device whose generator this process may touch; None: every device is its own."""
        return None if self.processes.alone else self.device

    def seed_apart(self) -> None:
        """Gives each process but the first random numbers of its own (dropout, augmentation), from seed, steps and rank."""
        if not self.processes.first:
            seed_everything((self.seed * 1_000_003 + self.steps * 7_919 + self.processes.rank) % 2**63)

    def state_dict(self) -> dict[str, Any]:
        """Returns the whole state, the random generators included, in types that `weights_only=True` reads."""
        parts = {"scaler": self.scaler, "average": self.average, "schedule": self.schedule.scheduler}
        return {
            "version": VERSION,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            **{name: part.state_dict() if part is not None else None for name, part in parts.items()},
            "stopping": self.stopping.state_dict(),
            "seed": self.seed,
            "epoch": self.epoch,
            "batches": self.batches,
            "steps": self.steps,
            "examples": self.examples,
            "loss_sum": self.total_loss(),
            "notes": self.notes,
            "random": random_state(self.own_device),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts back what `state_dict` returned.

        Raises:
            CheckpointError: the state belongs to another network, or a part of it is missing.
        """
        if state.get("version") != VERSION:
            raise CheckpointError(
                f"the checkpoint has version {state.get('version')!r}, this netwright reads version {VERSION}"
            )
        check_weights_fit(self.network, state["network"])
        put_weights(self.network, state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        parts = {"scaler": self.scaler, "average": self.average, "schedule": self.schedule.scheduler}
        for name, part in parts.items():
            if (part is None) != (state[name] is None):
                there, here = ("no", "a") if state[name] is None else ("a", "no")
                raise CheckpointError(
                    f"the checkpoint has {there} {name}, this recipe asks for {here} {name}"
                )
            if part is not None:
                part.load_state_dict(state[name])
        self.stopping.load_state_dict(state["stopping"])
        self.seed, self.epoch, self.batches = state["seed"], state["epoch"], state["batches"]
        self.steps, self.examples = state["steps"], state["examples"]
        self.loss_sum.zero_()
        if self.processes.first:
            self.loss_sum.copy_(state["loss_sum"])
        self.notes = dict(state["notes"])
        if state["random"] is not None:
            restore_random_state(state["random"], self.own_device)
        else:
            self.seed_apart()


def check_weights_fit(network: nn.Module, weights: dict[str, Any]) -> None:
    """Raises CheckpointError, naming what differs, unless `weights` are those of `network`."""
    own = network.state_dict()
    missing = [key for key in own if key not in weights]
    extra = [key for key in weights if key not in own]
    shapes = [
        f"{key} is {tuple(weights[key].shape)} there and {tuple(value.shape)} here"
        for key, value in own.items()
        if key in weights and isinstance(value, Tensor) and value.shape != weights[key].shape
    ]
    if not (missing or extra or shapes):
        return
    lines = ["the weights are from another network:"]
    for title, items in (("missing", missing), ("unexpected", extra), ("of another shape", shapes)):
        if items:
            more = f" and {len(items) - 3} more" if len(items) > 3 else ""
            lines.append(f"  {title}: {', '.join(items[:3])}{more}")
    raise CheckpointError("\n".join(lines))
