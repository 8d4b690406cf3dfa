import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


@dataclass
class Config:
    hours: int = 3000
    window: int = 24
    hidden: int = 24
    batch: int = 64
    epochs: int = 4
    lr: float = 4e-3


def simulate_counts(hours: int, rng: np.random.Generator) -> np.ndarray:
    """Hourly rentals of a bike station, nearly none at night."""
    t = np.arange(hours)
    daily = np.clip(np.sin((t % 24 - 6) / 24 * 2 * math.pi), 0, None)
    weekly = 1.0 - 0.4 * ((t // 24) % 7 >= 5)
    rate = 0.3 + 24 * daily * weekly
    return rng.poisson(rate).astype(np.float64)


def relative_change(series: np.ndarray) -> np.ndarray:
    step = np.diff(series, prepend=series[0])
    before = np.concatenate([series[:1], series[:-1]])
    return step / before  # <-- here


FEATURES = {
    "level": np.log1p,
    "change": relative_change,
    "hour_sin": lambda s: np.sin(2 * math.pi * (np.arange(len(s)) % 24) / 24),
    "hour_cos": lambda s: np.cos(2 * math.pi * (np.arange(len(s)) % 24) / 24),
}


class Windows(Dataset):
    """(window, next hour's log count) pairs of one stretch of the series."""

    def __init__(self, counts: np.ndarray, cfg: Config):
        table = np.stack([fn(counts) for fn in FEATURES.values()], axis=1)
        self.table = torch.tensor(table, dtype=torch.float32)
        self.target = torch.tensor(np.log1p(counts), dtype=torch.float32)
        self.window = cfg.window

    def __len__(self):
        return len(self.target) - self.window

    def __getitem__(self, i):
        return self.table[i:i + self.window], self.target[i + self.window]


class Forecaster(nn.Module):
    def __init__(self, n_features: int, hidden: int):
        super().__init__()
        self.rnn = nn.GRU(n_features, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x):
        _, last = self.rnn(x)
        return self.head(last[-1]).squeeze(-1)


class Trainer:
    def __init__(self, cfg: Config):
        self.cfg = cfg
        counts = simulate_counts(cfg.hours, np.random.default_rng(5))
        cut = int(0.8 * len(counts))
        self.train = DataLoader(Windows(counts[:cut], cfg), batch_size=cfg.batch, shuffle=True)
        self.valid = DataLoader(Windows(counts[cut:], cfg), batch_size=256)
        self.net = Forecaster(len(FEATURES), cfg.hidden)
        self.optim = torch.optim.Adam(self.net.parameters(), lr=cfg.lr)
        self.loss = nn.HuberLoss()

    def fit(self):
        for epoch in range(self.cfg.epochs):
            self.net.train()
            total, n = 0.0, 0
            for window, target in self.train:
                loss = self.loss(self.net(window), target)  # <-- here
                self.optim.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
                self.optim.step()
                total, n = total + loss.item() * len(target), n + len(target)
            mae, naive = self.validate()
            print(f"[{epoch:02d}] huber {total / n:.4f} | valid MAE {mae:.3f} (mean predictor {naive:.3f})")

    @torch.inference_mode()
    def validate(self):
        self.net.eval()
        pairs = [(self.net(w), t) for w, t in self.valid]
        p = torch.cat([a for a, _ in pairs])
        t = torch.cat([b for _, b in pairs])
        return (p - t).abs().mean().item(), (t - t.mean()).abs().mean().item()


torch.manual_seed(0)
Trainer(Config()).fit()
