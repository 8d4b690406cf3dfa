"""Few-shot classification of Fashion pictures with episodes (5-way, 5-shot)."""
import gzip
import os
import struct
from typing import Iterator, Tuple

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

ROOT = os.path.join(os.environ["NETWRIGHT_DATA"], "fashion-mnist")


def idx(name: str, limit: int) -> np.ndarray:
    with gzip.open(os.path.join(ROOT, name)) as f:
        _, _, ndim = struct.unpack(">HBB", f.read(4))
        shape = struct.unpack(">" + "I" * ndim, f.read(4 * ndim))
        n = limit * int(np.prod(shape[1:]))
        return np.frombuffer(f.read(n), dtype=np.uint8).reshape(limit, *shape[1:])


def load(split: str, limit: int) -> Tuple[Tensor, Tensor]:
    images = torch.tensor(idx(f"{split}-images-idx3-ubyte.gz", limit), dtype=torch.float32)[:, None] / 255
    labels = torch.tensor(idx(f"{split}-labels-idx1-ubyte.gz", limit).astype(np.int64))
    return F.avg_pool2d((images - 0.286) / 0.353, 2), labels


def episodes(images: Tensor, labels: Tensor, count: int, way: int = 5, shot: int = 5, query: int = 8) -> Iterator:
    pools = [torch.nonzero(labels == c).squeeze(1) for c in range(10)]
    for _ in range(count):
        support, queries = [], []
        for c in torch.randperm(10)[:way].tolist():
            chosen = pools[c][torch.randperm(len(pools[c]))[:shot + query]]
            support.append(images[chosen[:shot]])
            queries.append(images[chosen[shot:]])
        yield torch.stack(support), torch.cat(queries), torch.arange(way).repeat_interleave(query)


class ProtoNet(nn.Module):
    def __init__(self, width: int = 24, dim: int = 32):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1), nn.GroupNorm(4, width), nn.ReLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1), nn.GroupNorm(4, width), nn.ReLU(),
            nn.Flatten(),
        )
        self.project = nn.Linear(width * 16, dim)
        self.metric = nn.Linear(dim, dim, bias=False)
        nn.init.eye_(self.metric.weight)

    def embed(self, x: Tensor) -> Tensor:
        return F.layer_norm(self.project(self.backbone(x)), (self.project.out_features,))

    def forward(self, support: Tensor, query: Tensor) -> Tensor:
        way, shot = support.shape[:2]
        prototypes = self.embed(support.flatten(0, 1)).unflatten(0, (way, shot)).mean(1)
        a, b = self.metric(prototypes), self.metric(self.embed(query))
        similarity = torch.einsum("wd,qd->qw", a, b) - 0.5 * a.square().sum(-1)
        return similarity / a.size(-1) ** 0.5


def meta_test(model: ProtoNet, data, count: int = 40) -> float:
    model.eval()
    right = total = 0
    with torch.no_grad():
        for support, query, target in episodes(*data, count):
            right += (model(support, query).argmax(1) == target).sum().item()
            total += len(target)
    return right / total


def main() -> None:
    torch.manual_seed(31)
    train, test = load("train", 3000), load("t10k", 1000)
    model = ProtoNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    print(f"untrained: {meta_test(model, test):.3f}")
    for epoch in range(4):
        model.train()
        running = 0.0
        for n, (support, query, target) in enumerate(episodes(*train, 60), 1):
            loss = F.cross_entropy(model(support, query), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            running += loss.item()
        print(f"epoch {epoch}: loss {running / n:.3f}, test accuracy {meta_test(model, test):.3f}")


if __name__ == "__main__":
    main()
