import numpy as np
import torch
import torch.nn as nn


class PinballLoss(nn.Module):
    def __init__(self, quantiles):
        super().__init__()
        self.register_buffer("q", torch.tensor(quantiles).view(1, -1))

    def forward(self, preds, target):
        err = target - preds
        return torch.max(self.q * err, (self.q - 1) * err).sum(dim=1).mean()


def sample(n, rng):
    x = rng.uniform(-3, 3, size=(n, 1))
    y = np.sin(x) + (0.1 + 0.15 * np.abs(x)) * rng.standard_normal((n, 1))
    return torch.from_numpy(x).float(), torch.from_numpy(y).float()


rng = np.random.default_rng(0)
torch.manual_seed(0)
x_train, y_train = sample(3000, rng)
x_val, y_val = sample(1000, rng)

quantiles = [0.1, 0.5, 0.9]
model = nn.Sequential(nn.Linear(1, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, len(quantiles)))
loss_fn = PinballLoss(quantiles)
opt = torch.optim.Adam(model.parameters(), lr=5e-3)

for epoch in range(12):
    for idx in torch.randperm(3000).chunk(30):
        opt.zero_grad()
        loss = loss_fn(model(x_train[idx]), y_train[idx])
        loss.backward()
        opt.step()
    with torch.no_grad():
        pv = model(x_val)
        val = loss_fn(pv, y_val).item()
        cover = (y_val <= pv).float().mean(0)
    print(f"epoch {epoch:2d} val pinball {val:.4f} coverage", [round(c, 2) for c in cover.tolist()])
