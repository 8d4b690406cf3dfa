"""Breast cancer screening - rebalance the classes, then a small MLP."""
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

CONFIG = dict(seed=7, hidden=48, lr=2e-3, epochs=18, bs=32)


def rebalance(X, y, rng):
    """Random oversampling: every class gets as many rows as the largest one."""
    counts = np.bincount(y)
    picks = [np.arange(len(y))]
    for cls, n in enumerate(counts):
        missing = counts.max() - n
        if missing:
            picks.append(rng.choice(np.flatnonzero(y == cls), missing, replace=True))
    idx = np.concatenate(picks)
    return X[idx], y[idx]


def prepare(cfg):
    rng = np.random.default_rng(cfg["seed"])
    X, y = load_breast_cancer(return_X_y=True)
    Xtr, Xte, ytr, yte = train_test_split(
        X, y, test_size=0.25, stratify=y, random_state=cfg["seed"])
    Xtr, ytr = rebalance(Xtr, ytr, rng)
    sc = StandardScaler().fit(Xtr)
    as_t = lambda a: torch.from_numpy(sc.transform(a)).float()
    return (as_t(Xtr), torch.from_numpy(ytr)), (as_t(Xte), torch.from_numpy(yte))


def batches(X, y, bs, gen):
    order = torch.randperm(len(X), generator=gen)
    for chunk in order.split(bs):
        yield X[chunk], y[chunk]


@torch.no_grad()
def score(net, X, y, bs=128):
    net.eval()
    hits = 0
    for s in range(0, len(X), bs):
        hits += (net(X[s:s + bs]).argmax(1) == y[s:s + bs]).sum().item()
    net.train()
    return hits / len(X)


def main(cfg):
    torch.manual_seed(cfg["seed"])
    gen = torch.Generator().manual_seed(cfg["seed"])
    train, test = prepare(cfg)
    net = nn.Sequential(nn.Linear(30, cfg["hidden"]), nn.ReLU(), nn.Dropout(0.2),
                        nn.Linear(cfg["hidden"], 2))
    opt = torch.optim.Adam(net.parameters(), lr=cfg["lr"])
    for ep in range(cfg["epochs"]):
        tot = n = 0
        for xb, yb in batches(*train, cfg["bs"], gen):
            loss = nn.functional.cross_entropy(net(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
            tot += loss.item() * len(xb)
            n += len(xb)
        if ep % 3 == 2:
            print(f"ep {ep:02d}  loss {tot / n:.4f}  test acc {score(net, *test):.4f}")


main(CONFIG)
