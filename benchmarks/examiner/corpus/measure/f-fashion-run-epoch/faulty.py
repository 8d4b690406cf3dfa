"""Small convnet on a slice of Fashion-MNIST, one routine for both phases."""
import gzip
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
import torch.nn.functional as F


@dataclass
class Config:
    root: Path = Path(os.environ.get("NETWRIGHT_DATA", "data")) / "fashion-mnist"
    n_train: int = 2400
    n_val: int = 800
    batch: int = 64
    epochs: int = 3
    lr: float = 2e-3
    seed: int = 3


def read_idx(path, offset):
    with gzip.open(path, "rb") as fh:
        return np.frombuffer(fh.read(), dtype=np.uint8, offset=offset)


def load(cfg):
    images = read_idx(cfg.root / "t10k-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)
    labels = read_idx(cfg.root / "t10k-labels-idx1-ubyte.gz", 8)
    order = np.random.RandomState(cfg.seed).permutation(len(images))[: cfg.n_train + cfg.n_val]
    images = torch.from_numpy(images[order].astype(np.float32) / 255.0)
    labels = torch.from_numpy(labels[order].astype(np.int64))
    images = (images - 0.286) / 0.353
    n = cfg.n_train
    return (images[:n], labels[:n]), (images[n:], labels[n:])


class SmallConv(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(12)
        self.conv2 = nn.Conv2d(12, 24, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(24)
        self.drop = nn.Dropout(0.5)
        self.fc1 = nn.Linear(24 * 7 * 7, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        x = F.relu(self.fc1(self.drop(x.flatten(1))))
        return self.fc2(self.drop(x))


class Trainer:
    def __init__(self, cfg: Config):
        self.cfg = cfg
        torch.manual_seed(cfg.seed)
        self.net = SmallConv()
        self.opt = torch.optim.AdamW(self.net.parameters(), lr=cfg.lr)

    def run_epoch(self, data, training: bool):
        x_all, y_all = data
        self.net.train()  # <-- here
        order = torch.randperm(len(x_all)) if training else torch.arange(len(x_all))
        total, hits = 0.0, 0
        with torch.set_grad_enabled(training):
            for idx in order.split(self.cfg.batch):
                x, y = x_all[idx], y_all[idx]
                logits = self.net(x)  # <-- here
                loss = F.cross_entropy(logits, y)
                if training:
                    self.opt.zero_grad()
                    loss.backward()
                    self.opt.step()
                total += loss.item() * len(y)
                hits += (logits.argmax(dim=1) == y).sum().item()
        return total / len(x_all), hits / len(x_all)

    def fit(self, train, val):
        for epoch in range(1, self.cfg.epochs + 1):
            tl, ta = self.run_epoch(train, training=True)
            vl, va = self.run_epoch(val, training=False)
            print(f"[{epoch}] train {tl:.3f}/{ta:.3f}   val {vl:.3f}/{va:.3f}")


if __name__ == "__main__":
    cfg = Config()
    train, val = load(cfg)
    Trainer(cfg).fit(train, val)
