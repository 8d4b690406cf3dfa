from functools import cached_property

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split


class Bins:
    def __init__(self, low=0.0, high=1.0, count=15, sigma=0.06):
        self.low, self.high, self.count, self.sigma = low, high, count, sigma

    @cached_property
    def centers(self):
        edges = torch.linspace(self.low, self.high, self.count + 1)
        return (edges[1:] + edges[:-1]) / 2

    def encode(self, value):
        """scalar -> discretised normal distribution"""
        w = torch.exp(-0.5 * ((value.unsqueeze(-1) - self.centers) / self.sigma) ** 2) + 1e-4
        return w / w.sum(-1, keepdim=True)

    def decode(self, probs):
        return probs @ self.centers


class EvidenceHead(nn.Module):
    """alpha = softplus(W h) + eps, p = alpha / sum(alpha): mean of the Dirichlet."""

    def __init__(self, dim, count, eps=1e-3):
        super().__init__()
        self.lin = nn.Linear(dim, count)
        self.eps = eps

    def forward(self, h):
        alpha = F.softplus(self.lin(h)) + self.eps
        return F.normalize(alpha, p=1, dim=-1)


class LDLNet(nn.Module):
    def __init__(self, bins, width=16):
        super().__init__()
        self.parts = nn.ModuleDict({
            "conv": nn.Sequential(
                nn.Conv1d(1, width, 7, stride=2, padding=3), nn.ReLU(),
                nn.Conv1d(width, width, 5, stride=2, padding=2), nn.ReLU(),
                nn.AdaptiveAvgPool1d(8), nn.Flatten(),
            ),
            "fc": nn.Sequential(nn.Linear(8 * width, 48), nn.ReLU()),
            "head": EvidenceHead(48, bins.count),
        })

    def forward(self, x):
        for part in self.parts.values():
            x = part(x)
        return x


class LDLLoss(nn.KLDivLoss):
    """KL(target || prediction) plus L1 between the expected values."""

    def __init__(self, bins, weight=1.0):
        super().__init__(reduction="batchmean")
        self.bins, self.weight = bins, weight

    def forward(self, probs, value):
        target = self.bins.encode(value)
        kl = super().forward(probs, target)  # <-- here
        l1 = (self.bins.decode(probs) - value).abs().mean()
        return kl + self.weight * l1


def chirps(n, rng, length=96):
    """The value to be estimated is the (scaled) growth rate of the frequency of a noisy chirp."""
    t = np.linspace(0, 1, length)
    v = rng.uniform(0.0, 1.0, n)
    phase = rng.uniform(0, 2 * np.pi, n)
    sig = np.sin(2 * np.pi * (2 * t + (1 + 9 * v[:, None]) * t ** 2) + phase[:, None])
    sig = sig + 0.2 * rng.standard_normal(sig.shape)
    return TensorDataset(torch.tensor(sig[:, None], dtype=torch.float32), torch.tensor(v, dtype=torch.float32))


def evaluate(net, bins, loader):
    net.eval()
    err, n = 0.0, 0
    with torch.inference_mode():
        for x, v in loader:
            err += (bins.decode(net(x)) - v).abs().sum().item()
            n += len(v)
    return err / n


if __name__ == "__main__":
    torch.manual_seed(0)
    bins = Bins()
    full = chirps(2200, np.random.default_rng(0))
    train, test = random_split(full, [1800, 400])
    train_loader = DataLoader(train, batch_size=36, shuffle=True)
    test_loader = DataLoader(test, batch_size=200)
    net = LDLNet(bins)
    criterion = LDLLoss(bins)
    opt = torch.optim.Adam([
        {"params": net.parts["conv"].parameters(), "lr": 2e-3},
        {"params": net.parts["fc"].parameters()},
    ], lr=3e-3)
    opt.add_param_group({"params": net.parts["head"].parameters()})
    for epoch in range(7):
        net.train()
        total = 0.0
        for x, v in train_loader:
            loss = criterion(net(x), v)  # <-- here
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(v)
        print(f"epoch {epoch} loss {total / len(train):.4f} test MAE {evaluate(net, bins, test_loader):.4f} (chance 0.25)")
