import gzip, os
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import TensorDataset, DataLoader

torch.manual_seed(1)
root = os.environ["NETWRIGHT_DATA"] + "/mnist/"

def images(name, n):
    raw = gzip.open(root + name).read(16 + n * 784)[16:]
    return torch.tensor(np.frombuffer(raw, dtype=np.uint8).reshape(n, 784).copy()).float()

def labels(name, n):
    raw = gzip.open(root + name).read(8 + n)[8:]
    return torch.tensor(np.frombuffer(raw, dtype=np.uint8).copy()).long()

x_train = (images("train-images-idx3-ubyte.gz", 4000) / 255 - 0.1307) / 0.3081
y_train = labels("train-labels-idx1-ubyte.gz", 4000)
x_test = (images("t10k-images-idx3-ubyte.gz", 1000) / 255 - 0.1307) / 0.3081
y_test = labels("t10k-labels-idx1-ubyte.gz", 1000)

train_loader = DataLoader(TensorDataset(x_train, y_train), batch_size=100, shuffle=True)
test_loader = DataLoader(TensorDataset(x_test, y_test), batch_size=500)

net = nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.3)

for epoch in range(6):
    net.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = loss_fn(net(x), y)
        loss.backward()
        optimizer.step()
        scheduler.step()  # <-- here

    net.eval()
    right = 0
    with torch.no_grad():
        for x, y in test_loader:
            right += (net(x).argmax(1) == y).sum().item()
    print(f"epoch {epoch}: loss {loss.item():.4f}  test {right / len(y_test):.4f}")
