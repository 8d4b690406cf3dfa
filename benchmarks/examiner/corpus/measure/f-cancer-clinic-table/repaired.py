import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset


def get_data(batch_size):
    X, y = load_breast_cancer(return_X_y=True)
    Xtr, Xte, ytr, yte = train_test_split(X, y, test_size=0.3, random_state=1, stratify=y)
    scaler = StandardScaler().fit(Xtr)
    def to_set(a, b):
        return TensorDataset(torch.tensor(scaler.transform(a), dtype=torch.float32),
                             torch.tensor(b, dtype=torch.long))
    train = DataLoader(to_set(Xtr, ytr), batch_size=batch_size, shuffle=True, drop_last=True)
    test = DataLoader(to_set(Xte, yte), batch_size=171)
    return train, test


def build(n_in, hidden=64):
    return nn.Sequential(
        nn.Linear(n_in, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.4),
        nn.Linear(hidden, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.4),
        nn.Linear(hidden, 2),
    )


def evaluate(model, loader):
    model.eval()
    n_ok = n = 0
    with torch.no_grad():
        for X, y in loader:
            n_ok += (model(X).argmax(dim=-1) == y).sum().item()
            n += y.numel()
    return n_ok / n


def main():
    torch.manual_seed(11)
    train, test = get_data(32)
    model = build(30)
    loss_fn = nn.CrossEntropyLoss()
    opt = optim.Adam(model.parameters(), lr=1e-3)

    for epoch in range(15):
        model.train()
        losses = []
        for X, y in train:
            opt.zero_grad()
            out = model(X)
            loss = loss_fn(out, y)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        print("epoch", epoch, "loss", round(float(np.mean(losses)), 4), "acc", round(evaluate(model, test), 4))


main()
