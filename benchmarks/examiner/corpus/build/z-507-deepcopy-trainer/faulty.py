from __future__ import annotations

import copy
from functools import partial

import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn


def mlp(n_in: int, n_out: int, width: int = 32) -> nn.Module:
    return nn.Sequential(nn.Linear(n_in, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, n_out))


class Learner:
    """Holds a model, trains it with early stopping and restores the best weights."""

    def __init__(self, model: nn.Module, make_optimizer, loss_fn, patience: int = 15):
        self.model = copy.deepcopy(model)  # <-- here
        self.optimizer = make_optimizer(model.parameters())  # <-- here
        self.loss_fn = loss_fn
        self.patience = patience
        self.history: list[tuple[float, float]] = []

    def _batches(self, n: int, size: int):
        perm = torch.randperm(n)
        yield from (perm[i:i + size] for i in range(0, n, size))

    def _epoch(self, x: Tensor, y: Tensor, size: int) -> float:
        self.model.train()
        total = 0.0
        for idx in self._batches(len(x), size):
            self.optimizer.zero_grad()
            loss = self.loss_fn(self.model(x[idx]), y[idx])
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(idx)
        return total / len(x)

    def fit(self, x: Tensor, y: Tensor, x_val: Tensor, y_val: Tensor, epochs: int = 60, size: int = 16) -> "Learner":
        best, wait, state = float("inf"), 0, copy.deepcopy(self.model.state_dict())
        for epoch in range(epochs):
            train_loss = self._epoch(x, y, size)
            val_loss = self.loss(x_val, y_val)
            self.history.append((train_loss, val_loss))
            if val_loss < best - 1e-4:
                best, wait, state = val_loss, 0, copy.deepcopy(self.model.state_dict())
            elif (wait := wait + 1) >= self.patience:
                break
        else:
            print("  ran all epochs")
        self.model.load_state_dict(state)
        return self

    @torch.no_grad()
    def loss(self, x: Tensor, y: Tensor) -> float:
        self.model.eval()
        return self.loss_fn(self.model(x), y).item()

    @torch.no_grad()
    def accuracy(self, x: Tensor, y: Tensor) -> float:
        self.model.eval()
        return (self.model(x).argmax(-1) == y).float().mean().item()


def data():
    X, y = load_wine(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=5)
    X, X_val, y, y_val = train_test_split(X, y, test_size=0.25, stratify=y, random_state=5)
    scaler = StandardScaler().fit(X)
    as_x = lambda a: torch.tensor(scaler.transform(a), dtype=torch.float32)
    return (as_x(X), torch.tensor(y)), (as_x(X_val), torch.tensor(y_val)), (as_x(X_test), torch.tensor(y_test))


if __name__ == "__main__":
    torch.manual_seed(2024)
    train, val, test = data()
    template = mlp(train[0].shape[1], 3)
    results = {}
    for name, factory in {
        "sgd": partial(torch.optim.SGD, lr=0.05, momentum=0.9),
        "adam": partial(torch.optim.Adam, lr=3e-3),
    }.items():
        learner = Learner(template, factory, nn.CrossEntropyLoss()).fit(*train, *val)
        results[name] = learner.loss(*val)
        first, last = learner.history[0][0], learner.history[-1][0]
        print(f"{name:5s} epochs {len(learner.history):3d} train {first:.3f} -> {last:.3f}"
              f" val {results[name]:.3f} test acc {learner.accuracy(*test):.3f}")
    print("best:", min(results, key=results.get))
