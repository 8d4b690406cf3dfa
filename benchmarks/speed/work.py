"""The work that all contestants do: MNIST, 784-128-10 or a small CNN, Adam at 0.001, validation after each epoch."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import torch
from torch import nn

MEAN, STD, RATE = 0.1307, 0.3081, 1e-3
TRAIN, VALIDATION = slice(0, 54_000), slice(54_000, 60_000)


class Mlp(nn.Module):
    """(N, 1, 28, 28) images to (N, 10) logits through 128 hidden units."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


class Cnn(nn.Module):
    """(N, 1, 28, 28) images to (N, 10) logits through two convolutions of 16 and 32 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(1568, 10),
        )  # fmt: skip

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


NETWORKS = {"mlp": Mlp, "cnn": Cnn}


def folder() -> Path:
    return Path(os.environ["NETWRIGHT_DATA"]) / "mnist"


def read(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images (N, 28, 28) uint8 and labels (N,) uint8 of "train" or "t10k"."""
    images = gzip.decompress((folder() / f"{part}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder() / f"{part}-labels-idx1-ubyte.gz").read_bytes())
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28)
    return pixels, np.frombuffer(labels, np.uint8, offset=8)


def tensors(part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns standardised images (N, 1, 28, 28) float32 and labels (N,) int64 of "train" or "t10k"."""
    images, labels = read(part)
    prepared = torch.tensor(images).unsqueeze(1).float().div_(255).sub_(MEAN).div_(STD)
    return prepared, torch.tensor(labels).long()


def accuracy(network: nn.Module) -> float:
    """Returns the share of right answers among the 10,000 test images."""
    images, labels = tensors("t10k")
    network.eval()
    with torch.no_grad():
        found = torch.cat([network(part).argmax(1) for part in images.split(2_000)])
    return float((found == labels).float().mean())


def operations(name: str, batch: int) -> float:
    """Returns the floating-point operations of an epoch: matrix products and convolutions, forward and backward."""
    from torch.utils.flop_counter import FlopCounterMode

    network, images = NETWORKS[name](), torch.randn(batch, 1, 28, 28)
    with FlopCounterMode(display=False) as step:
        network(images).sum().backward()
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        network(images)
    return (54_000 * step.get_total_flops() + 6_000 * forward.get_total_flops()) / batch


def steps_alone(name: str, batch: int) -> float:
    """Returns the seconds of an epoch's steps and validation on one batch that is at hand: no data, no order, no record."""
    import time

    network, images, labels = NETWORKS[name](), torch.randn(batch, 1, 28, 28), torch.arange(batch) % 10
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, fused=True)
    criterion = nn.CrossEntropyLoss()

    def step() -> None:
        optimizer.zero_grad()
        criterion(network(images), labels).backward()
        optimizer.step()

    def forward() -> None:
        with torch.no_grad():
            network(images)

    seconds = 0.0
    for work, count in ((step, 54_000 / batch), (forward, 6_000 / batch)):
        taken = []
        for _ in range(max(30, 3_000 // batch)):
            began = time.perf_counter()
            work()
            taken.append(time.perf_counter() - began)
        seconds += sorted(taken)[len(taken) // 2] * count
    return seconds


def products_a_second() -> float:
    """Returns the floating-point operations a second of the best of 20 products of two 2,048 x 2,048 float32 matrices."""
    import time

    one, other = torch.randn(2, 2048, 2048)
    best = float("inf")
    for _ in range(20):
        began = time.perf_counter()
        one @ other
        best = min(best, time.perf_counter() - began)
    return 2 * 2048**3 / best
