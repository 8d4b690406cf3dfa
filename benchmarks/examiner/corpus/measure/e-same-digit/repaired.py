import random

import torch
import torch.nn as nn
from sklearn.datasets import load_digits


def euclidean(u, v):
    return torch.sqrt(((u - v) ** 2).sum(dim=1) + 1e-6)


class ContrastiveLoss(nn.Module):
    def __init__(self, margin=1.5):
        super().__init__()
        self.margin = margin

    def forward(self, left, right, same):
        distance = euclidean(left, right)
        pull = same * distance.pow(2)
        push = (1 - same) * torch.relu(self.margin - distance).pow(2)
        return (pull + push).mean()


class PairSampler:
    def __init__(self, images, labels):
        self.images = images
        self.by_class = [torch.nonzero(labels == c).flatten().tolist() for c in range(10)]

    def draw(self, n):
        left, right, same = [], [], []
        for _ in range(n):
            a = random.randrange(10)
            b = a if random.random() < 0.5 else random.choice([c for c in range(10) if c != a])
            left.append(random.choice(self.by_class[a]))
            right.append(random.choice(self.by_class[b]))
            same.append(float(a == b))
        return self.images[left], self.images[right], torch.tensor(same)


random.seed(1)
torch.manual_seed(1)
digits = load_digits()
images = torch.tensor(digits.data, dtype=torch.float32) / 16
labels = torch.tensor(digits.target)
mix = torch.randperm(len(images))
train_pairs = PairSampler(images[mix[:1400]], labels[mix[:1400]])
test_pairs = PairSampler(images[mix[1400:]], labels[mix[1400:]])

encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
loss_fn = ContrastiveLoss()
optimizer = torch.optim.Adam(encoder.parameters(), lr=2e-3)
trace = []
for step in range(1, 201):
    a, b, same = train_pairs.draw(64)
    loss = loss_fn(encoder(a), encoder(b), same)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    trace.append(loss.item())
    if step % 50 == 0:
        encoder.eval()
        with torch.no_grad():
            a, b, same = test_pairs.draw(400)
            near = (euclidean(encoder(a), encoder(b)) < loss_fn.margin / 2).float()
        encoder.train()
        print(f"step {step}  loss {sum(trace[-50:]) / 50:.4f}  pair accuracy {(near == same).float().mean():.3f}")
