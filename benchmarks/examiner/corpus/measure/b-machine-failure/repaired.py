import csv
import os

import numpy as np
import torch
import torch.nn as nn
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

SENSORS = ["Air temperature [K]", "Process temperature [K]", "Rotational speed [rpm]", "Torque [Nm]", "Tool wear [min]"]


def read_table():
    path = os.path.join(os.environ["NETWRIGHT_DATA"], "ai4i2020", "ai4i2020.csv")
    with open(path, encoding="utf-8-sig", newline="") as f:
        rows = list(csv.DictReader(f))
    X = np.array([[float(r[s]) for s in SENSORS] + [float("LMH".index(r["Type"]))] for r in rows])
    y = np.array([int(r["Machine failure"]) for r in rows])
    return X, y


def oversample(X, y, rng):
    """Repeat failures until both classes are equally frequent."""
    rare = np.flatnonzero(y == 1)
    extra = rng.choice(rare, size=(y == 0).sum() - len(rare))
    keep = np.concatenate([np.arange(len(y)), extra])
    return X[keep], y[keep]


rng = np.random.default_rng(0)
torch.manual_seed(0)
X, y = read_table()
X_tr, X_te, y_tr, y_te = train_test_split(X, y, test_size=0.2, stratify=y, random_state=0)
X_tr, y_tr = oversample(X_tr, y_tr, rng)
scaler = StandardScaler().fit(X_tr)
X_tr, X_te = (torch.tensor(scaler.transform(a), dtype=torch.float32) for a in (X_tr, X_te))
y_tr, y_te = torch.tensor(y_tr, dtype=torch.float32), torch.tensor(y_te)

clf = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
bce = nn.BCEWithLogitsLoss()
opt = torch.optim.Adam(clf.parameters(), lr=2e-3)

for epoch in range(1, 6):
    clf.train()
    losses = []
    for idx in torch.randperm(len(X_tr)).split(128):
        opt.zero_grad()
        loss = bce(clf(X_tr[idx]).squeeze(1), y_tr[idx])
        loss.backward()
        opt.step()
        losses.append(loss.item())
    clf.eval()
    with torch.no_grad():
        alarm = clf(X_te).squeeze(1) > 0
    recall = alarm[y_te == 1].float().mean().item()
    specificity = (~alarm[y_te == 0]).float().mean().item()
    print(f"epoch {epoch}  loss {np.mean(losses):.4f}  recall {recall:.3f}  specificity {specificity:.3f}  "
          f"balanced accuracy {(recall + specificity) / 2:.3f}")
