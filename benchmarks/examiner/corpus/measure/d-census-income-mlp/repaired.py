import csv
import os

import numpy as np
import torch
from torch import nn

torch.manual_seed(0)
np.random.seed(0)

NUMERIC = [0, 4, 10, 11, 12]
CATEGORICAL = [1, 5, 6, 7, 9]


def rows(limit):
    out = []
    with open(os.path.join(os.environ["NETWRIGHT_DATA"], "adult", "adult.data")) as fh:
        for r in csv.reader(fh, skipinitialspace=True):
            if len(r) == 15:
                out.append(r)
            if len(out) == limit:
                break
    return out


table = rows(12000)
rich = [r for r in table if r[14].startswith(">50K")]
poor = [r for r in table if not r[14].startswith(">50K")][:len(rich)]
table = rich + poor
np.random.shuffle(table)
n_train = int(len(table) * 0.8)

levels = {c: sorted({r[c] for r in table[:n_train]}) for c in CATEGORICAL}
num = np.array([[float(r[c]) for c in NUMERIC] for r in table])
num[:, 2:4] = np.log1p(num[:, 2:4])
num = (num - num[:n_train].mean(0)) / num[:n_train].std(0)
hot = np.array([[float(r[c] == v) for c in CATEGORICAL for v in levels[c]] for r in table])
X = torch.tensor(np.hstack([num, hot]), dtype=torch.float32)
t = torch.tensor([[float(r[14].startswith(">50K"))] for r in table])

model = nn.Sequential(nn.Linear(X.shape[1], 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-4)

for epoch in range(5):
    model.train()
    for idx in torch.randperm(n_train).split(64):
        optimizer.zero_grad()
        loss = criterion(model(X[idx]), t[idx])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        z = model(X[n_train:])
        test_loss = criterion(z, t[n_train:]).item()
        acc = ((z > 0).float() == t[n_train:]).float().mean().item()
    print(f"epoch {epoch + 1}  test loss {test_loss:.4f}  accuracy {acc:.3f}")
