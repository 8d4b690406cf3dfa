import random

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset


class PairDataset(Dataset):
    """Pairs of digits; label 1 when both show the same number."""

    def __init__(self, images, numbers, length):
        self.images, self.length = images, length
        self.by_class = {int(c): (numbers == c).nonzero().flatten().tolist() for c in numbers.unique()}

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        classes = list(self.by_class)
        a = random.choice(classes)
        same = index % 2
        b = a if same else random.choice([c for c in classes if c != a])
        i, j = random.choice(self.by_class[a]), random.choice(self.by_class[b])
        return self.images[i], self.images[j], torch.tensor(float(same))


class FixedPairs(Dataset):
    def __init__(self, source):
        self.pairs = [source[i] for i in range(len(source))]

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, i):
        return self.pairs[i]


class Embedder(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.fc = nn.Sequential(nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, dim))

    def forward(self, x):
        return self.fc(self.conv(x).flatten(1))


def distance(u, v):
    return ((u - v).pow(2).sum(dim=1) + 1e-4).sqrt()


class ContrastiveLoss(nn.Module):
    def __init__(self, margin=2.0):
        super().__init__()
        self.margin = margin

    def forward(self, u, v, same):
        d = distance(u, v)
        pull = same * d.pow(2)
        push = (1 - same) * torch.clamp(self.margin - d, min=0).pow(2)
        return 0.5 * (pull + push).mean()


def verification_accuracy(net, loader, threshold=1.0):
    net.eval()
    hits = n = 0
    with torch.no_grad():
        for a, b, same in loader:
            guess = distance(net(a), net(b)) < threshold
            hits += (guess == same.bool()).sum().item()
            n += len(same)
    return hits / n


def main():
    random.seed(0)
    torch.manual_seed(0)
    raw = load_digits()
    images = torch.tensor(raw.images / 16.0, dtype=torch.float32).unsqueeze(1)
    numbers = torch.tensor(raw.target)
    order = torch.randperm(len(images))
    tr, te = order[:1300], order[1300:]
    train = DataLoader(PairDataset(images[tr], numbers[tr], 1920), batch_size=32, shuffle=True)
    test = DataLoader(FixedPairs(PairDataset(images[te], numbers[te], 400)), batch_size=100)

    net, criterion = Embedder(), ContrastiveLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for epoch in range(4):
        net.train()
        total = 0.0
        for a, b, same in train:
            optimizer.zero_grad()
            loss = criterion(net(a), net(b), same)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: contrastive {total / len(train):.4f}, "
              f"verification {verification_accuracy(net, test):.3f}")


if __name__ == "__main__":
    main()
