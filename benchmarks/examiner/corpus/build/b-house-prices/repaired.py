import csv
import math
import os
import random

import torch
from torch import nn

COLUMNS = ["longitude", "latitude", "housing_median_age", "total_rooms", "total_bedrooms",
           "population", "households", "median_income"]


def number(text):
    return float(text) if text else math.nan


def read_rows(limit=4000):
    path = os.path.join(os.environ["NETWRIGHT_DATA"], "california-housing", "housing.csv")
    with open(path, newline="") as handle:
        rows = list(csv.DictReader(handle))
    random.Random(5).shuffle(rows)
    rows = rows[:limit]
    x = torch.tensor([[number(r[c]) for c in COLUMNS] for r in rows])
    y = torch.tensor([float(r["median_house_value"]) / 100_000 for r in rows])
    return x, y


def prepare():
    x, y = read_rows()
    n = int(0.8 * len(x))
    gaps = x.isnan()
    x = torch.where(gaps, x[:n].nanmedian(dim=0).values, x)
    mean = x[:n].nanmean(dim=0)
    std = (x[:n] - mean).square().nanmean(dim=0).sqrt()
    x = (x - mean) / std
    return x[:n], y[:n], x[n:], y[n:]


def main():
    torch.manual_seed(5)
    x, y, x_val, y_val = prepare()
    net = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
    mse = nn.MSELoss()
    adam = torch.optim.Adam(net.parameters(), lr=2e-3)
    for epoch in range(10):
        order = torch.randperm(len(x))
        total = 0.0
        for chunk in order.split(64):
            pred = net(x[chunk]).squeeze(1)
            loss = mse(pred, y[chunk])
            adam.zero_grad()
            loss.backward()
            adam.step()
            total += loss.item() * len(chunk)
        with torch.no_grad():
            val = mse(net(x_val).squeeze(1), y_val).item()
        print(f"epoch {epoch + 1:2d}: train mse {total / len(x):.4f}, val mse {val:.4f}"
              f" (variance {y_val.var().item():.4f})")


if __name__ == "__main__":
    main()
