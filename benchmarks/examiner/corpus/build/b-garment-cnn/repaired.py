import gzip
import os

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

ROOT = os.path.join(os.environ["NETWRIGHT_DATA"], "fashion-mnist")


class Garments(Dataset):
    def __init__(self, split, limit):
        with gzip.open(os.path.join(ROOT, f"{split}-images-idx3-ubyte.gz")) as fh:
            pixels = np.frombuffer(fh.read(16 + limit * 784), np.uint8, offset=16)
        with gzip.open(os.path.join(ROOT, f"{split}-labels-idx1-ubyte.gz")) as fh:
            labels = np.frombuffer(fh.read(8 + limit), np.uint8, offset=8)
        self.pixels = pixels.reshape(-1, 1, 28, 28).copy()
        self.labels = labels.astype(np.int64)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        image = torch.from_numpy(self.pixels[i]).float() / 255
        return image, self.labels[i]


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 5, stride=2)
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2)
        self.fc1 = nn.Linear(16 * 5 * 5, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        x = torch.relu(self.conv1(x))
        x = torch.relu(self.conv2(x))
        x = torch.relu(self.fc1(x.flatten(1)))
        return self.fc2(x)


def train_one_epoch(net, loader, criterion, opt):
    net.train()
    total, seen = 0.0, 0
    for images, labels in loader:
        opt.zero_grad()
        out = net(images)
        loss = criterion(out, labels)
        loss.backward()
        opt.step()
        total += loss.item() * len(labels)
        seen += len(labels)
    return total / seen


@torch.no_grad()
def evaluate(net, loader):
    net.eval()
    hits = 0
    for images, labels in loader:
        hits += (net(images).argmax(dim=1) == labels).sum().item()
    return hits / len(loader.dataset)


def main():
    torch.manual_seed(0)
    train_loader = DataLoader(Garments("train", 5000), batch_size=50, shuffle=True)
    test_loader = DataLoader(Garments("t10k", 1000), batch_size=250)
    net = ConvNet()
    criterion = nn.CrossEntropyLoss()
    opt = torch.optim.SGD(net.parameters(), lr=0.04, momentum=0.9)
    for epoch in range(1, 4):
        loss = train_one_epoch(net, train_loader, criterion, opt)
        print(f"[{epoch}] loss={loss:.3f} test_acc={evaluate(net, test_loader):.3f}")


if __name__ == "__main__":
    main()
