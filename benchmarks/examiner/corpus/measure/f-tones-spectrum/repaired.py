import math
import random

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

random.seed(0)
torch.manual_seed(0)
LENGTH, BINS = 96, 20


def tone(kind, rng):
    f = [5, 8, 12, 17][kind] + rng.uniform(-1.0, 1.0)
    p = rng.uniform(0, 2 * math.pi)
    return [math.sin(2 * math.pi * f * i / LENGTH + p) + rng.gauss(0, 0.8) for i in range(LENGTH)]


def spectrum(wave):
    out = []
    for k in range(BINS):
        re = sum(v * math.cos(2 * math.pi * k * i / LENGTH) for i, v in enumerate(wave))
        im = sum(v * math.sin(2 * math.pi * k * i / LENGTH) for i, v in enumerate(wave))
        out.append(math.log1p(re * re + im * im) / 4 - 1)
    return torch.tensor(out)


class Tones(Dataset):
    def __init__(self, n, seed):
        rng = random.Random(seed)
        self.labels = [rng.randrange(4) for _ in range(n)]
        self.waves = [tone(k, rng) for k in self.labels]
        self.items = [spectrum(w) for w in self.waves]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index], self.labels[index]


train_set, test_set = Tones(480, 1), Tones(80, 2)
train_loader = DataLoader(train_set, batch_size=16, shuffle=True)
test_loader = DataLoader(test_set, batch_size=80)

net = nn.Sequential(
    nn.Unflatten(1, (1, BINS)), nn.Conv1d(1, 32, 5, padding=2), nn.ReLU(), nn.Conv1d(32, 32, 5, padding=2), nn.ReLU(),
    nn.Flatten(), nn.Linear(32 * BINS, 64), nn.ReLU(), nn.Linear(64, 4),
)
loss_fn = nn.CrossEntropyLoss()
opt = torch.optim.Adam(net.parameters(), lr=1e-3)

for epoch in range(4):
    net.train()
    total = 0.0
    for x, y in train_loader:
        opt.zero_grad()
        loss = loss_fn(net(x), y)
        loss.backward()
        opt.step()
        total += loss.item() * len(y)
    net.eval()
    with torch.no_grad():
        ok = sum((net(x).argmax(1) == y).sum().item() for x, y in test_loader)
    print(f"epoch {epoch}: loss {total / len(train_set):.4f} test acc {ok / len(test_set):.3f}")
