import gzip
import os
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


@dataclass
class Config:
    epochs: int = 4
    batch_size: int = 64
    lr: float = 0.05
    n_train: int = 4000
    n_test: int = 1000


class Compose:
    def __init__(self, steps):
        self.steps = steps

    def __call__(self, img):
        for step in self.steps:
            img = step(img)
        return img


class ToTensor:
    """uint8 HxW array -> float 1xHxW tensor in [0, 1]"""

    def __call__(self, img):
        return torch.from_numpy(img).float().div(255).unsqueeze(0)


class Rescale:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, img):
        return img * self.factor


class Normalize:
    def __init__(self, mean, std):
        self.mean, self.std = mean, std

    def __call__(self, img):
        return (img - self.mean) / self.std


class Handwriting(Dataset):
    def __init__(self, prefix, n, transform=None):
        root = os.path.join(os.environ["NETWRIGHT_DATA"], "mnist")
        with gzip.open(os.path.join(root, prefix + "-images-idx3-ubyte.gz")) as f:
            f.read(16)
            self.images = np.frombuffer(f.read(n * 784), np.uint8).reshape(n, 28, 28).copy()
        with gzip.open(os.path.join(root, prefix + "-labels-idx1-ubyte.gz")) as f:
            f.read(8)
            self.labels = np.frombuffer(f.read(n), np.uint8).astype(np.int64)
        self.transform = transform

    def __getitem__(self, index):
        img = self.images[index]
        if self.transform is not None:
            img = self.transform(img)
        return img, int(self.labels[index])

    def __len__(self):
        return self.images.shape[0]


class SmallNet(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        )
        self.head = nn.Linear(16 * 7 * 7, classes)

    def forward(self, x):
        return self.head(self.features(x).flatten(1))


def run(cfg: Config) -> None:
    torch.manual_seed(3)
    transform = Compose([
        ToTensor(),
        Normalize(0.1307, 0.3081),
    ])
    train = DataLoader(Handwriting("train", cfg.n_train, transform), cfg.batch_size, shuffle=True)
    test = DataLoader(Handwriting("t10k", cfg.n_test, transform), 200)
    net, criterion = SmallNet(), nn.CrossEntropyLoss()
    optim = torch.optim.SGD(net.parameters(), lr=cfg.lr)

    for epoch in range(cfg.epochs):
        net.train()
        for x, y in train:
            optim.zero_grad()
            loss = criterion(net(x), y)
            loss.backward()
            optim.step()
        net.eval()
        correct = 0
        with torch.no_grad():
            for x, y in test:
                correct += int((net(x).argmax(1) == y).sum())
        print(f"epoch {epoch + 1}/{cfg.epochs}  last loss {loss.item():.3f}  accuracy {correct / cfg.n_test:.3f}")


run(Config())
