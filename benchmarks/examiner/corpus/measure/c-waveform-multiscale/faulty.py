"""Tell sine, square and saw-tooth waves apart (noisy, random phase and pitch)."""
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class Config:
    length: int = 64
    n_train: int = 1500
    n_test: int = 500
    kernels: tuple = (3, 7, 15)
    channels: int = 6
    batch_size: int = 50
    epochs: int = 8
    lr: float = 5e-3
    seed: int = 7


def make_waves(rng, n, length):
    kind = rng.integers(0, 3, n)
    t = np.arange(length) / length
    freq = rng.uniform(2, 6, (n, 1))
    phase = rng.uniform(0, 1, (n, 1))
    cycle = (freq * t + phase) % 1.0
    sine = np.sin(2 * np.pi * cycle)
    square = np.where(cycle < 0.5, 1.0, -1.0) * 0.71
    saw = (2 * cycle - 1) * 1.22
    waves = np.stack([sine, square, saw], 0)[kind, np.arange(n)]
    waves = waves + 0.25 * rng.standard_normal(waves.shape)
    return torch.from_numpy(waves[:, None].astype(np.float32)), torch.from_numpy(kind)


class MultiScale(nn.Module):
    def __init__(self, kernels, channels):
        super().__init__()
        self.branches = []  # <-- here
        for k in kernels:
            self.branches.append(nn.Conv1d(1, channels, k, padding=k // 2))  # <-- here

    def forward(self, x):
        maps = [torch.relu(branch(x)) for branch in self.branches]
        return torch.cat([m.mean(-1) for m in maps] + [m.amax(-1) for m in maps], dim=1)


class WaveClassifier(nn.Module):
    def __init__(self, cfg: Config):
        super().__init__()
        self.features = MultiScale(cfg.kernels, cfg.channels)
        self.head = nn.Linear(2 * len(cfg.kernels) * cfg.channels, 3)

    def forward(self, x):
        return self.head(self.features(x))


def evaluate(net, loader):
    net.eval()
    right = total = 0
    with torch.no_grad():
        for x, y in loader:
            right += (net(x).argmax(1) == y).sum().item()
            total += len(y)
    return right / total


def run(cfg: Config):
    torch.manual_seed(cfg.seed)
    rng = np.random.default_rng(cfg.seed)
    train = DataLoader(TensorDataset(*make_waves(rng, cfg.n_train, cfg.length)), cfg.batch_size, shuffle=True)
    test = DataLoader(TensorDataset(*make_waves(rng, cfg.n_test, cfg.length)), 250)
    net = WaveClassifier(cfg)
    optim = torch.optim.Adam(net.parameters(), lr=cfg.lr)
    loss_fn = nn.CrossEntropyLoss()
    for epoch in range(cfg.epochs):
        net.train()
        losses = []
        for x, y in train:
            loss = loss_fn(net(x), y)
            optim.zero_grad()
            loss.backward()
            optim.step()
            losses.append(loss.item())
        print(f"{epoch}: train loss {np.mean(losses):.3f}, test accuracy {evaluate(net, test):.3f}")


if __name__ == "__main__":
    run(Config())
