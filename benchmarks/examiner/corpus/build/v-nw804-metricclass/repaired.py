"""Titanic survival with a one-logit network and a reusable metric object."""
import csv
import os
import statistics
import torch
import torch.nn as nn


class Accuracy:
    def __init__(self):
        self.reset()

    def reset(self):
        self.correct, self.total = 0, 0

    def update(self, scores, target):
        pred = (scores > 0).long().squeeze(-1)
        self.correct += (pred == target.view(-1).long()).sum().item()
        self.total += target.numel()

    @property
    def value(self):
        return self.correct / max(1, self.total)


def number(text, default):
    try:
        return float(text)
    except ValueError:
        return default


def read():
    path = os.path.join(os.environ.get("NETWRIGHT_DATA", "data"), "titanic", "titanic.csv")
    with open(path) as fh:
        table = [{k.lower(): v for k, v in r.items()} for r in csv.DictReader(fh)]
    age = statistics.median(number(r["age"], 28.0) for r in table if r["age"])
    feats, label = [], []
    for r in table:
        feats.append([number(r["pclass"], 3.0), 1.0 if r["sex"] == "female" else 0.0, number(r["age"], age),
                      number(r["sibsp"], 0.0), number(r["parch"], 0.0), number(r["fare"], 14.0) ** 0.5])
        label.append([number(r["survived"], 0.0)])
    return torch.tensor(feats), torch.tensor(label)


def main():
    torch.manual_seed(9)
    x, y = read()
    perm = torch.randperm(len(x))
    tr, te = perm[:670], perm[670:]
    mean, std = x[tr].mean(0), x[tr].std(0)
    x = (x - mean) / std
    net = nn.Sequential(nn.Linear(6, 24), nn.ELU(), nn.Linear(24, 24), nn.ELU(), nn.Linear(24, 1))
    loss_fn = nn.BCEWithLogitsLoss()
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    metric = Accuracy()
    for epoch in range(16):
        net.train()
        shuffled = tr[torch.randperm(len(tr))]
        total = 0.0
        for k in range(0, len(shuffled), 42):
            rows = shuffled[k:k + 42]
            loss = loss_fn(net(x[rows]), y[rows])
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(rows)
        net.eval()
        metric.reset()
        with torch.no_grad():
            for rows in te.split(64):
                metric.update(net(x[rows]), y[rows])
        if epoch % 4 == 3:
            print(f"epoch {epoch}: bce {total / len(tr):.4f}  test accuracy {metric.value:.4f}")


if __name__ == "__main__":
    main()
