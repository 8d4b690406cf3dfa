import gzip
import os

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

ROOT = os.path.join(os.environ["NETWRIGHT_DATA"], "fashion-mnist")


def read_idx(name, count):
    with gzip.open(os.path.join(ROOT, name)) as fh:
        head = fh.read(4)
        dims = [int.from_bytes(fh.read(4), "big") for _ in range(head[3])]
        per_item = int(np.prod(dims[1:]))
        raw = fh.read(count * per_item)
    return np.frombuffer(raw, dtype=np.uint8).reshape([count] + dims[1:])


train_x = torch.from_numpy(read_idx("train-images-idx3-ubyte.gz", 6000).copy()).float().div(255).unsqueeze(1)
train_y = torch.from_numpy(read_idx("train-labels-idx1-ubyte.gz", 6000).copy()).long()
test_x = torch.from_numpy(read_idx("t10k-images-idx3-ubyte.gz", 1000).copy()).float().div(255).unsqueeze(1)
test_y = torch.from_numpy(read_idx("t10k-labels-idx1-ubyte.gz", 1000).copy()).long()
mean, std = train_x.mean(), train_x.std()
train_x, test_x = (train_x - mean) / std, (test_x - mean) / std

torch.manual_seed(1)


class GarmentNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 5, stride=2, padding=2)
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.fc = nn.Linear(16 * 7 * 7, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        return self.fc(x.flatten(1))


net = GarmentNet()
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
batch = 100

for epoch in range(3):
    net.train()
    order = torch.randperm(len(train_x))
    running = 0.0
    for start in range(0, len(order), batch):
        idx = order[start:start + batch]
        outputs = net(train_x[idx])
        loss = F.cross_entropy(outputs, train_y[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        running += loss.item() * len(idx)
    net.eval()
    with torch.no_grad():
        acc = (net(test_x).argmax(dim=1) == test_y).float().mean().item()
    print("Epoch %d | loss %.4f | test accuracy %.2f%%" % (epoch + 1, running / len(train_x), 100 * acc))

print("done")
