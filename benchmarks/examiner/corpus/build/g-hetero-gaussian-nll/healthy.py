import torch
from torch import nn
import torch.nn.functional as F

torch.manual_seed(21)


def target_fn(x):
    return x * torch.sin(2 * x)


def noise_fn(x):
    return 0.05 + 0.25 * torch.sigmoid(3 * x)


X = torch.empty(2500, 1).uniform_(-2, 2)
Y = target_fn(X) + noise_fn(X) * torch.randn_like(X)
Xtr, Ytr, Xva, Yva = X[:2000], Y[:2000], X[2000:], Y[2000:]


class GaussianRegressor(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(1, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.mu = nn.Linear(width, 1)
        self.raw_var = nn.Linear(width, 1)

    def forward(self, x):
        h = self.trunk(x)
        return self.mu(h), F.softplus(self.raw_var(h)) + 1e-4


reg = GaussianRegressor()
gnll = nn.GaussianNLLLoss()
optimizer = torch.optim.Adam(reg.parameters(), lr=4e-3)

for epoch in range(15):
    shuffled = torch.randperm(len(Xtr))
    for k in range(0, len(Xtr), 100):
        sel = shuffled[k:k + 100]
        mean, var = reg(Xtr[sel])
        loss = gnll(mean, Ytr[sel], var)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if epoch % 3 == 2:
        with torch.no_grad():
            mean, var = reg(Xva)
            inside = ((Yva - mean).abs() < 1.96 * var.sqrt()).float().mean()
            print(f"{epoch + 1:3d} nll {gnll(mean, Yva, var):.3f} rmse {F.mse_loss(mean, Yva).sqrt():.3f} "
                  f"95% interval covers {inside:.3f}")
