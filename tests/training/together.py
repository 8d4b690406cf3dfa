"""What each of several processes does for test_distributed.py: `together.py FOLDER`, with torchrun's variables set.

Writes FOLDER/<world>-<rank>.pt. The processes of a larger world go on from what those of a smaller one left.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from netwright.data import load
from netwright.errors import NetwrightError
from netwright.training.distributed import (
    ALONE,
    Agreement,
    Processes,
    agreed,
    joined,
    shard,
    take_from_first,
    whole_weights,
)
from netwright.training.evaluation import evaluate, outputs_of
from netwright.training.loop import begin, train
from netwright.training.shared_checkpoints import SharedCheckpoints, restore

STEPS_BEFORE = 4
# name -> examples, and what train is given. 8 x 6 + 7 and 8 x 6 + 1: the last batch is uneven, or has one example.
WAYS: dict[str, tuple[int, dict[str, Any]]] = {
    "sgd": (55, {"optimizer": "sgd-momentum", "lr": 0.1}),
    "adam": (55, {"optimizer": "adam", "lr": 0.01}),
    "adam average": (55, {"optimizer": "adam", "lr": 0.01, "ema": 0.8}),
    "one left": (49, {"optimizer": "sgd", "lr": 0.1}),
    "accumulate": (55, {"optimizer": "adam", "lr": 0.01, "accumulate": 3, "clip": 0.05}),
    "average": (49, {"optimizer": "sgd", "lr": 0.1, "ema": 0.8}),
    "numbers": (55, {"optimizer": "sgd", "lr": 0.05, "loss": "mse"}),
    "muon": (55, {"optimizer": "muon", "lr": 0.01}),
    "bf16": (55, {"optimizer": "sgd", "lr": 0.1, "precision": "bf16-mixed"}),
    "unused": (55, {"optimizer": "sgd", "lr": 0.1}),
}
SHARDED = ("sgd", "adam", "one left", "accumulate", "average", "muon")
LOOP = ("accumulate", "clip", "precision")


class WithUnused(nn.Module):
    """A network with a layer that no output depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


def examples(count: int, *, numbers: bool = False) -> Any:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 6, generator=generator)
    y = x[:, :3] * 2 if numbers else (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    return load(x, y, validation=0, test_share=0).train


def small(name: str = "", *, dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(1)
    if name == "unused":
        return WithUnused()
    hidden = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Dropout(dropout))
    return nn.Sequential(hidden, nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 3))


def prepared(
    name: str, processes: Processes, *, sharded: bool = False, epochs: int = 2
) -> tuple[Any, Any, dict]:
    """The data, the state and the options of the loop."""
    count, options = WAYS[name]
    data = examples(count, numbers=name == "numbers")
    loop = {key: value for key, value in options.items() if key in LOOP}
    state = begin(
        small(name),
        data,
        **{key: value for key, value in options.items() if key not in ("clip",)},
        batch=8,
        epochs=epochs,
        seed=5,
        device="cpu",
        processes=processes,
        sharded=sharded,
    )
    return data, state, {**loop, "batch": 8, "epochs": epochs, "state": state}


def trained(name: str, processes: Processes, *, sharded: bool = False) -> dict[str, Any]:
    """Weights and losses of two epochs."""
    data, state, loop = prepared(name, processes, sharded=sharded)
    losses = [float(state.epoch_loss) for step in train(state.network, data, **loop) if step.ends_epoch]
    weights = whole_weights(state.network if state.average is None else state.average.network)
    return {"weights": {key: value.clone() for key, value in weights.items()}, "losses": losses}


def evaluated(processes: Processes, count: int, *, sharded: bool = False) -> dict[str, Any]:
    network, data = small(), examples(60).take(count)
    if sharded:
        shard(network, processes, device=torch.device("cpu"))
    outputs, targets = outputs_of(network, data, batch=5, processes=processes)
    scores = evaluate(network, data, nn.CrossEntropyLoss(), batch=5, processes=processes)
    return {"outputs": outputs, "targets": targets, "scores": scores}


def everything_of(state: Any) -> dict[str, Tensor]:
    """The weights and their average, whole."""
    average = {
        f"average.{name}": value.clone() for name, value in whole_weights(state.average.network).items()
    }
    return {**{name: value.clone() for name, value in whole_weights(state.network).items()}, **average}


