import csv
import math
import os
import random

import torch
import torch.nn as nn

random.seed(13)
torch.manual_seed(13)

COLUMNS = ["longitude", "latitude", "housing_median_age", "total_rooms", "population", "households", "median_income"]


def load_housing(limit):
    path = os.path.join(os.environ["NETWRIGHT_DATA"], "california-housing", "housing.csv")
    with open(path, newline="") as fh:
        rows = [r for r in csv.DictReader(fh) if all(r[c] for c in COLUMNS)]
    random.shuffle(rows)
    rows = rows[:limit]
    x, y = [], []
    for r in rows:
        v = {c: float(r[c]) for c in COLUMNS}
        for c in ("total_rooms", "population", "households"):
            v[c] = math.log(v[c])
        x.append([v[c] for c in COLUMNS])
        y.append(math.log(float(r["median_house_value"])))
    return torch.tensor(x), torch.tensor(y)


class HousePriceNet(nn.Module):
    def __init__(self, features, width=48):
        super().__init__()
        self.inp = nn.Linear(features, width)
        self.fc1 = nn.Linear(width, width)
        self.fc2 = nn.Linear(width, width)
        self.fc3 = nn.Linear(width, width)  # <-- here
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, 1)

    def forward(self, x):
        x = torch.relu(self.inp(x))
        x = x + torch.relu(self.fc1(x))
        x = x + torch.relu(self.fc2(x))
        x = x + torch.relu(self.fc2(x))  # <-- here
        return self.out(self.norm(x)).squeeze(-1)


X, Y = load_housing(6000)
n_train = 4800
mean, std = X[:n_train].mean(0), X[:n_train].std(0)
X = (X - mean) / std
y_mean, y_std = Y[:n_train].mean(), Y[:n_train].std()
Y = (Y - y_mean) / y_std
train_x, train_y = X[:n_train], Y[:n_train]
test_x, test_y = X[n_train:], Y[n_train:]

net = HousePriceNet(X.shape[1])
print(sum(p.numel() for p in net.parameters() if p.requires_grad), "parameters")
criterion = nn.HuberLoss(delta=1.0)
optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-3)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=8, eta_min=1e-4)

for epoch in range(8):
    net.train()
    epoch_loss = 0.0
    for rows in torch.randperm(n_train).chunk(75):
        optimizer.zero_grad()
        loss = criterion(net(train_x[rows]), train_y[rows])
        loss.backward()
        optimizer.step()
        epoch_loss += loss.item() * len(rows)
    scheduler.step()
    net.eval()
    with torch.no_grad():
        pred = net(test_x)
        r2 = 1 - ((pred - test_y) ** 2).sum() / ((test_y - test_y.mean()) ** 2).sum()
    print(f"epoch {epoch + 1}/8 - loss: {epoch_loss / n_train:.4f} - test R2: {r2.item():.4f}")
