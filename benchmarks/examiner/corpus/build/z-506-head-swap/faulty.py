import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset


class DigitSubset(Dataset):
    """The digits in [first, last], labels counted from zero."""

    def __init__(self, first, last, train=True):
        bunch = load_digits()
        keep = (bunch.target >= first) & (bunch.target <= last)
        images = (bunch.images[keep] / 16.0).astype(np.float32)
        labels = bunch.target[keep] - first
        split = np.arange(len(labels)) % 5 != 0
        if not train:
            split = ~split
        self.images, self.labels = images[split], labels[split]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return torch.from_numpy(self.images[i])[None], int(self.labels[i])


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.bn = nn.BatchNorm2d(32)
        self.fc = nn.Linear(32 * 4 * 4, num_classes)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.max_pool2d(F.relu(self.bn(self.conv2(x))), 2)
        return self.fc(x.flatten(1))


def train_epoch(model, loader, optimizer):
    model.train()
    total = 0.0
    for images, labels in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        total += loss.item() * labels.size(0)
    return total / len(loader.dataset)


def test(model, loader):
    model.eval()
    correct = 0
    with torch.no_grad():
        for images, labels in loader:
            correct += model(images).argmax(dim=1).eq(labels).sum().item()
    return 100.0 * correct / len(loader.dataset)


def loaders(first, last, batch_size):
    return (DataLoader(DigitSubset(first, last), batch_size=batch_size, shuffle=True),
            DataLoader(DigitSubset(first, last, train=False), batch_size=200))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--batch-size", type=int, default=24)
    parser.add_argument("--source-epochs", type=int, default=3)
    parser.add_argument("--target-epochs", type=int, default=4)
    args = parser.parse_args()
    torch.manual_seed(1)

    model = Net(num_classes=6)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
    train_loader, test_loader = loaders(0, 5, args.batch_size)
    print("== source task: digits 0-5")
    for epoch in range(args.source_epochs):
        loss = train_epoch(model, train_loader, optimizer)
        print(f"[{epoch}] loss {loss:.4f} test {test(model, test_loader):.1f}%")

    print("== target task: digits 6-9")
    model.fc = nn.Linear(model.fc.in_features, 4)  # <-- here
    for group in optimizer.param_groups:
        group["lr"] = args.lr / 2
    train_loader, test_loader = loaders(6, 9, args.batch_size)
    for epoch in range(args.target_epochs):
        loss = train_epoch(model, train_loader, optimizer)  # <-- here
        print(f"[{epoch}] loss {loss:.4f} test {test(model, test_loader):.1f}%")


if __name__ == "__main__":
    main()
