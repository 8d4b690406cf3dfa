"""The work that all contestants do: MNIST, 784-128-10, a small CNN or a small transformer, Adam at 0.001, validation after each epoch.

On a CUDA device where one is at hand, else on the processor.
"""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

MEAN, STD, RATE = 0.1307, 0.3081, 1e-3
TRAIN, VALIDATION = slice(0, 54_000), slice(54_000, 60_000)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


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


class Transformer(nn.Module):
    """(N, 1, 28, 28) images to (N, 10) logits: 49 patches of 4 x 4 as tokens of 64 numbers, two encoder layers of four heads, their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.inward = nn.Conv2d(1, 64, 4, 4)
        self.place = nn.Parameter(torch.zeros(49, 64))
        layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.outward = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.inward(images).flatten(2).transpose(1, 2) + self.place
        return self.outward(self.layers(tokens).mean(1))


NETWORKS = {"mlp": Mlp, "cnn": Cnn, "transformer": Transformer}


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
    network.to(DEVICE).eval()
    with torch.no_grad():
        found = torch.cat([network(part.to(DEVICE)).argmax(1).cpu() for part in images.split(2_000)])
    return float((found == labels).float().mean())


def finished() -> None:
    """Waits until the device has done what it was given."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def operations(name: str, batch: int) -> float:
    """Returns the floating-point operations of an epoch: matrix products and convolutions, forward and backward."""
    from torch.utils.flop_counter import FlopCounterMode

    network, images = NETWORKS[name](), torch.randn(batch, 1, 28, 28)
    with FlopCounterMode(display=False) as step:
        network(images).sum().backward()
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        network(images)
    return (54_000 * step.get_total_flops() + 6_000 * forward.get_total_flops()) / batch


def least_bytes(name: str, batch: int) -> float:
    """Returns the bytes that an epoch's steps and validation move at the least, float32.

    A training step: its images once; what autograd keeps for the way back, written once and read once; each parameter read forward, read
    backward, its gradient written, and Adam's update, which reads parameter, gradient and both moments and writes all but the gradient. A
    step of validation: its images and the parameters.
    """
    network, images = NETWORKS[name](), torch.randn(batch, 1, 28, 28)
    weights = {parameter.data_ptr() for parameter in network.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in {*weights, images.data_ptr()}:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = network(images)
    parameters = 4 * sum(parameter.numel() for parameter in network.parameters())
    del outputs
    step = images.nbytes + 2 * sum(kept.values()) + 10 * parameters
    return (54_000 * step + 6_000 * (images.nbytes + parameters)) / batch


def _median_seconds(work: Callable[[], object], count: int) -> float:
    """Returns the median seconds of `work`; on a CUDA device of groups of ten, so that waiting for it is not in the way."""
    group = 10 if DEVICE.type == "cuda" else 1
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        for _ in range(group):
            work()
        finished()
        taken.append((time.perf_counter() - began) / group)
    return sorted(taken)[len(taken) // 2]


def steps_alone(name: str, batch: int) -> float:
    """Returns the seconds of an epoch's steps and validation on one batch that is at hand: no data, no order, no record."""
    network, images = NETWORKS[name]().to(DEVICE), torch.randn(batch, 1, 28, 28, device=DEVICE)
    labels = torch.arange(batch, device=DEVICE) % 10
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, fused=True)
    criterion = nn.CrossEntropyLoss()

    def step() -> None:
        optimizer.zero_grad()
        criterion(network(images), labels).backward()
        optimizer.step()

    def forward() -> None:
        with torch.no_grad():
            network(images)

    rounds = max(30, 3_000 // batch)
    return _median_seconds(step, rounds) * 54_000 / batch + _median_seconds(forward, rounds) * 6_000 / batch


def products_a_second() -> float:
    """Returns the floating-point operations a second of the best of 20 products of two 2,048 x 2,048 float32 matrices."""
    one, other = torch.randn(2, 2048, 2048, device=DEVICE)
    return 2 * 2048**3 / _best_seconds(lambda: one @ other)


def bytes_a_second() -> float:
    """Returns the bytes a second that the best of 20 copies of 256 MB reads and writes."""
    one, other = torch.randn(2, 64_000_000, device=DEVICE)
    return 2 * one.nbytes / _best_seconds(lambda: other.copy_(one))


def _best_seconds(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(20):
        finished()
        began = time.perf_counter()
        work()
        finished()
        best = min(best, time.perf_counter() - began)
    return best
