import gzip
import os
import numpy as np
import torch
import torch.nn as nn
from torch.optim.swa_utils import AveragedModel, SWALR, update_bn
from torch.utils.data import DataLoader, TensorDataset


def load_split(prefix, n):
    base = os.path.join(os.environ["NETWRIGHT_DATA"], "fashion-mnist", prefix)
    with gzip.open(base + "-images-idx3-ubyte.gz") as f:
        x = np.frombuffer(f.read(16 + n * 784), np.uint8, offset=16).reshape(n, 784)
    with gzip.open(base + "-labels-idx1-ubyte.gz") as f:
        y = np.frombuffer(f.read(8 + n), np.uint8, offset=8)
    return torch.tensor(x / 255.0, dtype=torch.float32), torch.tensor(y, dtype=torch.long)


def accuracy(model, x, y):
    model.eval()
    with torch.no_grad():
        return (model(x).argmax(dim=1) == y).float().mean().item()


torch.manual_seed(2)
x_train, y_train = load_split("train", 6000)
x_test, y_test = load_split("t10k", 2000)
loader = DataLoader(TensorDataset(x_train, y_train), batch_size=60, shuffle=True)

model = nn.Sequential(
    nn.Linear(784, 96, bias=False), nn.BatchNorm1d(96), nn.ReLU(),
    nn.Linear(96, 48, bias=False), nn.BatchNorm1d(48), nn.ReLU(),
    nn.Linear(48, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
swa_model = AveragedModel(model)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
swa_start, epochs = 3, 7
swa_scheduler = SWALR(optimizer, swa_lr=0.02, anneal_epochs=2)
loss_fn = nn.CrossEntropyLoss()

for epoch in range(epochs):
    model.train()
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(xb), yb)
        loss.backward()
        optimizer.step()
    if epoch >= swa_start:
        swa_model.update_parameters(model)
        swa_scheduler.step()
    else:
        scheduler.step()
    print(f"epoch {epoch} loss {loss.item():.3f} acc {accuracy(model, x_test, y_test):.4f}")

update_bn(loader, swa_model)
print(f"averaged model acc {accuracy(swa_model, x_test, y_test):.4f}")
