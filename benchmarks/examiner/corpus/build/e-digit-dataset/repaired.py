import gzip
import os

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class DigitFiles(Dataset):
    def __init__(self, images, labels, limit):
        root = os.path.join(os.environ["NETWRIGHT_DATA"], "mnist")
        with gzip.open(os.path.join(root, images)) as f:
            pixels = np.frombuffer(f.read(16 + limit * 784), dtype=np.uint8, offset=16)
        with gzip.open(os.path.join(root, labels)) as f:
            self.labels = np.frombuffer(f.read(8 + limit), dtype=np.uint8, offset=8).astype(np.int64)
        self.pixels = torch.from_numpy(pixels.reshape(limit, 28, 28).copy())

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = self.pixels[index] / 255
        return image.float().unsqueeze(0), self.labels[index]


class LeNetish(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, kernel_size=5, stride=2), nn.ReLU(),
            nn.Conv2d(8, 16, kernel_size=3, stride=2), nn.ReLU(),
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(16 * 5 * 5, 10))

    def forward(self, x):
        return self.classifier(self.features(x))


def train(model, device, loader, optimizer, epoch, log_interval=40):
    model.train()
    for batch_idx, (data, target) in enumerate(loader):
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(data), target)
        loss.backward()
        optimizer.step()
        if batch_idx % log_interval == 0:
            print(f"Train Epoch: {epoch} [{batch_idx * len(data)}/{len(loader.dataset)}]\tLoss: {loss.item():.6f}")


def test(model, device, loader):
    model.eval()
    correct = 0
    with torch.no_grad():
        for data, target in loader:
            output = model(data.to(device))
            correct += output.argmax(dim=1).eq(target.to(device)).sum().item()
    print(f"Test set: Accuracy: {correct}/{len(loader.dataset)}")


def main():
    torch.manual_seed(1)
    device = torch.device("cpu")
    train_loader = DataLoader(DigitFiles("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", 5120),
                              batch_size=64, shuffle=True)
    test_loader = DataLoader(DigitFiles("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", 1000),
                             batch_size=250)
    model = LeNetish().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(1, 4):
        train(model, device, train_loader, optimizer, epoch)
        test(model, device, test_loader)


if __name__ == "__main__":
    main()
