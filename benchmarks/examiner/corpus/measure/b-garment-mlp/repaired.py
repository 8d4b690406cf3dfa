import gzip
import os

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

NAMES = ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"]


def idx(kind, what, offset):
    path = os.path.join(os.environ["NETWRIGHT_DATA"], "fashion-mnist", f"{kind}-{what}-ubyte.gz")
    with gzip.open(path, "rb") as f:
        return np.frombuffer(f.read(), dtype=np.uint8, offset=offset)


def gather(kind, per_class):
    """Take the first `per_class` pictures of every garment."""
    pixels = idx(kind, "images-idx3", 16).reshape(-1, 784)
    ids = idx(kind, "labels-idx1", 8)
    xs, ys = [], []
    for c, name in enumerate(NAMES):
        chosen = np.flatnonzero(ids == c)[:per_class]
        xs.append(torch.tensor(pixels[chosen], dtype=torch.float32).div(255))
        ys.append(torch.full((len(chosen),), c))
    return TensorDataset(torch.cat(xs), torch.cat(ys))


def make_net(*widths):
    layers = []
    for a, b in zip(widths[:-2], widths[1:-1]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    layers.append(nn.Linear(widths[-2], widths[-1]))
    return nn.Sequential(*layers)


torch.manual_seed(7)
train_set, test_set = gather("train", 600), gather("t10k", 100)
train_loader = DataLoader(train_set, batch_size=50, shuffle=True)
test_loader = DataLoader(test_set, batch_size=500)

net = make_net(784, 100, 50, 10)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.5)

for epoch in range(6):
    net.train()
    for inputs, targets in train_loader:
        optimizer.zero_grad()
        loss = criterion(net(inputs), targets)
        loss.backward()
        optimizer.step()
    net.eval()
    correct = 0
    with torch.no_grad():
        for inputs, targets in test_loader:
            correct += (net(inputs).argmax(1) == targets).sum().item()
    print("epoch %d  test accuracy %.1f%%" % (epoch + 1, 100.0 * correct / len(test_set)))
