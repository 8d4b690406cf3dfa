import argparse
import gzip
import pathlib
import os

import numpy as np
import torch
from torch import nn

parser = argparse.ArgumentParser(description="MLP on MNIST")
parser.add_argument("--lr", type=float, default=0.02)
parser.add_argument("--momentum", type=float, default=0.9)
parser.add_argument("--batch", type=int, default=100)
parser.add_argument("--epochs", type=int, default=3)
args = parser.parse_args()

torch.manual_seed(0)
folder = pathlib.Path(os.environ["NETWRIGHT_DATA"]) / "mnist"


def load(prefix, count):
    with gzip.open(folder / f"{prefix}-images-idx3-ubyte.gz", "rb") as f:
        x = np.frombuffer(f.read(16 + 784 * count)[16:], dtype=np.uint8).reshape(count, 784)
    with gzip.open(folder / f"{prefix}-labels-idx1-ubyte.gz", "rb") as f:
        y = np.frombuffer(f.read(8 + count)[8:], dtype=np.uint8)
    return torch.tensor(x / 255.0, dtype=torch.float32), torch.tensor(y, dtype=torch.long)


x_train, y_train = load("train", 6000)
x_test, y_test = load("t10k", 2000)
x_train, x_test = (x_train - 0.1307) / 0.3081, (x_test - 0.1307) / 0.3081

model = nn.Sequential(nn.Linear(784, 100), nn.Tanh(), nn.Linear(100, 50), nn.Tanh(), nn.Linear(50, 10))
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=args.momentum)

for epoch in range(args.epochs):
    model.train()
    for step, idx in enumerate(torch.randperm(len(x_train)).split(args.batch)):
        optimizer.zero_grad()
        loss = loss_fn(model(x_train[idx]), y_train[idx])
        loss.backward()
        optimizer.step()
        if step % 15 == 0:
            print(f"epoch {epoch} step {step:3d} loss {loss.item():.4f}")
    model.eval()
    with torch.no_grad():
        accuracy = (model(x_test).argmax(1) == y_test).float().mean().item()
    print(f"epoch {epoch} test accuracy {accuracy:.4f}")
