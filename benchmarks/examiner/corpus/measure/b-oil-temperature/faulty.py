import os

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

WINDOW, HORIZON = 24, 1


def load_series(n):
    path = os.path.join(os.environ["NETWRIGHT_DATA"], "ett", "ETTh1.csv")
    return np.loadtxt(path, delimiter=",", skiprows=1, usecols=range(1, 8), max_rows=n, dtype=np.float32)


class Standardizer:
    def fit(self, values):
        self.mean, self.std = values.mean(axis=0), values.std(axis=0)
        return self

    def __call__(self, values):
        return (values - self.mean) / self.std


def windows(series):
    view = np.lib.stride_tricks.sliding_window_view(series, WINDOW, axis=0)[:-HORIZON]
    x = torch.from_numpy(view.transpose(0, 2, 1).copy())
    y = torch.from_numpy(series[WINDOW + HORIZON - 1:, -1].copy())
    return TensorDataset(x, y)


class Forecaster(nn.Module):
    def __init__(self, n_series, hidden=24):
        super().__init__()
        self.gru = nn.GRU(n_series, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        _, h = self.gru(x)
        return self.out(h[-1]).squeeze(-1)


torch.manual_seed(6)
series = load_series(4000)
cut = 3000
scale = Standardizer().fit(series)  # <-- here
series = scale(series)  # <-- here
train_set, test_set = windows(series[:cut]), windows(series[cut:])
train_loader = DataLoader(train_set, batch_size=50, shuffle=True)
test_loader = DataLoader(test_set, batch_size=250)

model = Forecaster(series.shape[1])
criterion = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(4):
    model.train()
    total = 0.0
    for x, y in train_loader:
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(y)
    model.eval()
    squared, target = 0.0, []
    with torch.no_grad():
        for x, y in test_loader:
            squared += (model(x) - y).square().sum().item()
            target.append(y)
    variance = torch.cat(target).var().item()
    print(f"epoch {epoch + 1}: train mse {total / len(train_set):.4f}, test mse {squared / len(test_set):.4f} "
          f"(test variance {variance:.4f})")
