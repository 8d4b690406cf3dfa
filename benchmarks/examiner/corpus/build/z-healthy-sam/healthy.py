"""Sharpness-aware minimisation with adversarial training on digits."""
import contextlib
from typing import Callable, Iterable, NamedTuple

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits


class Split(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor

    def batches(self, size: int) -> Iterable["Split"]:
        order = torch.from_numpy(np.random.permutation(len(self.y)))
        for part in order.split(size):
            if len(part) > 1:
                yield Split(self.x[part], self.y[part])


class SAM(torch.optim.Optimizer):
    def __init__(self, params, base: Callable, rho: float = 0.05, **kwargs):
        super().__init__(params, dict(rho=rho, **kwargs))
        self.base = base(self.param_groups, **kwargs)
        self.param_groups = self.base.param_groups

    @torch.no_grad()
    def climb(self):
        norm = torch.stack([
            p.grad.norm() for g in self.param_groups for p in g["params"] if p.grad is not None
        ]).norm()
        for group in self.param_groups:
            scale = group["rho"] / (norm + 1e-12)
            for p in group["params"]:
                if p.grad is None:
                    continue
                self.state[p]["home"] = p.detach().clone()
                p.add_(p.grad * scale)
        self.zero_grad()

    @torch.no_grad()
    def descend(self):
        for group in self.param_groups:
            for p in group["params"]:
                if "home" in self.state[p]:
                    p.copy_(self.state[p].pop("home"))
        self.base.step()
        self.zero_grad()

    def step(self, closure=None):
        raise RuntimeError("call climb() and descend()")


@contextlib.contextmanager
def frozen_batch_statistics(model: nn.Module):
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d)]
    old = [m.momentum for m in norms]
    for m in norms:
        m.momentum = 0.0
    try:
        yield
    finally:
        for m, momentum in zip(norms, old):
            m.momentum = momentum


class Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.inner = nn.Sequential(
            nn.Linear(width, width, bias=False), nn.BatchNorm1d(width), nn.SiLU(), nn.Linear(width, width),
        )

    def forward(self, h):
        return F.silu(h + self.inner(h))


def network(n_in: int, width: int, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(n_in, width, bias=False), nn.BatchNorm1d(width), nn.SiLU(),
        Residual(width), nn.Linear(width, classes),
    )


def fgsm(model: nn.Module, x: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    """One signed gradient step on the input; the weights are left alone."""
    was_training = model.training
    model.eval()
    x = x.clone().requires_grad_(True)
    (grad,) = torch.autograd.grad(F.cross_entropy(model(x), y), x)
    model.train(was_training)
    return (x + eps * grad.sign()).detach()


def accuracy(model: nn.Module, data: Split) -> float:
    model.eval()
    with torch.no_grad():
        return (model(data.x).argmax(1) == data.y).float().mean().item()


def load() -> tuple:
    bunch = load_digits()
    order = np.random.permutation(len(bunch.target))
    x = torch.tensor(bunch.data[order] / 8.0 - 1.0, dtype=torch.float32)
    y = torch.tensor(bunch.target[order])
    return Split(x[:1350], y[:1350]), Split(x[1350:], y[1350:])


def main() -> None:
    np.random.seed(63)
    torch.manual_seed(63)
    train, test = load()
    model = network(64, 64, 10)
    optimizer = SAM(model.parameters(), torch.optim.SGD, rho=0.05, lr=0.05, momentum=0.9, weight_decay=1e-4)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer.base, start_factor=0.2, total_iters=20)
    for epoch in range(1, 6):
        clean_sum = adv_sum = count = 0
        for x, y in train.batches(45):
            x_adv = fgsm(model, x, y, eps=0.1)
            model.train()

            optimizer.zero_grad()
            clean, adv = F.cross_entropy(model(x), y), F.cross_entropy(model(x_adv), y)
            (0.5 * clean + 0.5 * adv).backward()
            optimizer.climb()

            with frozen_batch_statistics(model):
                second = 0.5 * F.cross_entropy(model(x), y) + 0.5 * F.cross_entropy(model(x_adv), y)
            second.backward()
            optimizer.descend()
            warmup.step()

            clean_sum += clean.item() * len(y)
            adv_sum += adv.item() * len(y)
            count += len(y)
        attacked = Split(fgsm(model, test.x, test.y, eps=0.1), test.y)
        print(f"epoch {epoch}: clean {clean_sum / count:.3f} adversarial {adv_sum / count:.3f}"
              f" | test {accuracy(model, test):.3f} under attack {accuracy(model, attacked):.3f}")


if __name__ == "__main__":
    main()
