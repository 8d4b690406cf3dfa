import gzip
import os

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

ROOT = os.environ.get("NETWRIGHT_DATA", "data")
EPOCHS, BATCH, MAX_LR = 3, 64, 4e-3


class FashionMNIST(Dataset):
    def __init__(self, train=True, limit=None):
        prefix = "train" if train else "t10k"
        base = os.path.join(ROOT, "fashion-mnist", prefix)
        with gzip.open(base + "-labels-idx1-ubyte.gz") as f:
            self.targets = np.frombuffer(f.read(), np.uint8, offset=8)[:limit].astype(np.int64)
        with gzip.open(base + "-images-idx3-ubyte.gz") as f:
            flat = np.frombuffer(f.read(16 + 784 * len(self.targets)), np.uint8, offset=16)
        self.data = flat.reshape(-1, 1, 28, 28)

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, idx):
        image = torch.from_numpy(self.data[idx].astype(np.float32))
        return (image / 255.0 - 0.2860) / 0.3530, self.targets[idx]


class ConvBNReLU(nn.Sequential):
    def __init__(self, c_in, c_out, stride):
        super().__init__(
            nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(c_out),
            nn.ReLU(),
        )


class Classifier(nn.Module):
    def __init__(self, n_classes=10):
        super().__init__()
        self.stage1 = ConvBNReLU(1, 8, 2)
        self.stage2 = ConvBNReLU(8, 16, 2)
        self.dropout = nn.Dropout(0.4)
        self.fc = nn.Linear(16 * 7 * 7, n_classes)

    def forward(self, x):
        x = self.stage2(self.stage1(x))
        return self.fc(self.dropout(x.flatten(1)))


def train(model, loader, optimizer, scheduler, epoch):
    model.train()
    for i, (data, target) in enumerate(loader):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(data), target)
        loss.backward()
        optimizer.step()
        scheduler.step()
        if i % 20 == 0:
            print(f"Train Epoch: {epoch} [{i * len(data)}/{len(loader.dataset)}]\tLoss: {loss.item():.6f}")


def test(model, loader):
    model.eval()
    test_loss, correct = 0.0, 0
    with torch.no_grad():
        for data, target in loader:
            output = model(data)
            test_loss += F.cross_entropy(output, target, reduction="sum").item()
            correct += output.argmax(dim=1).eq(target).sum().item()
    n = len(loader.dataset)
    print(f"\nTest set: Average loss: {test_loss / n:.4f}, Accuracy: {correct}/{n} ({100.0 * correct / n:.1f}%)\n")
    return correct / n


def main():
    torch.manual_seed(1)
    train_loader = DataLoader(FashionMNIST(True, 3000), batch_size=BATCH, shuffle=True)
    test_loader = DataLoader(FashionMNIST(False, 800), batch_size=200)
    model = Classifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=MAX_LR / 25)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=MAX_LR, total_steps=EPOCHS * len(train_loader))
    for epoch in range(1, EPOCHS + 1):
        train(model, train_loader, optimizer, scheduler, epoch)
        test(model, test_loader)


if __name__ == "__main__":
    main()
