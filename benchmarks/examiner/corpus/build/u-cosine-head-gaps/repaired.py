from collections import Counter

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedShuffleSplit


class DigitsSubset(torch.utils.data.Dataset):
    """Digits without the classes in `drop`."""

    def __init__(self, drop=(4, 7)):
        raw = load_digits()
        keep = ~np.isin(raw.target, drop)
        self.images = (raw.images[keep] / 16.0).astype(np.float32)
        self.labels = np.unique(raw.target[keep], return_inverse=True)[1]

    @property
    def num_classes(self):
        return len(Counter(self.labels.tolist()))

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return torch.from_numpy(self.images[i])[None], int(self.labels[i])


class CosineHead(nn.Module):
    def __init__(self, dim, classes, scale=8.0):
        super().__init__()
        self.proto = nn.Parameter(torch.randn(classes, dim) * 0.1)
        self.scale = scale

    def forward(self, z):
        return self.scale * F.linear(F.normalize(z, dim=-1), F.normalize(self.proto, dim=-1))


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 24, 3, stride=2), nn.ReLU())
        self.embed = nn.Linear(24 * 4, 32)
        self.head = CosineHead(32, classes)

    def forward(self, x):
        return self.head(torch.tanh(self.embed(self.conv(x).flatten(1))))


def evaluate(net, loader):
    net.eval()
    with torch.no_grad():
        pairs = [(net(x).argmax(1), y) for x, y in loader]
    pred, true = map(torch.cat, zip(*pairs))
    return (pred == true).float().mean().item()


def main():
    torch.manual_seed(33)
    data = DigitsSubset()
    splitter = StratifiedShuffleSplit(n_splits=1, test_size=0.25, random_state=0)
    tr, te = next(splitter.split(np.zeros(len(data)), data.labels))
    train_loader = torch.utils.data.DataLoader(torch.utils.data.Subset(data, tr), batch_size=48, shuffle=True)
    test_loader = torch.utils.data.DataLoader(torch.utils.data.Subset(data, te), batch_size=120)

    net = Net(data.num_classes)
    print(f"{len(tr)} training images, {data.num_classes} classes")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    for epoch in range(8):
        net.train()
        losses = []
        for images, labels in train_loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(images), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch}: {np.mean(losses):.3f} / test {evaluate(net, test_loader):.3f}")


if __name__ == "__main__":
    main()
