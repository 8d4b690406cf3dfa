import gzip
import os
import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader, Dataset

EPOCHS, BATCH, GAMMA = 5, 64, 0.8


class Mnist(Dataset):
    def __init__(self, part, limit):
        base = os.path.join(os.environ.get("NETWRIGHT_DATA", "data"), "mnist")
        with gzip.open(os.path.join(base, part + "-images-idx3-ubyte.gz")) as f:
            f.seek(16)
            self.x = np.frombuffer(f.read(limit * 784), np.uint8).reshape(limit, 784)
        with gzip.open(os.path.join(base, part + "-labels-idx1-ubyte.gz")) as f:
            f.seek(8)
            self.y = np.frombuffer(f.read(limit), np.uint8)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, k):
        img = torch.tensor(self.x[k], dtype=torch.float32)
        return (img / 255 - 0.1307) / 0.3081, int(self.y[k])


def attach_decay(optimizer, steps_per_epoch):
    """Exponential decay that needs no call in the training loop."""
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, GAMMA ** (1 / steps_per_epoch))
    optimizer.register_step_post_hook(lambda *_: scheduler.step())
    return scheduler


def train_one_epoch(net, loader, criterion, optimizer):
    net.train()
    loss_sum = 0.0
    for img, digit in loader:
        optimizer.zero_grad()
        loss = criterion(net(img), digit)
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * digit.size(0)
    return loss_sum / len(loader.dataset)


def test(net, loader):
    net.eval()
    wrong = 0
    with torch.no_grad():
        for img, digit in loader:
            wrong += (net(img).argmax(1) != digit).sum().item()
    return 100.0 * wrong / len(loader.dataset)


if __name__ == "__main__":
    torch.manual_seed(19)
    train_loader = DataLoader(Mnist("train", 2560), batch_size=BATCH, shuffle=True)
    test_loader = DataLoader(Mnist("t10k", 1000), batch_size=250)
    net = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = optim.SGD(net.parameters(), lr=0.03, momentum=0.8)
    scheduler = attach_decay(optimizer, len(train_loader))
    for epoch in range(1, EPOCHS + 1):
        l = train_one_epoch(net, train_loader, nn.CrossEntropyLoss(), optimizer)
        print(f"Epoch {epoch}: loss={l:.4f} test error={test(net, test_loader):.2f}% lr={scheduler.get_last_lr()[0]:.2e}")
