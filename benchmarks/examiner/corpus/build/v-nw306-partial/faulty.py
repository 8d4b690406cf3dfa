import argparse
from functools import partial
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score


class ResidualUnit(nn.Module):
    def __init__(self, width, drop):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        self.drop = drop

    def forward(self, x):
        h = self.drop(F.relu(self.up(self.norm(x))))
        return x + self.drop(self.down(h))


class ResMLP(nn.Module):
    def __init__(self, d_in, width, depth, n_out, p):
        super().__init__()
        drop = partial(F.dropout, p=p)  # <-- here
        self.stem = nn.Linear(d_in, width)
        self.units = nn.Sequential(*(ResidualUnit(width, drop) for _ in range(depth)))
        self.final = nn.Linear(width, n_out)

    def forward(self, x):
        return self.final(F.relu(self.units(self.stem(x))))


def split(rng, frac=0.75):
    d = load_digits()
    order = rng.permutation(len(d.target))
    cut = int(frac * len(order))
    x = torch.from_numpy((d.data / 16.0 - 0.3).astype(np.float32))
    y = torch.from_numpy(d.target)
    return x[order[:cut]], y[order[:cut]], x[order[cut:]], y[order[cut:]]


def evaluate(model, x, y):
    model.eval()
    with torch.no_grad():
        guess = torch.cat([model(b).argmax(dim=1) for b in x.split(100)])
    return accuracy_score(y.numpy(), guess.numpy())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--p", default=0.5, type=float)
    parser.add_argument("--width", default=48, type=int)
    parser.add_argument("--epochs", default=7, type=int)
    parser.add_argument("--seed", default=40, type=int)
    a = parser.parse_args()
    torch.manual_seed(a.seed)
    xtr, ytr, xte, yte = split(np.random.default_rng(a.seed))
    model = ResMLP(64, a.width, 3, 10, a.p)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    for epoch in range(a.epochs):
        model.train()
        running = 0.0
        for rows in torch.randperm(len(xtr)).split(45):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(xtr[rows]), ytr[rows])
            loss.backward()
            optimizer.step()
            running += loss.item() * len(rows)
        print(f"{epoch}\t{running / len(xtr):.4f}\t{evaluate(model, xte, yte):.4f}")


if __name__ == "__main__":
    main()
