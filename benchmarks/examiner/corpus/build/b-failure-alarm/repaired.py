import csv
import os

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler, random_split

torch.manual_seed(21)

with open(os.path.join(os.environ["NETWRIGHT_DATA"], "ai4i2020", "ai4i2020.csv"), encoding="utf-8-sig") as f:
    table = list(csv.DictReader(f))

numeric = ["Air temperature [K]", "Process temperature [K]", "Rotational speed [rpm]", "Torque [Nm]", "Tool wear [min]"]
features = torch.tensor([[float(row[c]) for c in numeric] + [row["Type"] == "L", row["Type"] == "H"] for row in table])
labels = torch.tensor([int(row["Machine failure"]) for row in table])

order = torch.randperm(len(features))
train_idx, test_idx = order[:8000], order[8000:]
mean, std = features[train_idx].mean(0), features[train_idx].std(0)
features = (features - mean) / std

train = TensorDataset(features[train_idx], labels[train_idx])
test = TensorDataset(features[test_idx], labels[test_idx])
share = labels[train_idx].bincount() / len(train_idx)
print("classes in training:", share.tolist())

sampler = WeightedRandomSampler((1 / share)[labels[train_idx]], num_samples=len(train))
train_loader = DataLoader(train, batch_size=64, sampler=sampler)
test_loader = DataLoader(test, batch_size=500)

net = nn.Sequential(nn.Linear(7, 24), nn.ReLU(), nn.Linear(24, 2))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.02)

for epoch in range(5):
    net.train()
    total = 0.0
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(y)

    net.eval()
    table = torch.zeros(2, 2, dtype=torch.long)
    with torch.no_grad():
        for x, y in test_loader:
            guess = net(x).argmax(dim=1)
            for t, p in zip(y.tolist(), guess.tolist()):
                table[t, p] += 1
    acc = table.diag().sum().item() / table.sum().item()
    recall = (table.diag() / table.sum(1)).tolist()
    print(f"epoch {epoch}: train loss {total / len(train):.3f}, test accuracy {acc:.3f}, "
          f"recall ok {recall[0]:.2f} / failure {recall[1]:.2f}")
