import gzip
import os
import struct

import numpy as np
import torch
import torch.nn as nn

folder = os.path.join(os.environ["NETWRIGHT_DATA"], "mnist")


def load(prefix, n):
    with gzip.open(os.path.join(folder, prefix + "-images-idx3-ubyte.gz"), "rb") as f:
        _, _, rows, cols = struct.unpack(">4I", f.read(16))
        raw = np.frombuffer(f.read(n * rows * cols), dtype=np.uint8).reshape(n, rows, cols)
    with gzip.open(os.path.join(folder, prefix + "-labels-idx1-ubyte.gz"), "rb") as f:
        f.read(8)
        digit = np.frombuffer(f.read(n), dtype=np.uint8)

    pictures = torch.zeros(n, rows * cols)
    for row, picture in zip(pictures, raw):
        row.copy_(torch.from_numpy(picture.astype(np.float32)).flatten() / 255)
    odd = torch.from_numpy((digit % 2).astype(np.float32))
    return pictures, odd


torch.manual_seed(77)
x_train, t_train = load("train", 5000)
x_test, t_test = load("t10k", 1000)

f = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 1), nn.Flatten(0))
bce = nn.BCEWithLogitsLoss()
optim = torch.optim.SGD(f.parameters(), lr=0.1, momentum=0.9)

for epoch in range(3):
    for i, idx in enumerate(torch.randperm(len(x_train)).split(50)):
        optim.zero_grad()
        loss = bce(f(x_train[idx]), t_train[idx])
        loss.backward()
        optim.step()
        if i % 50 == 0:
            print(f"  {epoch}.{i:03d} loss {loss.item():.4f}")
    with torch.no_grad():
        guess = (f(x_test) > 0).float()
    print(f"epoch {epoch}: test accuracy {(guess == t_test).float().mean().item():.4f}")
