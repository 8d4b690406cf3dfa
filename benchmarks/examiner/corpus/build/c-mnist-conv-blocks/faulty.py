import gzip
import os

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

FOLDER = os.path.join(os.environ.get("NETWRIGHT_DATA", "data"), "mnist")


def read(kind, n):
    with gzip.open(os.path.join(FOLDER, f"{kind}-images-idx3-ubyte.gz")) as f:
        x = np.frombuffer(f.read(16 + 784 * n)[16:], dtype=np.uint8).reshape(n, 1, 28, 28)
    with gzip.open(os.path.join(FOLDER, f"{kind}-labels-idx1-ubyte.gz")) as f:
        y = np.frombuffer(f.read(8 + n)[8:], dtype=np.uint8)
    return TensorDataset((torch.tensor(x).float() - 33.3) / 78.6, torch.tensor(y).long())


def conv_block(c_in, c_out):
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 3, stride=2, padding=1),  # <-- here
        nn.BatchNorm2d(c_out),  # <-- here
        nn.ReLU(inplace=True),
    )


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(conv_block(1, 8), conv_block(8, 16), conv_block(16, 24))
        self.head = nn.Linear(24 * 4 * 4, 10)

    def forward(self, x):
        return self.head(torch.flatten(self.body(x), 1))


torch.manual_seed(99)
train_loader = DataLoader(read("train", 3000), batch_size=50, shuffle=True)
test_loader = DataLoader(read("t10k", 1000), batch_size=500)

net = Net()
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, nesterov=True)

for epoch in range(3):
    net.train()
    for i, (x, y) in enumerate(train_loader):
        optimizer.zero_grad()
        loss = loss_fn(net(x), y)
        loss.backward()
        optimizer.step()
        if i % 20 == 0:
            print(f"epoch {epoch} batch {i:3d} loss {loss.item():.4f}")
    net.eval()
    right = 0
    with torch.no_grad():
        for x, y in test_loader:
            right += (net(x).argmax(1) == y).sum().item()
    print(f"epoch {epoch} test accuracy {right / 1000:.3f}")
