"""Transfer from digits 0-4 to digits 5-9 with frozen BatchNorm.

The source network is trained in the ordinary way.  For the target task its
BatchNorm layers stay in evaluation mode although the rest trains, as detection
code bases do; at the end dropout is sampled on purpose to get an uncertainty.
"""
import contextlib
import logging
import math
import os
import gzip

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader, TensorDataset

logging.basicConfig(level=logging.INFO, format="%(levelname).1s %(message)s")
log = logging.getLogger("transfer")


def idx(part, kind, limit, skip):
    path = os.path.join(os.environ["NETWRIGHT_DATA"], "mnist", f"{part}-{kind}-ubyte.gz")
    item = 784 if "images" in kind else 1
    with gzip.open(path, "rb") as stream:
        stream.read(skip)
        return np.frombuffer(stream.read(limit * item), dtype=np.uint8)


def numbers(part, wanted, limit):
    """Only the classes in ``wanted``, relabelled from zero."""
    pixels = torch.from_numpy(idx(part, "images-idx3", limit, 16).copy()).view(-1, 1, 28, 28)
    labels = torch.from_numpy(idx(part, "labels-idx1", limit, 8).copy()).long()
    table = torch.full((10,), -1)
    table[list(wanted)] = torch.arange(len(wanted))
    keep = table[labels] >= 0
    x = nn.functional.avg_pool2d(pixels[keep].float(), 2).div(255).sub(0.13).div(0.28)
    return TensorDataset(x, table[labels[keep]])


class Backbone(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU(),
            nn.AdaptiveAvgPool2d(3), nn.Flatten(),
        )
        self.out_features = 18 * width

    def forward(self, x):
        return self.layers(x)


class Classifier(nn.Module):
    freeze_norm = False

    def __init__(self, backbone, n_classes, p=0.25):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Sequential(nn.Linear(backbone.out_features, 48), nn.ReLU(), nn.Dropout(p), nn.Linear(48, n_classes))

    def forward(self, x):
        return self.head(self.backbone(x))

    def norms(self):
        return (m for m in self.modules() if isinstance(m, _BatchNorm))

    def train(self, mode=True):
        super().train(mode)
        if self.freeze_norm:
            for m in self.norms():
                m.eval()
        return self


class FineTuned(Classifier):
    freeze_norm = True

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        for m in self.norms():
            m.requires_grad_(False)


@contextlib.contextmanager
def mode(net, training):
    before = net.training
    net.train(training)
    try:
        yield
    finally:
        net.train(before)


def accuracy(net, dataset):
    with mode(net, False), torch.no_grad():
        hits = sum((net(x).argmax(1) == y).sum().item() for x, y in DataLoader(dataset, batch_size=256))
    return hits / len(dataset)


@torch.no_grad()
def monte_carlo(net, dataset, draws=8):
    """Mean class probabilities over dropout masks, and their entropy."""
    net.eval()
    for m in net.modules():
        if isinstance(m, nn.Dropout):
            m.train()
    hits, doubt = 0, []
    for x, y in DataLoader(dataset, batch_size=256):
        p = torch.stack([net(x).softmax(1) for _ in range(draws)]).mean(0)
        hits += (p.argmax(1) == y).sum().item()
        doubt.append(torch.special.entr(p).sum(1))
    net.eval()
    return hits / len(dataset), torch.cat(doubt).mean().item()


def fit(net, train, test, epochs, lr, title):
    groups = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(groups, lr=lr, weight_decay=1e-3)
    criterion = nn.CrossEntropyLoss()
    loader = DataLoader(train, batch_size=32, shuffle=True, drop_last=True)
    net.train()
    for epoch in range(epochs):
        for x, y in loader:
            loss = criterion(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        log.info("%s epoch %d: last loss %.3f, train accuracy %.3f, test accuracy %.3f",
                 title, epoch, loss.item(), accuracy(net, train), accuracy(net, test))


def main():
    torch.manual_seed(500)
    low, high = range(5), range(5, 10)
    source = Classifier(Backbone(8), len(low))
    fit(source, numbers("train", low, 2400), numbers("t10k", low, 800), 3, 2e-3, "source")

    target = FineTuned(source.backbone, len(high))
    test = numbers("t10k", high, 1000)
    fit(target, numbers("train", high, 2400), test, 4, 1e-3, "target")
    acc, doubt = monte_carlo(target, test)
    log.info("Monte Carlo dropout: accuracy %.3f, mean predictive entropy %.3f of %.3f nats", acc, doubt, math.log(5))


if __name__ == "__main__":
    main()
