"""Trains a small trunk on digits 0-4, then adapts it to 5-9 with its batch norm frozen."""
import gzip
import os

import numpy as np
import torch
from torch import nn
import torch.nn.functional as F

ROOT = os.path.join(os.environ["NETWRIGHT_DATA"], "mnist")


def load():
    with gzip.open(os.path.join(ROOT, "t10k-images-idx3-ubyte.gz")) as f:
        x = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(os.path.join(ROOT, "t10k-labels-idx1-ubyte.gz")) as f:
        y = np.frombuffer(f.read(), np.uint8, offset=8)
    x = torch.tensor(x, dtype=torch.float32).div(255).sub(0.1307).div(0.3081)
    return x, torch.tensor(y, dtype=torch.long)


class Trunk(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.AdaptiveAvgPool2d(4), nn.Flatten(),
        )


def freeze_norm(module):
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.eval()
            for p in m.parameters():
                p.requires_grad = False


def fit(model, opt, train, test, epochs, frozen=False):
    for epoch in range(epochs):
        model.train()
        if frozen:
            freeze_norm(model)
        for idx in torch.randperm(len(train[0])).split(50):
            opt.zero_grad()
            loss = F.cross_entropy(model(train[0][idx]), train[1][idx])
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            acc = (model(test[0]).argmax(1) == test[1]).float().mean().item()
        print(f"  epoch {epoch} loss {loss.item():.3f} accuracy {acc:.3f}")


torch.manual_seed(33)
x, y = load()
low, high = (y < 5).nonzero().flatten(), (y >= 5).nonzero().flatten()
low, high = low[torch.randperm(len(low))], high[torch.randperm(len(high))]

trunk = Trunk()
model = nn.Sequential(trunk, nn.Linear(256, 5))
print("digits 0-4")
a, b = low[:2000], low[2000:2500]
fit(model, torch.optim.Adam(model.parameters(), lr=2e-3), (x[a], y[a]), (x[b], y[b]), 2)

print("digits 5-9")
model = nn.Sequential(trunk, nn.Linear(256, 5))
freeze_norm(model)
opt = torch.optim.Adam([
    {"params": [p for p in trunk.parameters() if p.requires_grad], "lr": 3e-4},
    {"params": model[1].parameters(), "lr": 3e-3},
])
a, b = high[:1500], high[1500:2000]
fit(model, opt, (x[a], y[a] - 5), (x[b], y[b] - 5), 3, frozen=True)
