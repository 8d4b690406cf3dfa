"""House prices from the 1990 California census with a small MLP.

Kernel converted to a script.  Target is log10 of the median house value.
"""
import csv
import os

import numpy as np
import torch
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

CFG = {"epochs": 2, "batch_size": 128, "lr": 2e-3, "hidden": 64, "seed": 11}
NUMERIC = [
    "longitude", "latitude", "housing_median_age", "total_rooms",
    "total_bedrooms", "population", "households", "median_income",
]
SKEWED = {"total_rooms", "total_bedrooms", "population", "households"}


def to_float(cell):
    return float(cell) if cell.strip() else float("nan")


def read_table():
    path = os.path.join(os.environ["NETWRIGHT_DATA"], "california-housing", "housing.csv")
    rows, target = [], []
    with open(path, newline="") as fh:
        for record in csv.DictReader(fh):
            row = []
            for name in NUMERIC:
                value = to_float(record[name])
                row.append(np.log1p(value) if name in SKEWED else value)
            rows.append(row)
            target.append(np.log10(float(record["median_house_value"])))
    return np.array(rows, dtype=np.float32), np.array(target, dtype=np.float32)


class Regressor(nn.Module):
    def __init__(self, n_in, hidden):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(n_in, hidden), nn.ReLU(),
            nn.Linear(hidden, hidden), nn.ReLU(),
        )
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.out(self.body(x)).squeeze(1)


def make_loaders(x, y):
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.2, random_state=CFG["seed"])
    scaler = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    x_train = scaler.fit_transform(x_train).astype(np.float32)
    x_test = scaler.transform(x_test).astype(np.float32)
    mu, sd = float(y_train.mean()), float(y_train.std())
    train = TensorDataset(torch.from_numpy(x_train), torch.from_numpy((y_train - mu) / sd))
    test = TensorDataset(torch.from_numpy(x_test), torch.from_numpy((y_test - mu) / sd))
    return (
        DataLoader(train, batch_size=CFG["batch_size"], shuffle=True, drop_last=True),
        DataLoader(test, batch_size=512),
        sd,
    )


@torch.no_grad()
def r2_score(model, loader):
    model.eval()
    preds, trues = [], []
    for xb, yb in loader:
        preds.append(model(xb))
        trues.append(yb)
    p, t = torch.cat(preds), torch.cat(trues)
    return (1 - ((p - t) ** 2).sum() / ((t - t.mean()) ** 2).sum()).item()


def main():
    torch.manual_seed(CFG["seed"])
    x, y = read_table()
    train_loader, test_loader, sd = make_loaders(x, y)
    model = Regressor(x.shape[1], CFG["hidden"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=CFG["lr"], weight_decay=1e-4)
    criterion = nn.SmoothL1Loss()

    for epoch in range(CFG["epochs"]):
        model.train()
        running, seen = 0.0, 0
        for xb, yb in train_loader:
            optimizer.zero_grad()
            out = model(xb)
            loss = criterion(out, yb)
            loss.backward()
            optimizer.step()
            running += loss.item() * len(xb)
            seen += len(xb)
        print(f"epoch {epoch + 1}: train loss {running / seen:.4f}  test R2 {r2_score(model, test_loader):.3f}")
    print(f"(target deviation {sd:.3f} decades)")


if __name__ == "__main__":
    main()
