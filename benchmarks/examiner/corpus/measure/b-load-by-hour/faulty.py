import csv
import math
import os
from datetime import date

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def features(row):
    stamp = row["date"]
    year, month, day = map(int, stamp[:10].split("-"))
    hour = int(stamp[14:16])  # <-- here
    angle = 2 * math.pi * hour / 24
    weekday = date(year, month, day).weekday()
    season = 2 * math.pi * (month - 1 + day / 31) / 12
    return [
        math.sin(angle), math.cos(angle), math.sin(2 * angle), math.cos(2 * angle),  # <-- here
        math.sin(season), math.cos(season),
        math.sin(2 * math.pi * weekday / 7), math.cos(2 * math.pi * weekday / 7),
        float(row["OT"]), float(row["LUFL"]),
    ]


def read(path, start, count):
    with open(path, newline="") as f:
        rows = list(csv.DictReader(f))[start:start + count]
    x = torch.tensor([features(r) for r in rows])  # <-- here
    y = torch.tensor([[float(r["HUFL"])] for r in rows])
    return x, y


class LoadModel(nn.Module):
    def __init__(self, n_in, n_hidden=64):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(n_in, n_hidden), nn.ReLU(),
            nn.Linear(n_hidden, n_hidden), nn.ReLU(),
            nn.Linear(n_hidden, 1),
        )

    def forward(self, x):
        return self.net(x)


def main():
    torch.manual_seed(14)
    x, y = read(os.path.join(os.environ["NETWRIGHT_DATA"], "ett", "ETTh1.csv"), 0, 6000)
    n = 5400
    x_mean, x_std = x[:n, 8:].mean(0), x[:n, 8:].std(0)
    x[:, 8:] = (x[:, 8:] - x_mean) / x_std
    y_mean, y_std = y[:n].mean(), y[:n].std()
    y = (y - y_mean) / y_std

    loader = DataLoader(TensorDataset(x[:n], y[:n]), batch_size=64, shuffle=True)
    model = LoadModel(x.shape[1])
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(5):
        model.train()
        total = 0.0
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = criterion(model(xb), yb)  # <-- here
            loss.backward()
            optimizer.step()
            total += loss.item() * len(xb)
        model.eval()
        with torch.no_grad():
            test = criterion(model(x[n:]), y[n:]).item()
        print(f"epoch {epoch + 1}  train mse {total / n:.3f}  test mse {test:.3f}  "
              f"R2 {1 - test / y[n:].var().item():.3f}")


if __name__ == "__main__":
    main()