def to_the_end(processes: Processes = ALONE) -> dict[str, Tensor]:
    data, state, loop = prepared("adam average", processes)
    for _ in train(state.network, data, **loop):
        pass
    return everything_of(state)


def saved(folder: Path, processes: Processes, *, sharded: bool) -> dict[str, Any]:
    """Saves after some steps, goes on at once while that is written, and ends with the weights of the whole run."""
    data, state, loop = prepared("adam average", processes, sharded=sharded)
    state.notes = {"who": "the first" if processes.first else "another"}
    state.seed_apart()
    folder.mkdir(exist_ok=True)
    checkpoints = SharedCheckpoints(folder, state)
    for step in train(state.network, data, **loop):
        if step.number == STEPS_BEFORE:
            checkpoints.save()
            drawn = torch.rand(3)
    checkpoints.finish()
    return {"weights": everything_of(state), "drawn": drawn}


def gone_on(path: Path, processes: Processes, *, sharded: bool) -> dict[str, Any]:
    """Goes on from a checkpoint, whoever wrote it, to the same end."""
    data, state, loop = prepared("adam average", processes, sharded=sharded)
    before = restore(path, state)
    drawn = torch.rand(3)
    assert state.steps == STEPS_BEFORE
    for _ in train(state.network, data, **loop):
        pass
    return {"weights": everything_of(state), "drawn": drawn, "before": before, "notes": state.notes}


def stopped(processes: Processes) -> dict[str, Any]:
    """The last process is asked to stop at once, the first to save later; both hear of it together."""
    agreement, heard = Agreement(processes), []
    last = processes.rank == processes.world - 1
    for number in range(3000):
        found = agreement(save=processes.first and number == 0, stop=15 if last and number > 5 else 0)
        if any(found):
            heard.append((number, *found))
        if found[1]:
            break
    return {"heard": heard}


def refused(processes: Processes) -> dict[str, str]:
    data = examples(55)
    tried = {
        "loader": lambda: begin(small(), [(torch.zeros(1, 6), torch.zeros(1))], processes=processes),
        "batch": lambda: begin(small(), data, batch=1, processes=processes),
    }
    said = {}
    for name, attempt in tried.items():
        try:
            attempt()
        except NetwrightError as error:
            said[name] = str(error)
    return said


def wrapped(processes: Processes) -> list[str]:
    """Which modules become groups of their own, at a threshold that the layer of 16 x 12 passes and 12 x 3 does not."""
    from torch.distributed.fsdp import FSDPModule

    network = small()
    shard(network, processes, device=torch.device("cpu"), minimum=4 * 6 * 16)
    return [name for name, module in network.named_modules() if isinstance(module, FSDPModule)]


def everything(folder: Path, processes: Processes) -> dict[str, Any]:
    found: dict[str, Any] = {"trained": {name: trained(name, processes) for name in WAYS}}
    found["sharded"] = {name: trained(name, processes, sharded=True) for name in SHARDED}
    found["evaluated"] = {count: evaluated(processes, count) for count in (1, 3, 7, 23)}
    found["evaluated sharded"] = {count: evaluated(processes, count, sharded=True) for count in (1, 23)}
    for kind in ("whole", "sharded"):
        path = folder / f"{kind}-{processes.world}"
        found[f"saved {kind}"] = saved(path, processes, sharded=kind == "sharded")
    own = [path for path in sorted(folder.glob("*-*/step-*")) if not path.parent.name.endswith("4")]
    found["gone on"] = {
        (path.parent.name, kind): gone_on(path, processes, sharded=kind == "sharded")
        for path in own
        for kind in ("whole", "sharded")
    }
    found["stopped"], found["refused"], found["wrapped"] = (
        stopped(processes),
        refused(processes),
        wrapped(processes),
    )
    buffer = torch.full((2,), float(processes.rank))
    take_from_first([buffer], processes)
    found["taken"], found["agreed"] = buffer, agreed({"rank": processes.rank}, processes)
    return found


def main() -> None:
    torch.set_num_threads(1)
    folder, processes = Path(sys.argv[1]), Processes.here()
    assert processes != ALONE and int(os.environ["WORLD_SIZE"]) == processes.world
    with joined(processes):
        torch.save(everything(folder, processes), folder / f"{processes.world}-{processes.rank}.pt")


if __name__ == "__main__":
    main()
