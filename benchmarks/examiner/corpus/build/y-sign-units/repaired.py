"""Small network with binary hidden units on MNIST."""
import gzip
import os

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

FOLDER = os.path.join(os.environ["NETWRIGHT_DATA"], "mnist")


def load(kind, n):
    with gzip.open(os.path.join(FOLDER, f"{kind}-images-idx3-ubyte.gz")) as f:
        x = np.frombuffer(f.read(16 + n * 784), np.uint8, offset=16).reshape(n, 784)
    with gzip.open(os.path.join(FOLDER, f"{kind}-labels-idx1-ubyte.gz")) as f:
        y = np.frombuffer(f.read(8 + n), np.uint8, offset=8)
    x = torch.tensor(x, dtype=torch.float32).div(255).sub(0.1307).div(0.3081)
    return TensorDataset(x, torch.tensor(y, dtype=torch.long))


class BinaryNet(nn.Module):
    def __init__(self, width=96):
        super().__init__()
        self.fc1 = nn.Linear(784, width, bias=False)
        self.bn1 = nn.BatchNorm1d(width)
        self.fc2 = nn.Linear(width, width, bias=False)
        self.bn2 = nn.BatchNorm1d(width)
        self.fc3 = nn.Linear(width, 10)

    def forward(self, x):
        x = torch.tanh(self.bn1(self.fc1(x)))
        x = torch.relu(self.bn2(self.fc2(x)))
        return self.fc3(x)


def train_one_epoch(model, loader, optimizer, loss_fn):
    model.train()
    total = 0.0
    for data, target in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(data), target)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(data)
    return total / len(loader.dataset)


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    correct = sum((model(d).argmax(1) == t).sum().item() for d, t in loader)
    return correct / len(loader.dataset)


def main():
    torch.manual_seed(1234)
    train_loader = DataLoader(load("train", 2500), batch_size=50, shuffle=True)
    test_loader = DataLoader(load("t10k", 500), batch_size=250)
    model = BinaryNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    loss_fn = nn.CrossEntropyLoss()
    start = model.fc1.weight.detach().clone()
    for epoch in range(4):
        loss = train_one_epoch(model, train_loader, optimizer, loss_fn)
        scheduler.step()
        moved = (model.fc1.weight.detach() - start).norm().item()
        print(f"epoch {epoch + 1} loss {loss:.4f} acc {evaluate(model, test_loader):.4f} "
              f"first layer moved {moved:.3f}")


if __name__ == "__main__":
    main()
