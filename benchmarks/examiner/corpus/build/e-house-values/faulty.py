import csv
import os
from dataclasses import dataclass

import torch
from torch import nn, Tensor


@dataclass
class Config:
    rows: int = 4000
    hidden: int = 48
    lr: float = 2e-3
    batch: int = 64
    epochs: int = 5
    seed: int = 21


def read_table(limit: int) -> Tensor:
    path = os.path.join(os.environ["NETWRIGHT_DATA"], "california-housing", "housing.csv")
    wanted = ["longitude", "latitude", "housing_median_age", "total_rooms", "total_bedrooms",
              "population", "households", "median_income", "median_house_value"]
    rows = []
    with open(path, newline="") as fh:
        for rec in csv.DictReader(fh):
            if all(rec[c] for c in wanted):
                rows.append([float(rec[c]) for c in wanted])
    table = torch.tensor(rows)
    table[:, 3:7] = torch.log(table[:, 3:7])
    table[:, 8] = table[:, 8] / 1e5
    return table[torch.randperm(len(table))[:limit]]


class Learner:
    def __init__(self, cfg: Config):
        self.cfg = cfg
        table = read_table(cfg.rows)
        cut = int(0.8 * len(table))
        mu, sd = table[:cut].mean(0), table[:cut].std(0)
        table = (table - mu) / sd
        self.train, self.test = table[:cut], table[cut:]
        self.net = nn.Sequential(
            nn.Linear(8, cfg.hidden), nn.SiLU(),
            nn.Linear(cfg.hidden, cfg.hidden), nn.SiLU(),
            nn.Linear(cfg.hidden, 1),
        )
        self.opt = torch.optim.Adam(self.net.parameters(), lr=self.cfg.lr)

    def loss(self, rows: Tensor) -> Tensor:
        return nn.functional.mse_loss(self.net(rows[:, :8]), rows[:, 8:])

    def update(self, rows: Tensor) -> float:
        self.opt.zero_grad()
        value = self.loss(rows)
        value.backward()  # <-- here
        self.opt.step  # <-- here
        return value.item()

    @torch.no_grad()
    def r2(self) -> float:
        self.net.eval()
        target = self.test[:, 8:]
        residual = (target - self.net(self.test[:, :8])).pow(2).sum()
        total = (target - target.mean()).pow(2).sum()
        self.net.train()
        return (1 - residual / total).item()

    def fit(self) -> None:
        for epoch in range(self.cfg.epochs):
            order = torch.randperm(len(self.train))
            history = [self.update(self.train[part]) for part in order.split(self.cfg.batch)]
            print(f"epoch {epoch}  mse {sum(history) / len(history):.3f}  test R2 {self.r2():.3f}")


if __name__ == "__main__":
    config = Config()
    torch.manual_seed(config.seed)
    Learner(config).fit()
