import gzip
import os
import struct

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


def read_idx(name, limit):
    path = os.path.join(os.environ.get("NETWRIGHT_DATA", "."), "mnist", name)
    with gzip.open(path, "rb") as fh:
        _, _, ndim = struct.unpack(">HBB", fh.read(4))
        shape = struct.unpack(">" + "I" * ndim, fh.read(4 * ndim))
        per_item = int(np.prod(shape[1:], dtype=int))
        data = np.frombuffer(fh.read(limit * per_item), dtype=np.uint8)
    return torch.from_numpy(data.copy()).view(limit, *shape[1:])


class FeatureExtractor(nn.Module):
    """Collapses the height; what remains is read from left to right."""

    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(8, channels, 3, stride=2, padding=1)

    def forward(self, images):
        x = F.relu(self.conv1(images))
        x = F.relu(self.conv2(x))
        return F.adaptive_max_pool2d(x, (1, x.size(-1))).squeeze(2)


class CRNN(nn.Module):
    def __init__(self, channels=24, hidden=32, n_classes=10):
        super().__init__()
        self.cnn = FeatureExtractor(channels)
        self.rnn = nn.GRU(channels, hidden, bidirectional=True)
        self.project = nn.Linear(2 * hidden, n_classes)

    @staticmethod
    def to_sequence(features):
        b, c, w = features.shape
        return features.view(w, b, c)  # <-- here

    def forward(self, images):
        steps = self.to_sequence(self.cnn(images))
        _, h = self.rnn(steps)  # <-- here
        return self.project(torch.cat([h[0], h[1]], dim=1))


class Split:
    def __init__(self, prefix, limit):
        self.images = (read_idx(f"{prefix}-images-idx3-ubyte.gz", limit).float()[:, None] / 255 - 0.13) / 0.31
        self.labels = read_idx(f"{prefix}-labels-idx1-ubyte.gz", limit).long()

    def loop(self, size, shuffle=False):
        n = len(self.labels)
        order = torch.randperm(n) if shuffle else torch.arange(n)
        for chunk in torch.split(order, size):
            yield self.images[chunk], self.labels[chunk]


def test(net, split):
    net.eval()
    good = 0
    with torch.inference_mode():
        for x, y in split.loop(250):
            good += int((net(x).argmax(-1) == y).sum())
    return good / len(split.labels)


def main():
    torch.manual_seed(5)
    train, held_out = Split("train", 3000), Split("t10k", 750)
    net = CRNN()
    optim = torch.optim.RMSprop(net.parameters(), lr=2e-3)
    for epoch in range(4):
        net.train()
        tot = 0.0
        for x, y in train.loop(50, shuffle=True):
            loss = F.cross_entropy(net(x), y)
            optim.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optim.step()
            tot += loss.item() * len(y)
        print("epoch", epoch, "loss %.3f" % (tot / len(train.labels)), "test accuracy %.3f" % test(net, held_out))


if __name__ == "__main__":
    main()
