"""LeNet on Fashion-MNIST (subset), plain PyTorch.

usage: python main.py --epochs 3 --batch-size 64
"""
import argparse
import gzip
import os
import struct

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader, Dataset

CLASSES = ["top", "trouser", "pullover", "dress", "coat",
           "sandal", "shirt", "sneaker", "bag", "boot"]


def read_idx(path):
    with gzip.open(path, "rb") as fh:
        _, dims = struct.unpack(">HH", fh.read(4))
        dims = dims & 0xFF
        shape = struct.unpack(">" + "I" * dims, fh.read(4 * dims))
        return np.frombuffer(fh.read(), dtype=np.uint8).reshape(shape)


class FashionMNIST(Dataset):
    def __init__(self, root, train=True, limit=None):
        stem = "train" if train else "t10k"
        folder = os.path.join(root, "fashion-mnist")
        self.images = read_idx(os.path.join(folder, f"{stem}-images-idx3-ubyte.gz"))[:limit]
        self.labels = read_idx(os.path.join(folder, f"{stem}-labels-idx1-ubyte.gz"))[:limit]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        img = torch.from_numpy(self.images[i].astype(np.float32) / 255.0)
        img = (img - 0.286) / 0.353
        return img.unsqueeze(0), int(self.labels[i])


class LeNet(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, kernel_size=5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.pool = nn.MaxPool2d(2, 2)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)
        self.relu = nn.ReLU()
        self.softmax = nn.Softmax(dim=1)

    def forward(self, x):
        x = self.pool(self.relu(self.conv1(x)))
        x = self.pool(self.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        x = self.relu(self.fc1(x))
        x = self.relu(self.fc2(x))
        return self.softmax(self.fc3(x))  # <-- here


def train(args, model, loader, criterion, optimizer, epoch):
    model.train()
    seen, total = 0, 0.0
    for batch_idx, (data, target) in enumerate(loader):
        optimizer.zero_grad()
        output = model(data)
        loss = criterion(output, target)  # <-- here
        loss.backward()
        optimizer.step()
        seen += len(data)
        total += loss.item() * len(data)
        if batch_idx % args.log_interval == 0:
            print(f"Train Epoch: {epoch} [{seen}/{len(loader.dataset)}]\tLoss: {loss.item():.4f}")
    return total / seen


@torch.no_grad()
def test(model, loader):
    model.eval()
    hits = torch.zeros(10)
    count = torch.zeros(10)
    for data, target in loader:
        pred = model(data).argmax(dim=1)
        for c in range(10):
            count[c] += (target == c).sum()
            hits[c] += ((target == c) & (pred == c)).sum()
    return (hits.sum() / count.sum()).item(), hits / count


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default=os.environ.get("NETWRIGHT_DATA", "data"))
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log-interval", type=int, default=30)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    train_loader = DataLoader(FashionMNIST(args.data, True, 5000), batch_size=args.batch_size, shuffle=True)
    test_loader = DataLoader(FashionMNIST(args.data, False, 1000), batch_size=250)

    model = LeNet(len(CLASSES))
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=args.lr)
    best = 0.0
    for epoch in range(1, args.epochs + 1):
        mean_loss = train(args, model, train_loader, criterion, optimizer, epoch)
        acc, per_class = test(model, test_loader)
        best = max(best, acc)
        print(f"==> epoch {epoch}: train loss {mean_loss:.4f}, test accuracy {acc:.4f}")
    for name, a in zip(CLASSES, per_class.tolist()):
        print(f"  {name:<10s}{a:.3f}")
    print(f"best accuracy: {best:.4f}")


if __name__ == "__main__":
    main()
