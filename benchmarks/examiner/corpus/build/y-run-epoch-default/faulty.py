"""Breast cancer diagnosis; one epoch function serves training and validation."""
from typing import NamedTuple, Optional

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import StratifiedShuffleSplit
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset


class Result(NamedTuple):
    loss: float
    accuracy: float

    def __str__(self):
        return f"loss {self.loss:.4f} acc {self.accuracy:.4f}"


class Highway(nn.Module):
    def __init__(self, size, p):
        super().__init__()
        self.transform = nn.Linear(size, size)
        self.gate = nn.Linear(size, size)
        self.drop = nn.Dropout(p)

    def forward(self, x):
        g = torch.sigmoid(self.gate(x))
        return g * self.drop(torch.relu(self.transform(x))) + (1 - g) * x


class Diagnosis(nn.Module):
    def __init__(self, n_in, size=48, p=0.4):
        super().__init__()
        self.inp = nn.Linear(n_in, size)
        self.highways = nn.Sequential(Highway(size, p), Highway(size, p))
        self.out = nn.Linear(size, 1)

    def forward(self, x):
        return self.out(self.highways(torch.tanh(self.inp(x)))).squeeze(-1)


def run_epoch(
    model: nn.Module,
    loader: DataLoader,
    criterion: nn.Module,
    optimizer: Optional[optim.Optimizer] = None,
    training: bool = True,
) -> Result:
    model.train(training)  # <-- here
    loss_sum, hits, count = 0.0, 0, 0
    with torch.set_grad_enabled(optimizer is not None):
        for x, y in loader:
            logits = model(x)  # <-- here
            loss = criterion(logits, y)
            if optimizer is not None:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            loss_sum += loss.item() * len(y)
            hits += ((logits > 0) == (y > 0.5)).sum().item()
            count += len(y)
    return Result(loss_sum / count, hits / count)


def loaders(batch_size):
    table = load_breast_cancer()
    split = StratifiedShuffleSplit(n_splits=1, test_size=0.3, random_state=6)
    tr, te = next(split.split(table.data, table.target))
    mean, std = table.data[tr].mean(0), table.data[tr].std(0)

    def build(idx, **kw):
        x = torch.tensor((table.data[idx] - mean) / std, dtype=torch.float32)
        return DataLoader(TensorDataset(x, torch.tensor(table.target[idx], dtype=torch.float32)), **kw)

    return build(tr, batch_size=batch_size, shuffle=True), build(te, batch_size=batch_size)


def main():
    torch.manual_seed(66)
    train_loader, valid_loader = loaders(32)
    model = Diagnosis(30)
    criterion = nn.BCEWithLogitsLoss()
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(12):
        tr = run_epoch(model, train_loader, criterion, optimizer)
        va = run_epoch(model, valid_loader, criterion)  # <-- here
        if epoch % 3 == 2:
            print(f"{epoch + 1:02d} | train {tr} | valid {va}")


if __name__ == "__main__":
    main()
