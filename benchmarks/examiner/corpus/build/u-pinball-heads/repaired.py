import functools

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def pinball(pred, target, q):
    err = target - pred.squeeze(-1)
    return torch.maximum(q * err, (q - 1) * err).mean()


QUANTILES = {"low": 0.1, "mid": 0.5, "high": 0.9}
LOSSES = {name: functools.partial(pinball, q=q) for name, q in QUANTILES.items()}


class QuantileNet(nn.Module):
    def __init__(self, n_in, width=48):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(n_in, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.heads = nn.ModuleDict({name: nn.Linear(width, 1) for name in QUANTILES})

    def forward(self, x):
        h = self.trunk(x)
        return {name: head(h) for name, head in self.heads.items()}


def heteroscedastic(n, seed):
    r = np.random.RandomState(seed)
    x = r.uniform(-2, 2, size=(n, 3))
    centre = np.sin(1.5 * x[:, 0]) + 0.5 * x[:, 1]
    y = centre + (0.15 + 0.35 * np.abs(x[:, 2])) * r.randn(n)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)


def coverage_report(net, x, y):
    net.eval()
    with torch.no_grad():
        out = {k: v[:, 0] for k, v in net(x).items()}
    inside = ((y >= out["low"]) & (y <= out["high"])).float().mean().item()
    width = (out["high"] - out["low"]).mean().item()
    r2 = 1 - ((out["mid"] - y) ** 2).mean().item() / y.var(unbiased=False).item()
    return inside, width, r2


def train(net, loader, held_out, epochs):
    optimizer = torch.optim.AdamW(
        [{"params": net.trunk.parameters()}, {"params": net.heads.parameters(), "weight_decay": 0.0}],
        lr=3e-3, weight_decay=1e-4)
    for epoch in range(epochs):
        net.train()
        track = {name: 0.0 for name in QUANTILES}
        seen = 0
        for xb, yb in loader:
            outputs = net(xb)
            parts = {name: LOSSES[name](outputs[name], yb) for name in QUANTILES}
            optimizer.zero_grad()
            sum(parts.values()).backward()
            optimizer.step()
            seen += len(xb)
            for name, value in parts.items():
                track[name] += value.item() * len(xb)
        inside, width, r2 = coverage_report(net, *held_out)
        print(epoch, {k: round(v / seen, 3) for k, v in track.items()},
              f"coverage={inside:.2f} width={width:.2f} R2={r2:.2f}")


def main():
    torch.manual_seed(0)
    x, y = heteroscedastic(1500, seed=4)
    loader = DataLoader(TensorDataset(x, y), batch_size=50, shuffle=True)
    train(QuantileNet(3), loader, heteroscedastic(400, seed=5), epochs=10)


if __name__ == "__main__":
    main()
