import random
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split


def build_sets(seed):
    x, y = make_classification(1400, 20, n_informative=8, n_redundant=2, n_classes=4, n_clusters_per_class=1,
                               class_sep=1.3, random_state=seed)
    xa, xb, ya, yb = train_test_split(x, y, test_size=0.3, random_state=seed, stratify=y)
    mu, sd = xa.mean(0), xa.std(0)
    wrap = lambda a, b: TensorDataset(torch.tensor((a - mu) / sd, dtype=torch.float32), torch.tensor(b))
    return {"test": wrap(xb, yb), "train": wrap(xa, ya)}


def build_loaders(sets, batch_size):
    """One factory for every split, so that each epoch gets a fresh loader."""
    return {split: lambda split=split: DataLoader(sets[split], batch_size, shuffle=split == "train") for split in sets}


class GatedMLP(nn.Module):
    def __init__(self, d, h, k):
        super().__init__()
        self.value, self.gate = nn.Linear(d, h), nn.Linear(d, h)
        self.out = nn.Linear(h, k)

    def forward(self, x):
        return self.out(self.value(x) * torch.sigmoid(self.gate(x)))


def epoch_of(model, loader, optimizer=None):
    training = optimizer is not None
    model.train(training)
    stats = dict(loss=0.0, hits=0, n=0)
    for x, y in loader:
        with torch.set_grad_enabled(training):
            z = model(x)
            loss = F.cross_entropy(z, y)
        if training:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        stats["loss"] += loss.item() * len(y)
        stats["hits"] += (z.argmax(1) == y).sum().item()
        stats["n"] += len(y)
    return stats["loss"] / stats["n"], stats["hits"] / stats["n"]


def main(seed=12, epochs=12):
    random.seed(seed)
    torch.manual_seed(seed)
    loaders = build_loaders(build_sets(seed), 64)
    model = GatedMLP(20, 40, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    best = 0.0
    for e in range(epochs):
        tl, ta = epoch_of(model, loaders["train"](), optimizer)
        vl, va = epoch_of(model, loaders["test"]())
        best = max(best, va)
        if e % 3 == 2:
            print(f"epoch {e:2d} | train {tl:.3f} {ta:.3f} | test {vl:.3f} {va:.3f}")
    print("best test accuracy", round(best, 4))


main()
