import gzip
import os
import struct

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

ROOT = os.path.join(os.environ["NETWRIGHT_DATA"], "fashion-mnist")


def read_idx(name, limit):
    with gzip.open(os.path.join(ROOT, name), "rb") as fh:
        magic, = struct.unpack(">I", fh.read(4))
        dims = struct.unpack(">" + "I" * (magic & 0xFF), fh.read(4 * (magic & 0xFF)))
        per_item = int(np.prod(dims[1:], dtype=int))
        raw = np.frombuffer(fh.read(limit * per_item), dtype=np.uint8)
    return raw.reshape(limit, *dims[1:])


def squash(z):
    return 2 * torch.sigmoid(2 * z) - 1


class Stack(nn.Module):
    def __init__(self, channels=12, depth=8):
        super().__init__()
        self.stem = nn.Conv2d(1, channels, 4, stride=4)
        self.blocks = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(depth))
        self.head = nn.Linear(channels * 7 * 7, 10)
        for conv in [self.stem, *self.blocks]:
            nn.init.xavier_normal_(conv.weight, gain=1.2)
            nn.init.zeros_(conv.bias)

    def forward(self, x):
        x = squash(self.stem(x))
        for conv in self.blocks:
            x = squash(conv(x))
        return self.head(x.flatten(1))


def batches(x, y, size, rng):
    order = rng.permutation(len(x))
    for k in range(0, len(x), size):
        take = order[k:k + size]
        yield x[take], y[take]


if __name__ == "__main__":
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    xtr = torch.tensor(read_idx("train-images-idx3-ubyte.gz", 4000) / 255.0, dtype=torch.float32)[:, None]
    ytr = torch.tensor(read_idx("train-labels-idx1-ubyte.gz", 4000).astype(np.int64))
    xte = torch.tensor(read_idx("t10k-images-idx3-ubyte.gz", 1000) / 255.0, dtype=torch.float32)[:, None]
    yte = torch.tensor(read_idx("t10k-labels-idx1-ubyte.gz", 1000).astype(np.int64))
    mu, sd = xtr.mean(), xtr.std()
    xtr, xte = (xtr - mu) / sd, (xte - mu) / sd

    net = Stack()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for epoch in range(4):
        net.train()
        total = 0.0
        for xb, yb in batches(xtr, ytr, 64, rng):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(xb), yb)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(xb)
        net.eval()
        with torch.no_grad():
            acc = (net(xte).argmax(1) == yte).float().mean().item()
        print(f"[{epoch}] loss={total / len(xtr):.3f} test={acc:.3f}")
