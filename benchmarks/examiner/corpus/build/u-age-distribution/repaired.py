import math
import typing as tp

import torch
import torch.nn as nn
import torch.nn.functional as F

BINS = torch.linspace(-3.0, 3.0, 25)
CENTRES = 0.5 * (BINS[1:] + BINS[:-1])


def soft_label(value: torch.Tensor, sigma: float = 0.35) -> torch.Tensor:
    w = torch.exp(-0.5 * ((CENTRES[None] - value[:, None]) / sigma) ** 2)
    return w / w.sum(1, keepdim=True)


class BinnedLogistic(nn.Module):
    """mu and scale of a logistic law, turned into the mass of every bin."""

    def __init__(self, n_in: int, hidden: int = 40) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_in, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh())
        self.mu = nn.Linear(hidden, 1)
        self.log_s = nn.Linear(hidden, 1)
        self.register_buffer("edges", BINS[1:-1][None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.body(x)
        scale = 0.15 + F.softplus(self.log_s(h))
        cdf = torch.sigmoid((self.edges - self.mu(h)) / scale)
        zero, one = torch.zeros(len(x), 1), torch.ones(len(x), 1)
        return torch.diff(torch.cat([zero, cdf, one], dim=1), dim=1)


class DistributionLoss(nn.KLDivLoss):
    def __init__(self) -> None:
        super().__init__(reduction="batchmean")

    def forward(self, mass: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return super().forward(torch.log(mass.clamp_min(1e-7)), soft_label(value))


def people(n: int, gen: torch.Generator) -> tp.Tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(n, 8, generator=gen)
    age = torch.sin(x[:, 0]) + 0.6 * x[:, 1] - 0.4 * x[:, 2] * x[:, 3]
    age = age + 0.1 * torch.randn(n, generator=gen)
    return x, age.clamp(-2.9, 2.9)


def mean_age(mass: torch.Tensor) -> torch.Tensor:
    return mass @ CENTRES


def fit(net: nn.Module, data, held, epochs: int) -> None:
    criterion = DistributionLoss()
    opt = torch.optim.NAdam(net.parameters(), lr=4e-3)
    x, age = data
    for epoch in range(epochs):
        net.train()
        acc = 0.0
        for idx in torch.randperm(len(x)).chunk(math.ceil(len(x) / 60)):
            loss = criterion(net(x[idx]), age[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
            acc += loss.item() * len(idx)
        net.eval()
        with torch.no_grad():
            mae = (mean_age(net(held[0])) - held[1]).abs().mean().item()
        print(f"{epoch + 1:2d}  kl {acc / len(x):+.4f}  held-out MAE {mae:.3f}"
              f"  (constant guess {(held[1] - age.mean()).abs().mean().item():.3f})")


torch.manual_seed(9)
generator = torch.Generator().manual_seed(10)
fit(BinnedLogistic(8), people(1500, generator), people(400, generator), epochs=14)
