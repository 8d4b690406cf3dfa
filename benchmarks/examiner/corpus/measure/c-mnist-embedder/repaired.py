import gzip
import os
import struct
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn


@dataclass
class Settings:
    micro_batch: int = 32
    accumulate: int = 1
    epochs: int = 2
    lr: float = 3e-3
    n_train: int = 2048
    n_test: int = 1000


def load_idx(path, limit):
    with gzip.open(path, "rb") as fh:
        _, _, ndim = struct.unpack(">HBB", fh.read(4))
        shape = struct.unpack(">" + "I" * ndim, fh.read(4 * ndim))
        per_item = int(np.prod(shape[1:])) if ndim > 1 else 1
        buf = fh.read(limit * per_item)
    return np.frombuffer(buf, dtype=np.uint8).reshape((limit,) + shape[1:]).copy()


def load(split, limit):
    root = os.path.join(os.environ["NETWRIGHT_DATA"], "mnist")
    x = load_idx(os.path.join(root, f"{split}-images-idx3-ubyte.gz"), limit)
    y = load_idx(os.path.join(root, f"{split}-labels-idx1-ubyte.gz"), limit)
    x = (torch.from_numpy(x).float().unsqueeze(1) / 255.0 - 0.1307) / 0.3081
    return x, torch.from_numpy(y).long()


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, kernel_size=5, stride=2)
        self.pool = nn.MaxPool2d(2)
        self.embed = nn.Linear(8 * 6 * 6, 48, bias=False)
        self.norm = nn.BatchNorm1d(48)
        self.logits = nn.Linear(48, 10)

    def forward(self, x):
        x = self.pool(torch.relu(self.conv(x)))
        x = torch.relu(self.norm(self.embed(x.flatten(1))))
        return self.logits(x)


def main(s: Settings) -> None:
    torch.manual_seed(2)
    x, y = load("train", s.n_train)
    xt, yt = load("t10k", s.n_test)
    net = ConvNet()
    opt = torch.optim.AdamW(net.parameters(), lr=s.lr)
    loss_fn = nn.CrossEntropyLoss()

    for epoch in range(s.epochs):
        net.train()
        total = 0.0
        opt.zero_grad()
        for i, idx in enumerate(torch.randperm(s.n_train).split(s.micro_batch), start=1):
            loss = loss_fn(net(x[idx]), y[idx])
            (loss / s.accumulate).backward()
            if i % s.accumulate == 0:
                opt.step()
                opt.zero_grad()
            total += loss.item() * len(idx)
        net.eval()
        with torch.no_grad():
            acc = (net(xt).argmax(1) == yt).float().mean()
        print(f"epoch={epoch} train_loss={total / s.n_train:.4f} test_acc={acc:.4f}")


if __name__ == "__main__":
    main(Settings())
