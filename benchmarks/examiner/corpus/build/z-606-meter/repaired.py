import collections
import gzip
import os

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class SmoothedValue:
    """Tracks a series of values and gives the average over all of them."""

    def __init__(self):
        self.total = 0.0
        self.count = 0

    def update(self, value, n=1):
        self.count += n
        self.total += value * n

    @property
    def global_avg(self):
        return self.total / self.count


class MetricLogger:
    def __init__(self):
        self.meters = collections.defaultdict(SmoothedValue)

    def update(self, n=1, **kwargs):
        for k, v in kwargs.items():
            self.meters[k].update(v, n)

    def __str__(self):
        return "  ".join(f"{name}: {float(meter.global_avg):.4f}" for name, meter in self.meters.items())


def mnist(split, n):
    base = os.path.join(os.environ["NETWRIGHT_DATA"], "mnist", split)
    with gzip.open(f"{base}-images-idx3-ubyte.gz") as f:
        x = np.frombuffer(f.read(16 + n * 784), np.uint8, offset=16).reshape(n, 1, 28, 28)
    with gzip.open(f"{base}-labels-idx1-ubyte.gz") as f:
        y = np.frombuffer(f.read(8 + n), np.uint8, offset=8)
    x = (torch.tensor(x).float() / 255 - 0.1307) / 0.3081
    return TensorDataset(x, torch.tensor(y).long())


class ConvNet(nn.Sequential):
    def __init__(self, width=12):
        super().__init__(
            nn.Conv2d(1, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU(),
            nn.AvgPool2d(2, ceil_mode=True), nn.Flatten(), nn.Linear(2 * width * 16, 10),
        )


def accuracy(output, target):
    return (output.argmax(1) == target).float().mean().item()


def train_one_epoch(model, criterion, optimizer, loader, epoch, print_freq=75):
    model.train()
    logger = MetricLogger()
    for i, (image, target) in enumerate(loader, 1):
        output = model(image)
        loss = criterion(output, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        logger.update(n=len(image), loss=loss.item(), acc1=accuracy(output, target))
        if i % print_freq == 0:
            print(f"Epoch: [{epoch}] [{i}/{len(loader)}]  {logger}")
    return logger


def evaluate(model, criterion, loader):
    model.eval()
    logger = MetricLogger()
    with torch.inference_mode():
        for image, target in loader:
            output = model(image)
            logger.update(n=len(image), loss=criterion(output, target).item(), acc1=accuracy(output, target))
    print(f"Test:  {logger}")
    return logger.meters["acc1"].global_avg


def main():
    torch.manual_seed(0)
    train_loader = DataLoader(mnist("train", 4800), batch_size=32, shuffle=True)
    test_loader = DataLoader(mnist("t10k", 1000), batch_size=200)
    model = ConvNet()
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4, nesterov=True)
    best = 0.0
    for epoch in range(2):
        train_one_epoch(model, criterion, optimizer, train_loader, epoch)
        best = max(best, evaluate(model, criterion, test_loader))
    print(f"best accuracy {best:.4f}")


if __name__ == "__main__":
    main()
