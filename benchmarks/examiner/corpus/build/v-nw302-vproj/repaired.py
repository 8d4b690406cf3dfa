import math
import torch
import torch.nn as nn
import torch.nn.functional as F


class SelfAttention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads, self.dk = heads, dim // heads
        self.to_q = nn.Linear(dim, dim)
        self.to_k = nn.Linear(dim, dim)
        self.to_v = nn.Linear(dim, dim)
        self.merge = nn.Linear(dim, dim)

    def split(self, t):
        b, n, _ = t.shape
        return t.view(b, n, self.heads, self.dk).transpose(1, 2)

    def forward(self, x):
        q, k, v = (self.split(f(x)) for f in (self.to_q, self.to_k, self.to_v))
        w = (q @ k.transpose(-2, -1) / math.sqrt(self.dk)).softmax(-1)
        y = (w @ v).transpose(1, 2).flatten(2)
        return F.gelu(self.merge(y))


class SetRegressor(nn.Module):
    """Predicts the spread of the two farthest points in a cloud."""

    def __init__(self, dim=32, heads=4, depth=2):
        super().__init__()
        self.embed = nn.Linear(2, dim)
        self.layers = nn.ModuleList(SelfAttention(dim, heads) for _ in range(depth))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(depth))
        self.readout = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, 1))

    def forward(self, pts):
        h = torch.tanh(self.embed(pts))
        for att, norm in zip(self.layers, self.norms):
            h = h + att(norm(h))
        return self.readout(h.amax(1)).squeeze(-1)


def clouds(n, points=12, seed=0):
    g = torch.Generator().manual_seed(seed)
    p = torch.randn(n, points, 2, generator=g) * (0.5 + torch.rand(n, 1, 1, generator=g))
    return p, torch.cdist(p, p).flatten(1).amax(1)


def main():
    torch.manual_seed(14)
    (xa, ya), (xb, yb) = clouds(1500, seed=1), clouds(400, seed=2)
    mu, sd = ya.mean(), ya.std()
    ya, yb = (ya - mu) / sd, (yb - mu) / sd
    net = SetRegressor()
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    for epoch in range(5):
        net.train()
        total = 0.0
        for rows in torch.randperm(len(xa)).split(50):
            loss = F.mse_loss(net(xa[rows]), ya[rows])
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(rows)
        net.eval()
        with torch.no_grad():
            test = F.mse_loss(net(xb), yb).item()
        print(f"epoch {epoch}: train mse {total / len(xa):.4f}  test mse {test:.4f}")


if __name__ == "__main__":
    main()
