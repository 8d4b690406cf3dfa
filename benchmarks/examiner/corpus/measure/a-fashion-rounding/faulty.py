import gzip
import os
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

root = os.path.join(os.environ["NETWRIGHT_DATA"], "fashion-mnist")


def images(name, n):
    with gzip.open(os.path.join(root, name)) as f:
        a = np.frombuffer(f.read(16 + n * 784), np.uint8, offset=16)
    return torch.tensor(a.reshape(n, 1, 28, 28) / 127.5 - 1, dtype=torch.float32)


def labels(name, n):
    with gzip.open(os.path.join(root, name)) as f:
        return torch.tensor(np.frombuffer(f.read(8 + n), np.uint8, offset=8), dtype=torch.int64)


train = TensorDataset(images("train-images-idx3-ubyte.gz", 4000), labels("train-labels-idx1-ubyte.gz", 4000))
test = TensorDataset(images("t10k-images-idx3-ubyte.gz", 1000), labels("t10k-labels-idx1-ubyte.gz", 1000))
train_dl = DataLoader(train, batch_size=50, shuffle=True)
test_dl = DataLoader(test, batch_size=250)

torch.manual_seed(21)
cnn = nn.Sequential(
    nn.Conv2d(1, 8, 3, stride=2, padding=1),
    nn.ReLU(),
    nn.Conv2d(8, 16, 3, stride=2, padding=1),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(16 * 7 * 7, 64),
    nn.ReLU(),
    nn.Linear(64, 1),
)
loss_fn = nn.MSELoss()  # <-- here
optimizer = torch.optim.Adam(cnn.parameters(), lr=1e-3)

for epoch in range(3):
    cnn.train()
    for x, y in train_dl:
        loss = loss_fn(cnn(x).squeeze(1), y.float())  # <-- here
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    cnn.eval()
    correct = 0
    with torch.no_grad():
        for x, y in test_dl:
            pred = cnn(x).squeeze(1).round().clamp(0, 9).long()
            correct += (pred == y).sum().item()
    print(f"epoch {epoch}: loss {loss.item():.3f}, accuracy {correct / len(test):.3f}")
