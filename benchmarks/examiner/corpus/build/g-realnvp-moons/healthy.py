import math
import torch
import torch.nn as nn
from sklearn.datasets import make_moons


class AffineCoupling(nn.Module):
    def __init__(self, mask, hidden=48):
        super().__init__()
        self.register_buffer("mask", mask)
        self.s = nn.Sequential(nn.Linear(2, hidden), nn.LeakyReLU(0.1), nn.Linear(hidden, hidden), nn.LeakyReLU(0.1), nn.Linear(hidden, 2), nn.Tanh())
        self.t = nn.Sequential(nn.Linear(2, hidden), nn.LeakyReLU(0.1), nn.Linear(hidden, hidden), nn.LeakyReLU(0.1), nn.Linear(hidden, 2))

    def forward(self, x):
        xm = x * self.mask
        s = self.s(xm) * (1 - self.mask)
        t = self.t(xm) * (1 - self.mask)
        return xm + (1 - self.mask) * (x - t) * torch.exp(-s), -s.sum(dim=1)

    def inverse(self, z):
        zm = z * self.mask
        s = self.s(zm) * (1 - self.mask)
        t = self.t(zm) * (1 - self.mask)
        return zm + (1 - self.mask) * (z * torch.exp(s) + t)


class RealNVP(nn.Module):
    def __init__(self, n_layers=6):
        super().__init__()
        masks = [torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])]
        self.layers = nn.ModuleList([AffineCoupling(masks[i % 2]) for i in range(n_layers)])

    def log_prob(self, x):
        logdet = torch.zeros(len(x))
        for layer in reversed(self.layers):
            x, ld = layer(x)
            logdet = logdet + ld
        return logdet - 0.5 * (x ** 2).sum(1) - math.log(2 * math.pi)

    @torch.no_grad()
    def sample(self, n):
        z = torch.randn(n, 2)
        for layer in self.layers:
            z = layer.inverse(z)
        return z


torch.manual_seed(0)
data, _ = make_moons(4000, noise=0.06, random_state=0)
data = torch.tensor(data, dtype=torch.float32)
mean, std = data[:3200].mean(0), data[:3200].std(0)
data = (data - mean) / std
train, test = data[:3200], data[3200:]

flow = RealNVP()
optimizer = torch.optim.Adam(flow.parameters(), lr=2e-3)
for epoch in range(1, 9):
    for batch in train[torch.randperm(len(train))].split(100):
        loss = -flow.log_prob(batch).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        nll = -flow.log_prob(test).mean().item()
    print(f"epoch {epoch} train {loss.item():.3f} test nll {nll:.3f}")
print("sample mean", flow.sample(1000).mean(0).tolist())
