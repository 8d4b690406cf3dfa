# %% [markdown]
# # Reusing features: shirts -> shoes
# Pretrain on the first six Fashion classes, then fit a new classifier for the other four.

# %%
import gzip
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

root = Path(os.environ["NETWRIGHT_DATA"]) / "fashion-mnist"


def read_images(name, n):
    with gzip.open(root / name) as f:
        raw = f.read(16 + n * 784)
    return np.frombuffer(raw, np.uint8, offset=16).reshape(n, 1, 28, 28)


def read_labels(name, n):
    with gzip.open(root / name) as f:
        raw = f.read(8 + n)
    return np.frombuffer(raw, np.uint8, offset=8).astype(np.int64)


def tensors(prefix, n):
    x = torch.from_numpy(read_images(f"{prefix}-images-idx3-ubyte.gz", n).astype(np.float32) / 255.0)
    y = torch.from_numpy(read_labels(f"{prefix}-labels-idx1-ubyte.gz", n))
    return (x - 0.286) / 0.353, y


# %%
torch.manual_seed(11)
x_train, y_train = tensors("train", 6000)
x_test, y_test = tensors("t10k", 1500)


def task(lo, hi, bs):
    a, b = (y_train >= lo) & (y_train <= hi), (y_test >= lo) & (y_test <= hi)
    return (DataLoader(TensorDataset(x_train[a], y_train[a] - lo), batch_size=bs, shuffle=True),
            DataLoader(TensorDataset(x_test[b], y_test[b] - lo), batch_size=500))


def accuracy(net, loader):
    net.eval()
    with torch.no_grad():
        hits = sum((net(x).argmax(1) == y).sum().item() for x, y in loader)
    return hits / len(loader.dataset)


def fit(net, loader, optimizer, epochs, tag):
    criterion = nn.CrossEntropyLoss()
    for epoch in range(epochs):
        net.train()
        log = []
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(net(x), y)
            loss.backward()
            optimizer.step()
            log.append(loss.item())
        print(f"{tag} {epoch}: loss {sum(log) / len(log):.3f}")


# %% stage 1
features = nn.Sequential(
    nn.Conv2d(1, 12, 5, stride=2), nn.ReLU(),
    nn.Conv2d(12, 24, 3, stride=2), nn.ReLU(),
    nn.Flatten(),
)
source_head = nn.Sequential(nn.Linear(24 * 5 * 5, 64), nn.ReLU(), nn.Linear(64, 6))
source = nn.Sequential(features, source_head)
train_loader, test_loader = task(0, 5, 48)
fit(source, train_loader, torch.optim.Adam(source.parameters(), lr=1.5e-3), 2, "source")
print("source accuracy", accuracy(source, test_loader))

# %% stage 2
for p in features.parameters():
    p.requires_grad = False

target_head = nn.Linear(24 * 5 * 5, 4)
target = nn.Sequential(features, target_head)
train_loader, test_loader = task(6, 9, 48)
optimizer = torch.optim.Adam(features.parameters(), lr=1.5e-3)  # <-- here
fit(target, train_loader, optimizer, 3, "target")
print("target accuracy", accuracy(target, test_loader))
