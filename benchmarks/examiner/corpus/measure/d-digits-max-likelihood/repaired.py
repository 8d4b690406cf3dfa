from typing import Iterator, Tuple

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits

Tensor = torch.Tensor


def log_likelihood(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Mean log-probability that the net gives to the observed labels."""
    return -F.cross_entropy(net(x), y)


def minibatches(x: Tensor, y: Tensor, size: int) -> Iterator[Tuple[Tensor, Tensor]]:
    order = torch.randperm(len(x))
    for start in range(0, len(x), size):
        rows = order[start:start + size]
        yield x[rows], y[rows]


def build(n_in: int, n_out: int) -> nn.Module:
    return nn.Sequential(nn.Linear(n_in, 40), nn.Tanh(), nn.Linear(40, n_out))


def update(net: nn.Module, opt: torch.optim.Optimizer, x: Tensor, y: Tensor) -> float:
    ll = log_likelihood(net, x, y)
    opt.zero_grad()
    (-ll).backward()
    opt.step()
    return ll.item()


def report(net: nn.Module, x: Tensor, y: Tensor) -> Tuple[float, float]:
    net.eval()
    with torch.no_grad():
        ll = log_likelihood(net, x, y).item()
        acc = (net(x).argmax(dim=1) == y).float().mean().item()
    net.train()
    return ll, acc


def main() -> None:
    torch.manual_seed(2024)
    bunch = load_digits()
    rng = np.random.default_rng(2024)
    order = rng.permutation(len(bunch.data))
    x = torch.tensor(bunch.data[order] / 16 - 0.3, dtype=torch.float32)
    y = torch.tensor(bunch.target[order])
    cut = int(0.8 * len(x))

    net = build(64, 10)
    opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(6):
        trace = [update(net, opt, xb, yb) for xb, yb in minibatches(x[:cut], y[:cut], 48)]
        ll, acc = report(net, x[cut:], y[cut:])
        print(f"epoch {epoch}  train ll {np.mean(trace):10.3f}  test ll {ll:10.3f}  test acc {acc:.3f}")


if __name__ == "__main__":
    main()
