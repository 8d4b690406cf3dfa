"""How each layer fares at an epoch's end: its weights, their gradient and change, and the units behind its activations.

Nothing is computed twice for it: gradients are those of the epoch's last step, activations those of the validation's first batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from netwright.training.state import TrainingState

# More layers than a page can show; of a deeper network those that are evenly spaced, the first and the last among them.
LAYERS_AT_MOST = 100
# Evenly spaced weights of a layer whose change tells that of all: its error is about one part in 90, 1 / sqrt(2 * 4096).
SAMPLE = 4096
# An output of a sigmoid or tanh this near to its bounds, as a share of the distance between them, passes on hardly any gradient.
NEAR_BOUND = 0.01
BOUNDED: dict[type[nn.Module], tuple[float, float]] = {nn.Sigmoid: (0.0, 1.0), nn.Tanh: (-1.0, 1.0)}
ACTIVATIONS = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.ELU,
    nn.SELU,
    nn.CELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Softplus,
    nn.Softsign,
    nn.Hardswish,
    nn.Hardtanh,
    nn.Sigmoid,
    nn.Tanh,
)
# Where the checkpoint keeps the sample that the next epoch's change is measured against.
NOTE = "layer_weights"


@dataclass
class Activations:
    """What the first batch of an evaluation showed: of each activation layer the shares of dead units and of saturated outputs."""

    found: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def entries(self) -> dict[str, dict[str, float]]:
        return {
            name: {key: round(float(value), 4) for key, value in one.items()}
            for name, one in self.found.items()
        }


@contextmanager
def watched(network: nn.Module) -> Iterator[Activations]:
    """Gives what the activation layers put out for the first batch that the network is called on inside, seen by hooks.

    A unit is dead if its output is the same for every example and at every place: channel 1 of (N, C, ...), the last of
    (N, L, C) unless the network has convolutions over rows. What the network answers with is left out.
    The hooks go with the first batch.
    """
    seen = Activations()
    rows = any(isinstance(layer, nn.Conv1d) for layer in network.modules())
    hooks: list[Any] = []
    latest: list[Any] = []

    def remove() -> None:
        for hook in hooks:
            hook.remove()
        hooks.clear()
        latest.clear()

    def look(name: str) -> Any:
        def hook(layer: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.dim() >= 2 and len(output) > 1:
                seen.found[name] = _looked_at(layer, output.detach(), rows=rows)
                latest[:] = [name, output]

        return hook

    def end(module: nn.Module, args: Any, output: Any) -> None:
        if latest and output is latest[1]:  # an answer near its bounds is a sure one, and no fault
            seen.found.pop(latest[0])
        remove()

    chosen = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, ACTIVATIONS)]
    for name, layer in _spread(chosen):
        hooks.append(layer.register_forward_hook(look(name or "(the network)")))
    if hooks:
        hooks.append(network.register_forward_hook(end))
    try:
        yield seen
    finally:
        remove()


def _looked_at(layer: nn.Module, output: Tensor, *, rows: bool) -> dict[str, Tensor]:
    unit = output.dim() - 1 if output.dim() == 3 and not rows else 1
    others = [place for place in range(output.dim()) if place != unit]
    low, high = output.amin(others), output.amax(others)
    found = {"dead": (low == high).float().mean()}
    for kind, (least, most) in BOUNDED.items():
        if isinstance(layer, kind):
            near = NEAR_BOUND * (most - least)
            found["saturated"] = ((output < least + near) | (output > most - near)).float().mean()
    return found


def layers_of(state: TrainingState, activations: Activations) -> dict[str, dict[str, float | None]]:
    """Returns of each layer {`weights`, `gradient`, `change`} and of each activation {`dead`, `saturated`}, by their names.

    `weights`: the norm of all of a layer's parameters; `gradient`: that of the epoch's last step, after clipping, None for what
    does not learn; `change`: the norm of how they differ from the epoch before over their norm then, by an evenly spaced sample of
    4,096 (None in the first epoch). The sample is kept in the state's notes, and so in its checkpoints.
    """
    layers = _spread(
        [
            (name or "(the network)", own)
            for name, layer in state.network.named_modules()
            if (own := list(layer.parameters(recurse=False)))
        ]
    )
    earlier = state.notes.get(NOTE, {})
    kept: dict[str, Tensor] = {}
    measured: dict[str, list[Tensor]] = {}
    for name, own in layers:
        kept[name] = _sample(own)
        gradients = [one.grad for one in own if one.grad is not None]
        none = torch.full((), torch.nan, device=own[0].device)
        before = earlier.get(name)
        measured[name] = [
            _norm([one.detach() for one in own]),
            _norm(gradients) if gradients else none,
            none if before is None else _change(kept[name], before.to(kept[name].device)),
        ]
    state.notes[NOTE] = {name: sample.cpu() for name, sample in kept.items()}
    found: dict[str, dict[str, float | None]] = {
        name: dict(zip(("weights", "gradient", "change"), map(_shown, values), strict=True))
        for name, values in _read(measured).items()
    }
    for name, shares in activations.entries().items():
        found[name] = {**found.get(name, {}), **shares}
    return found


def _spread(items: list[Any]) -> list[Any]:
    if len(items) <= LAYERS_AT_MOST:
        return items
    places = torch.linspace(0, len(items) - 1, LAYERS_AT_MOST).round().long().tolist()
    return [items[place] for place in places]


def _sample(own: list[nn.Parameter]) -> Tensor:
    """Returns at most SAMPLE of a layer's weights, always the same ones."""
    share = max(1, SAMPLE // len(own))
    parts = [one.detach().reshape(-1) for one in own]
    return torch.cat([part[:: -(-len(part) // share)].float() for part in parts if len(part)])


def _norm(tensors: list[Tensor]) -> Tensor:
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(one.float()) for one in tensors]))


def _change(now: Tensor, before: Tensor) -> Tensor:
    return torch.linalg.vector_norm(now - before) / torch.linalg.vector_norm(before).clamp(min=1e-12)


def _read(measured: dict[str, list[Tensor]]) -> dict[str, list[float]]:
    """Returns the numbers; all are read from the device at once."""
    if not measured:
        return {}
    rows = torch.stack([torch.stack(values) for values in measured.values()]).tolist()
    return dict(zip(measured, rows, strict=True))


def _shown(value: float) -> float | None:
    return float(f"{value:.4g}") if value == value and abs(value) != float("inf") else None
