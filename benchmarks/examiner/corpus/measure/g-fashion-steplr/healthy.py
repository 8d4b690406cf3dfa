from __future__ import annotations

import gzip
import os
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class Config:
    lr: float = 0.05
    momentum: float = 0.9
    step_size: int = 2
    gamma: float = 0.3
    batch_size: int = 100
    epochs: int = 5
    n_train: int = 8000
    n_test: int = 2000
    seed: int = 0


def load(split: str, n: int) -> tuple[Tensor, Tensor]:
    folder = os.path.join(os.environ["NETWRIGHT_DATA"], "fashion-mnist")
    with gzip.open(f"{folder}/{split}-images-idx3-ubyte.gz") as f:
        f.read(16)
        images = np.frombuffer(f.read(n * 784), np.uint8).reshape(n, 784)
    with gzip.open(f"{folder}/{split}-labels-idx1-ubyte.gz") as f:
        f.read(8)
        labels = np.frombuffer(f.read(n), np.uint8)
    return torch.from_numpy(images.astype(np.float32) / 255.0), torch.from_numpy(labels.astype(np.int64))


class Trainer:
    def __init__(self, cfg: Config):
        self.cfg = cfg
        torch.manual_seed(cfg.seed)
        Xtr, ytr = load("train", cfg.n_train)
        Xte, yte = load("t10k", cfg.n_test)
        mean, std = Xtr.mean(), Xtr.std()
        self.train_loader = DataLoader(TensorDataset((Xtr - mean) / std, ytr), cfg.batch_size, shuffle=True)
        self.test_loader = DataLoader(TensorDataset((Xte - mean) / std, yte), cfg.batch_size)
        self.model = nn.Sequential(
            nn.Linear(784, 128), nn.ReLU(), nn.Dropout(0.2),
            nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10),
        )
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=cfg.lr, momentum=cfg.momentum)
        self.scheduler = StepLR(self.optimizer, step_size=cfg.step_size, gamma=cfg.gamma)

    def train_epoch(self) -> float:
        self.model.train()
        total, n = 0.0, 0
        for xb, yb in self.train_loader:
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.criterion(self.model(xb), yb)
            loss.backward()
            self.optimizer.step()
            total += loss.item() * xb.size(0)
            n += xb.size(0)
        return total / n

    @torch.no_grad()
    def evaluate(self) -> tuple[float, float]:
        self.model.eval()
        loss, hits, n = 0.0, 0, 0
        for xb, yb in self.test_loader:
            out = self.model(xb)
            loss += self.criterion(out, yb).item() * len(yb)
            hits += int((out.argmax(-1) == yb).sum())
            n += len(yb)
        return loss / n, hits / n

    def fit(self) -> None:
        for epoch in range(1, self.cfg.epochs + 1):
            lr = self.scheduler.get_last_lr()[0]
            tr = self.train_epoch()
            te, acc = self.evaluate()
            self.scheduler.step()
            print(f"[{epoch}/{self.cfg.epochs}] lr={lr:.4g} train={tr:.4f} test={te:.4f} acc={acc:.2%}")


if __name__ == "__main__":
    Trainer(Config()).fit()
