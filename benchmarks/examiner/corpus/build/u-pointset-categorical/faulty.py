"""Classify small 3-D point clouds (sphere / cube / cylinder / cone) with a PointNet-like encoder."""
import argparse
import math
import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Categorical
from torch.utils.data import DataLoader, Dataset

SHAPES = ("sphere", "cube", "cylinder", "cone")


def sample_shape(kind, n, rng):
    if kind == "sphere":
        p = rng.normal(size=(n, 3))
        p /= np.linalg.norm(p, axis=1, keepdims=True)
    elif kind == "cube":
        p = rng.uniform(-1, 1, size=(n, 3))
        axis = rng.integers(0, 3, size=n)
        p[np.arange(n), axis] = np.sign(p[np.arange(n), axis])
    else:
        t = rng.uniform(0, 2 * math.pi, size=n)
        z = rng.uniform(-1, 1, size=n)
        r = np.ones(n) if kind == "cylinder" else (1 - z) / 2
        p = np.stack([r * np.cos(t), r * np.sin(t), z], axis=1)
    p = p * rng.uniform(0.8, 1.2) + rng.normal(scale=0.06, size=p.shape)
    return p.astype(np.float32)


class Clouds(Dataset):
    def __init__(self, size, n_points, seed):
        rng = np.random.default_rng(seed)
        kinds = rng.integers(0, len(SHAPES), size=size)
        self.points = [torch.from_numpy(sample_shape(SHAPES[k], n_points, rng)) for k in kinds]
        self.kinds = torch.from_numpy(kinds)

    def __len__(self):
        return len(self.kinds)

    def __getitem__(self, i):
        return self.points[i], self.kinds[i]


class PointPolicy(nn.Module):
    def __init__(self, width, n_out):
        super().__init__()
        self.local = nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, n_out))

    def forward(self, pts):
        h = self.local(pts)
        pooled = torch.cat([h.amax(dim=1), h.mean(dim=1)], dim=-1)
        return Categorical(logits=self.head(pooled))


def evaluate(model, loader):
    model.eval()
    good = total = 0
    nll = 0.0
    with torch.no_grad():
        for pts, kind in loader:
            dist = model(pts)
            good += (dist.probs.argmax(-1) == kind).sum().item()
            nll -= dist.log_prob(kind).sum().item()
            total += len(kind)
    return good / total, nll / total


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=10)
    ap.add_argument("--width", type=int, default=48)
    ap.add_argument("--points", type=int, default=40)
    args = ap.parse_args()
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)

    train = DataLoader(Clouds(960, args.points, seed=1), batch_size=48, shuffle=True)
    valid = DataLoader(Clouds(240, args.points, seed=2), batch_size=80)
    model = PointPolicy(args.width, len(SHAPES))
    optim = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(args.epochs):
        model.train()
        running, seen = 0.0, 0
        for pts, kind in train:
            dist = model(pts)
            loss = F.cross_entropy(dist.probs, kind)  # <-- here
            optim.zero_grad()
            loss.backward()
            optim.step()
            running += loss.item() * len(kind)
            seen += len(kind)
        acc, nll = evaluate(model, valid)
        print(f"epoch {epoch:2d}  loss {running / seen:.4f}  valid acc {acc:.3f}  valid nll {nll:.3f}")


if __name__ == "__main__":
    main()
