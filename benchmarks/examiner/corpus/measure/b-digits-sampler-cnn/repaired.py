import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Subset, TensorDataset


class DigitData:
    """The 8x8 digits, cut into parts at random."""

    shares = {"train": (0.0, 0.75), "test": (0.75, 1.0)}

    def __init__(self, seed=0):
        self.seed = seed
        bunch = load_digits()
        images = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16
        self.dataset = TensorDataset(images, torch.tensor(bunch.target))

    def part(self, name):
        n = len(self.dataset)
        first, last = self.shares[name]
        order = np.random.RandomState(self.seed).permutation(n)
        return Subset(self.dataset, order[int(first * n):int(last * n)].tolist())


class DigitNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.fc = nn.Linear(32 * 4, 10)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.max_pool2d(x, 2)
        x = torch.relu(self.bn2(self.conv2(x)))
        x = torch.max_pool2d(x, 2)
        return self.fc(x.flatten(1))


def accuracy(net, loader):
    net.eval()
    hits = 0
    with torch.no_grad():
        for x, y in loader:
            hits += (net(x).argmax(1) == y).sum().item()
    return hits / len(loader.dataset)


np.random.seed(4)
torch.manual_seed(4)
data = DigitData(seed=4)
train_loader = DataLoader(data.part("train"), batch_size=32, shuffle=True, drop_last=True)
test_loader = DataLoader(data.part("test"), batch_size=150)

net = DigitNet()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss()
epoch = 0
while epoch < 4:
    net.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        optimizer.step()
    epoch += 1
    print(f"epoch {epoch}: loss {loss.item():.3f} held-out accuracy {accuracy(net, test_loader):.3f}")
