"""Fashion-MNIST subset, small conv net, per-layer gradient statistics."""
import gzip
import os
from collections import defaultdict
from pathlib import Path
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

ROOT = Path(os.environ.get("NETWRIGHT_DATA", "data")) / "fashion-mnist"


def idx(name, header):
    with gzip.open(ROOT / name) as fh:
        return np.frombuffer(fh.read(), np.uint8, offset=header)


def get(split, n):
    x = idx(f"{split}-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)[:n]
    y = idx(f"{split}-labels-idx1-ubyte.gz", 8)[:n]
    x = torch.from_numpy(x.astype(np.float32) / 255.0)
    return (x - 0.286) / 0.353, torch.from_numpy(y.astype(np.int64))


class GradientLog:
    def __init__(self, net):
        self.net = net
        self.rows = defaultdict(list)

    def collect(self):
        for name, p in self.net.named_parameters():
            if p.grad is None:
                continue
            self.rows[name].append(p.grad.norm().item())
            p.grad.zero_()  # <-- here

    def summary(self):
        return {k: sum(v) / len(v) for k, v in self.rows.items() if k.endswith("weight")}


class SmallConv(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(1, 8, 5, stride=2, padding=2)
        self.c2 = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.fc = nn.Linear(16 * 49, 10)

    def forward(self, x):
        x = F.relu(self.c1(x))
        x = F.relu(self.c2(x))
        return self.fc(x.flatten(1))


def train(net, data, epochs=4, bs=64):
    X, Y = data
    opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    log = GradientLog(net)
    for ep in range(epochs):
        net.train()
        losses = []
        order = torch.randperm(len(X))
        for s in range(0, len(X) - bs + 1, bs):
            b = order[s:s + bs]
            loss = F.cross_entropy(net(X[b]), Y[b])
            opt.zero_grad()
            loss.backward()
            log.collect()
            opt.step()  # <-- here
            losses.append(loss.item())
        yield ep, float(np.mean(losses)), log.summary()


def accuracy(net, data):
    net.eval()
    with torch.no_grad():
        return (net(data[0]).argmax(1) == data[1]).float().mean().item()


if __name__ == "__main__":
    torch.manual_seed(0)
    train_data, test_data = get("train", 3000), get("t10k", 1000)
    net = SmallConv()
    for ep, loss, stats in train(net, train_data):
        print(ep, f"loss {loss:.3f} test {accuracy(net, test_data):.3f}",
              {k: round(v, 3) for k, v in stats.items()})
