"""Bike-rental-like hourly demand for four stations: synthetic weather in, counts out."""
import argparse
import math

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

LOSSES = {}


def register(name):
    def deco(fn):
        LOSSES[name] = fn
        return fn
    return deco


@register("mse")
def weighted_mse(out, y, w):
    # w is (1, stations): dear stations count more
    return (w * (out["mean"] - y) ** 2).mean()


@register("poisson")
def poisson(out, y, w):
    per = F.poisson_nll_loss(out["rate"], y, log_input=False, full=False, reduction="none")
    return (w * per).mean()


@register("busy")
def busy(out, y, w):
    soft = torch.sigmoid((y - 3.0) / 0.7)            # inside (0, 1)
    return F.binary_cross_entropy(out["busy"], soft)


def simulate(n, stations, gen):
    hour = torch.rand(n, generator=gen) * 24
    temp = torch.randn(n, generator=gen)
    rain = torch.rand(n, generator=gen).pow(3)
    weekend = (torch.rand(n, generator=gen) < 2 / 7).float()
    ang = hour * (2 * math.pi / 24)
    x = torch.stack([ang.sin(), ang.cos(), (2 * ang).sin(), (2 * ang).cos(), temp, (rain - 0.25) / 0.28, weekend - 0.29], 1)
    base = torch.linspace(0.2, 1.0, stations)
    peak = torch.linspace(-1.0, 1.0, stations)
    log_rate = (base + 0.9 * torch.cos(ang[:, None] - 3.4 - peak) + 0.3 * temp[:, None]
                - 1.1 * rain[:, None] - 0.4 * weekend[:, None] * peak.sign())
    return x, torch.poisson(log_rate.exp(), generator=gen)


class DemandNet(nn.Module):
    def __init__(self, n_in, stations, width=48):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_in, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.mean_head = nn.Linear(width, stations)
        self.rate_head = nn.Linear(width, stations)
        self.busy_head = nn.Linear(width, stations)
        nn.init.constant_(self.mean_head.bias, 2.0)

    def forward(self, x):
        h = self.body(x)
        return {
            "mean": F.relu(self.mean_head(h)),
            "rate": F.softplus(self.rate_head(h)) + 1e-4,
            "busy": self.busy_head(h).sigmoid(),
        }


class Averager(dict):
    def add(self, n, **kw):
        for k, v in kw.items():
            s, c = self.get(k, (0.0, 0))
            self[k] = (s + float(v) * n, c + n)

    def __str__(self):
        return " ".join(f"{k}:{s / c:.4f}" for k, (s, c) in self.items())


def evaluate(net, x, y, mean):
    net.eval()
    with torch.no_grad():
        out = net(x)
    var = ((y - mean) ** 2).sum()
    r2 = {k: 1 - (((out[k] - y) ** 2).sum() / var).item() for k in ("mean", "rate")}
    hit = ((out["busy"] > 0.5) == (y > 3)).float().mean().item()
    return {**r2, "busy_acc": hit}


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--stations", type=int, default=4)
    ap.add_argument("--steps", type=int, default=450)
    ap.add_argument("--use", nargs="*", default=["mse", "poisson", "busy"], choices=sorted(LOSSES))
    a = ap.parse_args()
    torch.manual_seed(40)
    gen = torch.Generator().manual_seed(41)
    xt, yt = simulate(3000, a.stations, gen)
    xv, yv = simulate(800, a.stations, gen)
    weight = (1.0 / yt.var(0, keepdim=True))
    weight = weight / weight.mean()
    loader = DataLoader(TensorDataset(xt, yt), batch_size=64, shuffle=True)
    net = DemandNet(xt.size(1), a.stations)
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    sched = torch.optim.lr_scheduler.LinearLR(opt, 1.0, 0.1, total_iters=a.steps)
    step, meter = 0, Averager()
    while step < a.steps:
        for xb, yb in loader:
            net.train()
            out = net(xb)
            parts = {k: LOSSES[k](out, yb, weight) for k in a.use}
            loss = torch.stack(list(parts.values())).sum()
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
            meter.add(len(xb), **{k: v.item() for k, v in parts.items()})
            step += 1
            if step % 75 == 0:
                print(step, meter, {k: round(v, 3) for k, v in evaluate(net, xv, yv, yt.mean(0)).items()})
                meter.clear()
            if step >= a.steps:
                break


if __name__ == "__main__":
    main()
