import os
import gzip
import random

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def set_seed(seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def fashion(n_train=2000, n_test=600):
    base = os.path.join(os.environ["NETWRIGHT_DATA"], "fashion-mnist")
    with gzip.open(os.path.join(base, "t10k-images-idx3-ubyte.gz")) as f:
        x = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 28 * 28)
    with gzip.open(os.path.join(base, "t10k-labels-idx1-ubyte.gz")) as f:
        y = np.frombuffer(f.read(), np.uint8, offset=8)
    x = torch.tensor(x[: n_train + n_test] / 255.0, dtype=torch.float32)
    x = (x - 0.2860) / 0.3530
    y = torch.tensor(y[: n_train + n_test].astype("int64"))
    return TensorDataset(x[:n_train], y[:n_train]), TensorDataset(x[n_train:], y[n_train:])


def main():
    set_seed(2024)
    train_data, test_data = fashion()
    train_loader = DataLoader(train_data, batch_size=50, shuffle=True)
    test_loader = DataLoader(test_data, batch_size=200)

    model = nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Dropout(0.3), nn.Linear(100, 10))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    for epoch in range(5):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        model.eval()
        hits = 0
        with torch.no_grad():
            for x, y in test_loader:
                hits += (model(x).argmax(dim=1) == y).sum().item()
        print("Epoch %d  last loss %.3f  accuracy %.3f" % (epoch, loss.item(), hits / len(test_data)))


main()
