import csv
import os
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR


@dataclass(frozen=True)
class Settings:
    epochs: int = 12
    batch_size: int = 64
    lr: float = 5e-3
    hidden: int = 48
    seed: int = 0


def read_housing(limit=4000):
    path = os.path.join(os.environ["NETWRIGHT_DATA"], "california-housing", "housing.csv")
    columns = ["longitude", "latitude", "housing_median_age", "total_rooms",
               "population", "households", "median_income"]
    xs, ys = [], []
    with open(path, newline="") as fh:
        for row in csv.DictReader(fh):
            xs.append([float(row[c]) for c in columns])
            ys.append(float(row["median_house_value"]) / 100_000)
    x, y = np.array(xs), np.array(ys)
    x[:, 3:] = np.log1p(x[:, 3:])
    pick = np.random.default_rng(1).permutation(len(x))[:limit]
    return x[pick], y[pick]


def linear_decay(optimizer, cfg, steps_per_epoch):
    total = cfg.epochs  # <-- here

    def factor(it):
        return max(0.0, 1.0 - it / total)

    return LambdaLR(optimizer, lr_lambda=factor)


def main(cfg=Settings()):
    torch.manual_seed(cfg.seed)
    x, y = read_housing()
    n_train = 3200
    mean, std = x[:n_train].mean(0), x[:n_train].std(0)
    y_mean, y_std = y[:n_train].mean(), y[:n_train].std()
    x = torch.tensor((x - mean) / std, dtype=torch.float32)
    y = torch.tensor((y - y_mean) / y_std, dtype=torch.float32).unsqueeze(1)
    x_train, x_test = x[:n_train], x[n_train:]
    y_train, y_test = y[:n_train], y[n_train:]

    net = nn.Sequential(nn.Linear(7, cfg.hidden), nn.SiLU(),
                        nn.Linear(cfg.hidden, cfg.hidden), nn.SiLU(), nn.Linear(cfg.hidden, 1))
    opt = torch.optim.AdamW(net.parameters(), lr=cfg.lr)
    steps_per_epoch = n_train // cfg.batch_size
    sched = linear_decay(opt, cfg, steps_per_epoch)
    huber = nn.SmoothL1Loss()

    for epoch in range(1, cfg.epochs + 1):
        net.train()
        order = torch.randperm(n_train)
        acc = 0.0
        for b in range(steps_per_epoch):
            sel = order[b * cfg.batch_size:(b + 1) * cfg.batch_size]
            loss = huber(net(x_train[sel]), y_train[sel])
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()  # <-- here
            acc += loss.item()
        net.eval()
        with torch.no_grad():
            residual = net(x_test) - y_test
            r2 = 1 - residual.pow(2).sum() / (y_test - y_test.mean()).pow(2).sum()
        print(f"{epoch:2d}  train {acc / steps_per_epoch:.4f}  test R2 {r2.item():.3f}")


if __name__ == "__main__":
    main()
