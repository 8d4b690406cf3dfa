import gzip
import os

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

ROOT = os.path.join(os.environ["NETWRIGHT_DATA"], "fashion-mnist")


def read_images(name, count):
    with gzip.open(os.path.join(ROOT, name)) as f:
        f.read(16)
        raw = f.read(count * 784)
    return torch.from_numpy(np.frombuffer(raw, np.uint8).reshape(-1, 1, 28, 28).copy()).float()


def read_labels(name, count):
    with gzip.open(os.path.join(ROOT, name)) as f:
        f.read(8)
        return torch.from_numpy(np.frombuffer(f.read(count), np.uint8).astype(np.int64))


class ResBlock(nn.Module):
    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.shortcut = nn.Conv2d(c_in, c_out, 1, stride, bias=False)

    def forward(self, x):
        residual = self.shortcut(x)
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + residual)


class SmallResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.block1 = ResBlock(1, 8, 2)
        self.block2 = ResBlock(8, 16, 2)
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        x = self.block2(self.block1(x))
        return self.fc(x.mean(dim=(2, 3)))


def train_one_epoch(model, opt, x, y, batch=64):
    model.train()
    perm = torch.randperm(len(x))
    total = 0.0
    for chunk in perm.split(batch):
        loss = F.cross_entropy(model(x[chunk]), y[chunk])
        opt.zero_grad()
        loss.backward()
        opt.step()
        total += loss.item() * len(chunk)
    return total / len(x)


@torch.no_grad()
def accuracy(model, x, y):
    model.eval()
    hits = 0
    for xb, yb in zip(x.split(500), y.split(500)):
        hits += (model(xb).argmax(1) == yb).sum().item()
    return hits / len(x)


torch.manual_seed(0)
x_train, y_train = read_images("train-images-idx3-ubyte.gz", 3200), read_labels("train-labels-idx1-ubyte.gz", 3200)
x_test, y_test = read_images("t10k-images-idx3-ubyte.gz", 1000), read_labels("t10k-labels-idx1-ubyte.gz", 1000)
mean, std = x_train.mean(), x_train.std()
x_train, x_test = (x_train - mean) / std, (x_test - mean) / std

net = SmallResNet()
opt = torch.optim.Adam(net.parameters(), lr=3e-3)
for epoch in range(3):
    loss = train_one_epoch(net, opt, x_train, y_train)
    print("epoch", epoch, "loss", round(loss, 4), "test acc", accuracy(net, x_test, y_test))
