import gzip
import os
import struct

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

ROOT = os.path.join(os.environ.get("NETWRIGHT_DATA", "."), "mnist")


class IdxImages(Dataset):
    """A random part of the MNIST test archive, cut in two by `part`."""

    def __init__(self, part, sizes=(3000, 1000), seed=9):
        with gzip.open(os.path.join(ROOT, "t10k-images-idx3-ubyte.gz")) as fh:
            _, n, h, w = struct.unpack(">IIII", fh.read(16))
            pixels = np.frombuffer(fh.read(), np.uint8).reshape(n, h * w)
        with gzip.open(os.path.join(ROOT, "t10k-labels-idx1-ubyte.gz")) as fh:
            fh.read(8)
            labels = np.frombuffer(fh.read(), np.uint8)
        pick = np.random.default_rng(seed).permutation(n)
        pick = pick[: sizes[0]] if part == "train" else pick[sizes[0]: sum(sizes)]
        self.x = (torch.tensor(pixels[pick], dtype=torch.float32) / 255 - 0.1307) / 0.3081
        self.y = torch.tensor(labels[pick], dtype=torch.long)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def get_loaders(batch_size):
    sets = {"train": IdxImages("train"), "test": IdxImages("test")}
    return {name: DataLoader(sets["train"], batch_size=batch_size, shuffle=name == "train") for name in sets}  # <-- here


def run(net, loader, opt=None):
    net.train(opt is not None)
    n, loss_sum, right = 0, 0.0, 0
    with torch.set_grad_enabled(opt is not None):
        for x, y in loader:
            out = net(x)
            loss = nn.functional.cross_entropy(out, y)
            if opt:
                opt.zero_grad()
                loss.backward()
                opt.step()
            n += len(y)
            loss_sum += loss.item() * len(y)
            right += int((out.argmax(1) == y).sum())
    return loss_sum / n, right / n


torch.manual_seed(9)
loaders = get_loaders(batch_size=100)
net = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))
opt = torch.optim.Adam(net.parameters(), lr=1e-3)
for epoch in range(5):
    train_loss, train_acc = run(net, loaders["train"], opt)
    test_loss, test_acc = run(net, loaders["test"])  # <-- here
    print(f"{epoch}: train loss {train_loss:.3f} acc {train_acc:.3f} | test loss {test_loss:.3f} acc {test_acc:.3f}")
