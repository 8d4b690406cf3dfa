from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class Config:
    channels: int = 3
    width: int = 24
    levels: int = 3
    classes: int = 4
    length: int = 96
    n_train: int = 384
    n_test: int = 96
    batch: int = 32
    epochs: int = 12
    lr: float = 3e-3


def simulate(n, cfg, seed):
    """Accelerometer-like signal: segments of rest, walk, run and turn."""
    g = np.random.default_rng(seed)
    X = np.zeros((n, cfg.channels, cfg.length), dtype=np.float32)
    Y = np.zeros((n, cfg.length), dtype=np.int64)
    for i in range(n):
        t = 0
        while t < cfg.length:
            seg = int(g.integers(16, 33))
            k = int(g.integers(cfg.classes))
            e = min(t + seg, cfg.length)
            steps = np.arange(e - t)
            phase = g.uniform(0, 6.28)
            if k == 1:
                X[i, 0, t:e] = np.sin(0.6 * steps + phase)
            elif k == 2:
                X[i, 1, t:e] = 1.2 * np.sin(1.5 * steps + phase)
            elif k == 3:
                X[i, 2, t:e] = np.sin(0.6 * steps + phase)
            Y[i, t:e] = k
            t = e
    X += g.normal(scale=0.35, size=X.shape).astype(np.float32)
    return torch.from_numpy(X), torch.from_numpy(Y)


class ResidualBlock(nn.Module):
    def __init__(self, c_in, c_out, dilation):
        super().__init__()
        self.conv1 = nn.Conv1d(c_in, c_out, 5, padding=2 * dilation, dilation=dilation)
        self.conv2 = nn.Conv1d(c_out, c_out, 5, padding=2 * dilation, dilation=dilation)
        self.skip = nn.Conv1d(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(self, x):
        y = self.conv2(F.relu(self.conv1(x)))
        return F.relu(y + self.skip(x))  # <-- here


class TCN(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        dims = [cfg.channels] + [cfg.width] * cfg.levels
        blocks = [ResidualBlock(a, b, 2 ** i) for i, (a, b) in enumerate(zip(dims[:-1], dims[1:]))]
        blocks.append(ResidualBlock(cfg.width, cfg.classes, 1))  # <-- here
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x):
        return self.blocks(x)


class Trainer:
    def __init__(self, cfg):
        self.cfg = cfg
        self.net = TCN(cfg)
        self.opt = torch.optim.AdamW(self.net.parameters(), lr=cfg.lr)
        self.train_set = simulate(cfg.n_train, cfg, 0)
        self.test_set = simulate(cfg.n_test, cfg, 1)

    def step(self, x, y):
        self.opt.zero_grad()
        logits = self.net(x)
        loss = F.cross_entropy(logits, y)  # <-- here
        loss.backward()
        self.opt.step()
        return loss.item()

    def score(self):
        self.net.eval()
        x, y = self.test_set
        with torch.inference_mode():
            pred = self.net(x).argmax(dim=1)
        self.net.train()
        per_class = [(pred[y == k] == k).float().mean().item() for k in range(self.cfg.classes)]
        return (pred == y).float().mean().item(), per_class

    def fit(self):
        x, y = self.train_set
        for epoch in range(self.cfg.epochs):
            order = torch.randperm(len(x))
            losses = [self.step(x[i], y[i]) for i in order.split(self.cfg.batch)]
            acc, per_class = self.score()
            print(f"[{epoch}] loss={np.mean(losses):.3f} frame-acc={acc:.3f} recall="
                  + " ".join(f"{r:.2f}" for r in per_class))


if __name__ == "__main__":
    torch.manual_seed(1)
    Trainer(Config()).fit()
