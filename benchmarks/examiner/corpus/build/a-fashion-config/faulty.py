import gzip
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class Config:
    channels: tuple = (8, 16)
    hidden: int = 64
    n_classes: int = 10
    output: str = "softmax"  # <-- here
    lr: float = 2e-3
    batch_size: int = 64
    epochs: int = 3
    n_train: int = 4000
    n_test: int = 1000
    seed: int = 7


ACTIVATIONS = {
    "linear": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "softmax": lambda: nn.Softmax(dim=-1),  # <-- here
}


def read_idx(root: Path, kind: str, count: int):
    with gzip.open(root / f"{kind}-images-idx3-ubyte.gz") as f:
        images = np.frombuffer(f.read(16 + 784 * count), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(root / f"{kind}-labels-idx1-ubyte.gz") as f:
        labels = np.frombuffer(f.read(8 + count), np.uint8, offset=8)
    return torch.from_numpy(images.astype(np.float32) / 255.0), torch.from_numpy(labels.astype(np.int64))


class ConvNet(nn.Module):
    def __init__(self, cfg: Config):
        super().__init__()
        c1, c2 = cfg.channels
        self.conv1 = nn.Conv2d(1, c1, 3, padding=1)
        self.conv2 = nn.Conv2d(c1, c2, 3, padding=1)
        self.fc1 = nn.Linear(c2 * 7 * 7, cfg.hidden)
        self.fc2 = nn.Linear(cfg.hidden, cfg.n_classes)
        self.activation = ACTIVATIONS[cfg.output]()

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        return self.activation(self.fc2(x))  # <-- here


def train_one_epoch(net, x, y, optim, cfg):
    net.train()
    order = torch.randperm(len(x))
    total = 0.0
    for i in range(0, len(order), cfg.batch_size):
        idx = order[i:i + cfg.batch_size]
        optim.zero_grad()
        loss = F.cross_entropy(net(x[idx]), y[idx])  # <-- here
        loss.backward()
        optim.step()
        total += loss.item() * len(idx)
    return total / len(x)


@torch.no_grad()
def evaluate(net, x, y):
    net.eval()
    return (net(x).argmax(1) == y).float().mean().item()


def main():
    cfg = Config()
    torch.manual_seed(cfg.seed)
    root = Path(os.environ["NETWRIGHT_DATA"]) / "fashion-mnist"
    x_train, y_train = read_idx(root, "train", cfg.n_train)
    x_test, y_test = read_idx(root, "t10k", cfg.n_test)
    mean, std = x_train.mean(), x_train.std()
    x_train, x_test = (x_train - mean) / std, (x_test - mean) / std

    net = ConvNet(cfg)
    optim = torch.optim.Adam(net.parameters(), lr=cfg.lr)
    for epoch in range(cfg.epochs):
        loss = train_one_epoch(net, x_train, y_train, optim, cfg)
        acc = evaluate(net, x_test, y_test)
        print(f"[{epoch}] train loss {loss:.4f} | test acc {acc:.3%}")


if __name__ == "__main__":
    main()
