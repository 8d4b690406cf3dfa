from typing import Iterator, Tuple

import torch
from sklearn.datasets import make_moons
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits


def block(n_in: int, n_out: int, act: type = nn.ReLU, norm: bool = False) -> nn.Sequential:
    layers = [nn.Linear(n_in, n_out, bias=not norm)]
    if norm:
        layers.append(nn.BatchNorm1d(n_out))
    layers.append(act())  # <-- here
    return nn.Sequential(*layers)


def build(sizes: Tuple[int, ...]) -> nn.Sequential:
    stages = [block(a, b, norm=True) for a, b in zip(sizes[:-2], sizes[1:-1])]
    return nn.Sequential(*stages, block(sizes[-2], sizes[-1]))  # <-- here


def batches(x: Tensor, y: Tensor, size: int) -> Iterator[Tuple[Tensor, Tensor]]:
    for idx in torch.randperm(len(x)).split(size):
        yield x[idx], y[idx]


def fit(model: nn.Module, x: Tensor, y: Tensor, epochs: int = 12) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(epochs):
        model.train()
        total, seen = 0.0, 0
        for xb, yb in batches(x, y, 50):
            logits = model(xb).squeeze(-1)
            loss = binary_cross_entropy_with_logits(logits, yb)  # <-- here
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total, seen = total + loss.item() * len(xb), seen + len(xb)
        print(f"{epoch:>3} {total / seen:.4f}")


def score(model: nn.Module, x: Tensor, y: Tensor) -> float:
    model.eval()
    with torch.no_grad():
        guess = model(x).squeeze(-1) > 0
    return (guess == y.bool()).double().mean().item()


if __name__ == "__main__":
    torch.manual_seed(11)
    points, side = make_moons(1500, noise=0.15, random_state=5)
    points = torch.as_tensor(points, dtype=torch.float32)
    side = torch.as_tensor(side, dtype=torch.float32)
    clf = build((2, 32, 32, 1))
    fit(clf, points[:1000], side[:1000])
    print("held-out accuracy", score(clf, points[1000:], side[1000:]))
