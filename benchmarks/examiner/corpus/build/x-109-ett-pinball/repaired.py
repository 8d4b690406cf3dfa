import argparse
import csv
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.data import DataLoader, Dataset


def load_series(column="HUFL", limit=5000):
    path = Path(os.environ.get("NETWRIGHT_DATA", "data")) / "ett" / "ETTh1.csv"
    with path.open() as fh:
        rows = [float(r[column]) for _, r in zip(range(limit), csv.DictReader(fh))]
    return np.asarray(rows, dtype=np.float32)


class WindowDataset(Dataset):
    """Sliding windows: `lookback` hours in, the value `horizon` hours ahead out."""

    def __init__(self, series, lookback, horizon, stride=1):
        self.series, self.lookback, self.horizon = series, lookback, horizon
        self.starts = np.arange(0, len(series) - lookback - horizon + 1, stride)

    def __len__(self):
        return len(self.starts)

    def __getitem__(self, i):
        s = self.starts[i]
        past = self.series[s:s + self.lookback]
        return torch.from_numpy(past).unsqueeze(0), self.series[s + self.lookback + self.horizon - 1]


class CausalConv(nn.Module):
    def __init__(self, c_in, c_out, dilation):
        super().__init__()
        self.pad = 2 * dilation
        self.conv = weight_norm(nn.Conv1d(c_in, c_out, 3, dilation=dilation))
        self.skip = nn.Conv1d(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(self, x):
        return F.gelu(self.conv(F.pad(x, (self.pad, 0)))) + self.skip(x)


class TCN(nn.Module):
    def __init__(self, channels=16, levels=4):
        super().__init__()
        sizes = [1] + [channels] * levels
        self.tower = nn.Sequential(*(CausalConv(a, b, 2 ** i) for i, (a, b) in enumerate(zip(sizes, sizes[1:]))))
        self.head = nn.Linear(channels, 1)

    def forward(self, x):
        return x[..., -1] + self.head(F.gelu(self.tower(x)[..., -1]))


class QuantileLoss(nn.Module):
    """Pinball loss; q=0.5 is half the absolute error."""

    def __init__(self, q=0.5):
        super().__init__()
        self.q = q

    def forward(self, forecast, actual):
        diff = actual - forecast
        return torch.maximum(self.q * diff, (self.q - 1) * diff).mean()


@torch.no_grad()
def mae(model, loader):
    model.eval()
    err, naive, n = 0.0, 0.0, 0
    for past, future in loader:
        out = model(past).flatten()
        err += (out - future).abs().sum().item()
        naive += (past[:, 0, -1] - future).abs().sum().item()
        n += len(future)
    return err / n, naive / n


def main(argv=None):
    p = argparse.ArgumentParser()
    p.add_argument("--lookback", type=int, default=36)
    p.add_argument("--horizon", type=int, default=3)
    p.add_argument("--quantile", type=float, default=0.5)
    p.add_argument("--epochs", type=int, default=4)
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--lr", type=float, default=3e-3)
    args = p.parse_args(argv)
    torch.manual_seed(77)

    raw = load_series()
    cut = 4000
    mu, sd = raw[:cut].mean(), raw[:cut].std()
    z = (raw - mu) / sd
    train_dl = DataLoader(WindowDataset(z[:cut], args.lookback, args.horizon, stride=2), args.batch, shuffle=True)
    valid_dl = DataLoader(WindowDataset(z[cut:], args.lookback, args.horizon), 256)
    model = TCN()
    criterion = QuantileLoss(args.quantile)
    optim = torch.optim.RAdam(model.parameters(), lr=args.lr)
    keep = (float("inf"), None)
    for epoch in range(args.epochs):
        model.train()
        total = 0.0
        for past, future in train_dl:
            optim.zero_grad()
            loss = criterion(model(past), future.unsqueeze(-1))
            loss.backward()
            optim.step()
            total += loss.item() * len(past)
        valid, naive = mae(model, valid_dl)
        print(f"epoch {epoch} pinball {total / len(train_dl.dataset):.4f} valid MAE {valid:.4f} (persistence {naive:.4f})")
        if valid < keep[0]:
            keep = (valid, {k: v.clone() for k, v in model.state_dict().items()})
    model.load_state_dict(keep[1])
    print("kept model MAE in data units:", round(keep[0] * float(sd), 3))


if __name__ == "__main__":
    main()
