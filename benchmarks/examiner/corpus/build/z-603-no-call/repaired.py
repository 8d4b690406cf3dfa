import gzip
import os

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


def load_mnist(kind, count):
    base = os.path.join(os.environ["NETWRIGHT_DATA"], "mnist", kind)
    with gzip.open(base + "-images-idx3-ubyte.gz", "rb") as fh:
        images = np.frombuffer(fh.read(16 + 784 * count), dtype=np.uint8, offset=16)
    with gzip.open(base + "-labels-idx1-ubyte.gz", "rb") as fh:
        labels = np.frombuffer(fh.read(8 + count), dtype=np.uint8, offset=8)
    images = torch.tensor(images.reshape(count, 1, 28, 28), dtype=torch.float32)
    return F.avg_pool2d((images / 255.0 - 0.1307) / 0.3081, 2), labels.astype(np.int64)


class SiamesePairs(Dataset):
    """Half of the pairs show the same digit, half two different ones."""

    def __init__(self, kind, count, pairs, seed):
        self.images, self.labels = load_mnist(kind, count)
        rng = np.random.default_rng(seed)
        by_class = [np.flatnonzero(self.labels == c) for c in range(10)]
        self.pairs = []
        for k in range(pairs):
            i = int(rng.integers(count))
            same = k % 2
            c = self.labels[i] if same else (self.labels[i] + rng.integers(1, 10)) % 10
            self.pairs.append((i, int(rng.choice(by_class[c])), float(same)))

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        i, j, same = self.pairs[index]
        return self.images[i], self.images[j], torch.tensor(same)


class EmbeddingNet(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.convnet = nn.Sequential(nn.Conv2d(1, 16, 3), nn.PReLU(), nn.MaxPool2d(2),
                                     nn.Conv2d(16, 32, 3), nn.PReLU())
        self.fc = nn.Sequential(nn.Linear(32 * 4 * 4, 64), nn.PReLU(), nn.Linear(64, dim))

    def forward(self, x):
        return self.fc(self.convnet(x).flatten(1))


class SiameseNet(nn.Module):
    def __init__(self, embedding_net):
        super().__init__()
        self.embedding_net = embedding_net

    def forward(self, x1, x2):
        return self.embedding_net(x1), self.embedding_net(x2)


class ContrastiveLoss(nn.Module):
    def __init__(self, margin=1.5):
        super().__init__()
        self.margin, self.eps = margin, 1e-6

    def forward(self, out1, out2, same):
        squared = (out2 - out1).pow(2).sum(1)
        apart = F.relu(self.margin - (squared + self.eps).sqrt()).pow(2)
        return (0.5 * (same * squared + (1 - same) * apart)).mean()


torch.manual_seed(21)
train_loader = DataLoader(SiamesePairs("train", 3000, 4000, 0), batch_size=64, shuffle=True)
test_loader = DataLoader(SiamesePairs("t10k", 800, 1000, 1), batch_size=250)
model = SiameseNet(EmbeddingNet())
loss_fn = ContrastiveLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

for epoch in range(4):
    model.train()
    losses = []
    for batch_idx, (a, b, same) in enumerate(train_loader):
        optimizer.zero_grad()
        loss = loss_fn(*model(a, b), same)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    model.eval()
    distances, truth = [], []
    with torch.no_grad():
        for a, b, same in test_loader:
            e1, e2 = model(a, b)
            distances.append((e1 - e2).norm(dim=1))
            truth.append(same)
    d, t = torch.cat(distances), torch.cat(truth)
    acc = ((d < 0.75).float() == t).float().mean().item()
    print(f"Epoch: {epoch}  train loss: {np.mean(losses):.4f}  pair accuracy: {acc:.3f}"
          f"  mean distance same/different: {d[t == 1].mean():.2f}/{d[t == 0].mean():.2f}")
