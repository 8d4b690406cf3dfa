"""Fine-tuning in stages: new head first, then the upper and the lower blocks join the optimizer."""
from __future__ import annotations

import gzip
import os
from collections import OrderedDict
from contextlib import nullcontext

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Fashion(Dataset):
    def __init__(self, split: str, limit: int, classes: tuple[int, ...]):
        base = os.path.join(os.environ["NETWRIGHT_DATA"], "fashion-mnist", split)
        with gzip.open(base + "-images-idx3-ubyte.gz") as f:
            images = np.frombuffer(f.read(16 + 784 * limit), np.uint8, offset=16).reshape(limit, 28, 28)
        with gzip.open(base + "-labels-idx1-ubyte.gz") as f:
            labels = np.frombuffer(f.read(8 + limit), np.uint8, offset=8)
        keep = np.isin(labels, classes)
        self.images = images[keep]
        self.labels = np.searchsorted(np.array(classes), labels[keep])

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        image = torch.from_numpy(self.images[i, ::2, ::2].astype(np.float32))
        return (image[None] / 255 - 0.286) / 0.353, int(self.labels[i])


def conv(cin, cout, stride):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU())


def build(classes: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict(
        low=conv(1, 16, 1), mid=conv(16, 24, 2), high=conv(24, 32, 2),
        pool=nn.Sequential(nn.AvgPool2d(2), nn.Flatten()), head=nn.Linear(32 * 4, classes),
    ))


class FineTuner:
    def __init__(self, model, optimizer, scaler, accumulate=1, max_norm=2.0):
        self.model, self.optimizer, self.scaler = model, optimizer, scaler
        self.accumulate, self.max_norm = accumulate, max_norm
        self.criterion = nn.CrossEntropyLoss()

    def set_modes(self):
        """Frozen blocks keep their batch statistics."""
        self.model.train()
        for block in self.model.children():
            params = list(block.parameters())
            if params and not any(p.requires_grad for p in params):
                block.eval()

    def _apply(self):
        self.scaler.unscale_(self.optimizer)
        for group in self.optimizer.param_groups:
            nn.utils.clip_grad_norm_(group["params"], self.max_norm)
        everything = [p for g in self.optimizer.param_groups for p in g["params"]]
        nn.utils.clip_grad_norm_(everything, 1.5 * self.max_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def epoch(self, loader):
        self.set_modes()
        self.optimizer.zero_grad(set_to_none=True)
        total, last = 0.0, len(loader)
        tail = last % self.accumulate or self.accumulate
        for i, (x, y) in enumerate(loader, start=1):
            parts = tail if i > last - tail else self.accumulate
            loss = self.criterion(self.model(x), y)
            self.scaler.scale(loss / parts).backward()
            if i % self.accumulate == 0 or i == last:
                self._apply()
            total += loss.item() * len(y)
        return total / len(loader.dataset)

    def unfreeze(self, name, lr):
        block = getattr(self.model, name)
        for p in block.parameters():
            p.requires_grad_(True)
        self.optimizer.add_param_group({"params": list(block.parameters()), "lr": lr})


def accuracy(model, loader, context=nullcontext):
    model.eval()
    hits = 0
    with torch.no_grad(), context():
        for x, y in loader:
            hits += model(x).argmax(1).eq(y).sum().item()
    return hits / len(loader.dataset)


def loaders(classes, n_train=3600, n_test=1500):
    return (DataLoader(Fashion("train", n_train, classes), batch_size=20, shuffle=True),
            DataLoader(Fashion("t10k", n_test, classes), batch_size=250))


def main():
    torch.manual_seed(55)
    source_train, source_test = loaders((0, 1, 2, 3, 4, 6))
    model = build(6)
    scaler = torch.amp.GradScaler("cpu", enabled=True, init_scale=256.0)
    tuner = FineTuner(model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True), scaler)
    for e in range(2):
        print(f"source {e}: loss {tuner.epoch(source_train):.3f} acc {accuracy(model, source_test):.3f}")

    target_train, target_test = loaders((5, 7, 8, 9))
    model.head = nn.Linear(model.head.in_features, 4)
    for name in ("low", "mid", "high"):
        getattr(model, name).requires_grad_(False)
    optimizer = torch.optim.SGD(model.head.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    tuner = FineTuner(model, optimizer, torch.amp.GradScaler("cpu", init_scale=256.0), accumulate=2)
    for stage, (name, lr) in enumerate([(None, 0), ("high", 0.02), ("mid", 0.01)]):
        if name:
            tuner.unfreeze(name, lr)
        print(f"target stage {stage} (+{name}): loss {tuner.epoch(target_train):.3f}"
              f" acc {accuracy(model, target_test):.3f} groups {len(optimizer.param_groups)}")


if __name__ == "__main__":
    main()
