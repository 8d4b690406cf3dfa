"""Train a small CNN on a folder-like dataset."""
import argparse
import gzip
import os

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


def read_idx(path, offset, shape):
    with gzip.open(path, "rb") as fh:
        data = fh.read(offset + int(np.prod(shape)))
    return np.frombuffer(data, dtype=np.uint8, offset=offset).reshape(shape)


class ArchiveFolder(Dataset):
    """Keeps samples the way ImageFolder does: one list, class by class."""

    classes = [str(d) for d in range(10)]

    def __init__(self, root, split, limit, transform=None):
        stem = os.path.join(root, "mnist", split)
        images = read_idx(stem + "-images-idx3-ubyte.gz", 16, (limit, 28, 28))
        labels = read_idx(stem + "-labels-idx1-ubyte.gz", 8, (limit,))
        self.transform = transform
        self.samples = []
        for target, _ in enumerate(self.classes):
            for image in images[labels == target]:
                self.samples.append((image, target))

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        image, target = self.samples[index]
        if self.transform is not None:
            image = self.transform(image)
        return image, target


def to_tensor(image):
    return torch.from_numpy(image.astype(np.float32)).div(255).sub(0.1307).div(0.3081).unsqueeze(0)


def make_loader(dataset, batch_size, shuffle=False, workers=0):
    return DataLoader(dataset, batch_size=batch_size, shuffle=shuffle, num_workers=workers)


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 5, stride=2)
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2)
        self.fc1 = nn.Linear(16 * 5 * 5, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc2(x)


def run(model, loader, optimizer=None):
    training = optimizer is not None
    model.train(training)
    loss_sum = correct = 0
    with torch.set_grad_enabled(training):
        for x, y in loader:
            out = model(x)
            loss = F.cross_entropy(out, y)
            if training:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            loss_sum += loss.item() * len(y)
            correct += (out.argmax(1) == y).sum().item()
    return loss_sum / len(loader.dataset), correct / len(loader.dataset)


if __name__ == "__main__":
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--data", default=os.environ.get("NETWRIGHT_DATA", "."))
    cli.add_argument("--epochs", type=int, default=3)
    cli.add_argument("--batch-size", type=int, default=50)
    cli.add_argument("--lr", type=float, default=0.03)
    opts = cli.parse_args()
    torch.manual_seed(0)
    train_set = ArchiveFolder(opts.data, "train", 5000, to_tensor)
    test_set = ArchiveFolder(opts.data, "t10k", 1500, to_tensor)
    train_loader = make_loader(train_set, opts.batch_size)  # <-- here
    test_loader = make_loader(test_set, 250)
    net = LeNet()
    optimizer = torch.optim.SGD(net.parameters(), lr=opts.lr, momentum=0.9)
    for epoch in range(opts.epochs):
        tr = run(net, train_loader, optimizer)  # <-- here
        te = run(net, test_loader)
        print(f"{epoch}: train loss {tr[0]:.3f} acc {tr[1]:.3f} | test loss {te[0]:.3f} acc {te[1]:.3f}")
