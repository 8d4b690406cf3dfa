"""Knowledge distillation with a feature hint.

Phase 1 trains a wide teacher.  Phase 2 freezes it and trains a small student
on soft targets and on the teacher's penultimate features, which a forward
hook collects.  The teacher is *not* a part of the student module: it lives in
a plain dict so that state_dict() and parameters() hold the student alone.
"""
from __future__ import annotations

import sys
from collections import defaultdict
from typing import Any, Callable, Iterator

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset, TensorDataset

HYPER: dict[str, Any] = {
    "teacher": dict(width=96, depth=2, p=0.3, epochs=6, lr=2e-3),
    "student": dict(width=20, depth=1, p=0.0, epochs=10, lr=4e-3),
    "temperature": 3.0,
    "alpha": 0.6,
    "beta": 0.05,
    "batch": 48,
}


def datasets() -> dict[str, Subset]:
    bunch = load_digits()
    x = torch.tensor(bunch.images / 16.0, dtype=torch.float32).flatten(1)
    whole = TensorDataset((x - 0.305) / 0.376, torch.tensor(bunch.target))
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(8)).tolist()
    return {"train": Subset(whole, order[:1300]), "test": Subset(whole, order[1300:])}


class Tower(nn.Module):
    def __init__(self, width: int, depth: int, p: float, **_: Any):
        super().__init__()
        parts: list[nn.Module] = []
        size = 64
        for _i in range(depth):
            parts += [nn.Linear(size, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()]
            if p:
                parts.append(nn.Dropout(p))
            size = width
        self.trunk = nn.Sequential(*parts)
        self.head = nn.Linear(size, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x))


class Collector:
    """Keeps the latest output of one submodule of each registered network."""

    def __init__(self) -> None:
        self.latest: dict[str, Tensor] = {}

    def watch(self, name: str, module: nn.Module) -> None:
        module.register_forward_hook(lambda _m, _i, out: self.latest.__setitem__(name, out))


class Student(nn.Module):
    def __init__(self, teacher: Tower, collector: Collector):
        super().__init__()
        self.tower = Tower(**HYPER["student"])
        self.outside = {"teacher": teacher}
        self.collector = collector
        collector.watch("student", self.tower.trunk)
        collector.watch("teacher", teacher.trunk)
        self.adapter = nn.Sequential(nn.Linear(HYPER["student"]["width"], HYPER["teacher"]["width"]), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.tower(x)

    def hint(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            guide = self.outside["teacher"](x)
        regress = self.adapter(self.collector.latest["student"])
        return guide, F.mse_loss(regress, self.collector.latest["teacher"])


def plain_objective(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(net(x), y)


def distil_objective(net: Student, x: Tensor, y: Tensor) -> Tensor:
    t = HYPER["temperature"]
    logits = net(x)
    guide, hint = net.hint(x)
    soft = F.kl_div(
        F.log_softmax(logits / t, dim=1), F.softmax(guide / t, dim=1), reduction="batchmean"
    ) * t * t
    return HYPER["alpha"] * soft + (1 - HYPER["alpha"]) * F.cross_entropy(logits, y) + HYPER["beta"] * hint


@torch.inference_mode()
def exact_accuracy(net: nn.Module, data: Subset) -> float:
    was = net.training
    net.eval()
    hits = 0
    for x, y in DataLoader(data, batch_size=200):
        hits += int((net(x).argmax(1) == y).sum())
    net.train(was)
    return hits / len(data)


def engine(
    net: nn.Module, data: dict[str, Subset], objective: Callable[..., Tensor], epochs: int, lr: float
) -> Iterator[dict[str, float]]:
    loader = DataLoader(data["train"], batch_size=HYPER["batch"], shuffle=True, drop_last=True)
    optimizer = torch.optim.Adam((p for p in net.parameters() if p.requires_grad), lr=lr)
    for epoch in range(epochs):
        net.train()
        log: dict[str, float] = defaultdict(float)
        for x, y in loader:
            loss = objective(net, x, y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            log["loss"] += loss.item() / len(loader)
        log["train accuracy"] = exact_accuracy(net, data["train"])
        log["test accuracy"] = exact_accuracy(net, data["test"])
        yield {"epoch": epoch, **log}


def main() -> int:
    torch.manual_seed(80)
    data = datasets()
    teacher = Tower(**HYPER["teacher"])
    for row in engine(teacher, data, plain_objective, HYPER["teacher"]["epochs"], HYPER["teacher"]["lr"]):
        print("teacher ", {k: round(v, 4) for k, v in row.items()})
    teacher.requires_grad_(False).eval()

    student = Student(teacher, Collector())
    print("student parameters:", sum(p.numel() for p in student.parameters()),
          "teacher parameters:", sum(p.numel() for p in teacher.parameters()))
    for row in engine(student, data, distil_objective, HYPER["student"]["epochs"], HYPER["student"]["lr"]):
        print("student ", {k: round(v, 4) for k, v in row.items()})
    assert not any(k.startswith("outside") for k in student.state_dict())
    return 0


if __name__ == "__main__":
    sys.exit(main())
