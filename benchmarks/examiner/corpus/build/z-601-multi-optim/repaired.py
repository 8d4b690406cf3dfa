"""Shared trunk with two heads: species of iris-like blobs and a continuous trait."""
from typing import Dict

import torch
import torch.nn.functional as F
from sklearn.datasets import make_blobs
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class MultiTask(nn.Module):
    def __init__(self, n_in: int, width: int, n_classes: int):
        super().__init__()
        self.parts = nn.ModuleDict({
            "trunk": nn.Sequential(nn.Linear(n_in, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh()),
            "species": nn.Linear(width, n_classes),
            "trait": nn.Linear(width, 1),
        })

    def forward(self, x):
        h = self.parts["trunk"](x)
        return {"species": self.parts["species"](h), "trait": self.parts["trait"](h).squeeze(-1)}


class OptimizerBundle:
    """One optimizer for every part, driven together."""

    def __init__(self, parts: nn.ModuleDict, lrs: Dict[str, float]):
        self.optims = {name: torch.optim.RMSprop(part.parameters(), lr=lrs[name]) for name, part in parts.items()}

    def clear(self, names):
        for name in names:
            self.optims[name].zero_grad()

    def step(self):
        for opt in self.optims.values():
            opt.step()


LOSSES = {"species": F.cross_entropy, "trait": F.smooth_l1_loss}


def train_step(model, bundle, x, targets):
    out = model(x)
    losses = {task: fn(out[task], targets[task]) for task, fn in LOSSES.items()}
    bundle.clear(model.parts)
    sum(losses.values()).backward()
    bundle.step()
    return {task: loss.item() for task, loss in losses.items()}


@torch.no_grad()
def report(model, loader):
    model.eval()
    hit = err = n = 0
    for x, species, trait in loader:
        out = model(x)
        hit += (out["species"].argmax(-1) == species).sum().item()
        err += (out["trait"] - trait).abs().sum().item()
        n += len(x)
    return hit / n, err / n


def main():
    torch.manual_seed(9)
    X, y, centers = make_blobs(1600, n_features=6, centers=5, cluster_std=3.0, random_state=9, return_centers=True)
    X = torch.tensor(X, dtype=torch.float32)
    trait = torch.sin(X[:, 0] / 3) + 0.1 * X[:, 1] + 0.1 * torch.randn(len(X))
    X = (X - X[:1280].mean(0)) / X[:1280].std(0)
    train_loader = DataLoader(TensorDataset(X[:1280], torch.tensor(y[:1280]), trait[:1280]), batch_size=32, shuffle=True)
    test_loader = DataLoader(TensorDataset(X[1280:], torch.tensor(y[1280:]), trait[1280:]), batch_size=160)

    model = MultiTask(6, 40, 5)
    bundle = OptimizerBundle(model.parts, {"trunk": 4e-3, "species": 4e-3, "trait": 4e-3})
    for epoch in range(1, 7):
        model.train()
        sums, steps = {"species": 0.0, "trait": 0.0}, 0
        for x, species, t in train_loader:
            for task, value in train_step(model, bundle, x, {"species": species, "trait": t}).items():
                sums[task] += value
            steps += 1
        acc, mae = report(model, test_loader)
        print(f"{epoch}: " + "  ".join(f"{k} {v / steps:.3f}" for k, v in sums.items()) + f"  | acc {acc:.3f} mae {mae:.3f}")


if __name__ == "__main__":
    main()
