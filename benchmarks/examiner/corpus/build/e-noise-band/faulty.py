import math

import torch
import torch.nn as nn


class MeanVariance(nn.Module):
    def __init__(self, width=40):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.mean = nn.Linear(width, 1)
        self.spread = nn.Linear(width, 1)

    def forward(self, x):
        h = self.trunk(x)
        return self.mean(h), self.spread(h)


def likelihood_loss(mean, spread, y):
    variance = spread ** 2  # <-- here
    return (0.5 * torch.log(variance) + 0.5 * (y - mean) ** 2 / variance).mean()  # <-- here


def sample(n):
    x = torch.rand(n, 1) * 4 - 2
    noise = 0.1 + 0.3 * torch.sigmoid(3 * x)
    return x, torch.sin(2 * x) + noise * torch.randn(n, 1)


def train(model, x, y, epochs=20, batch=50):
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(epochs):
        largest, total = -math.inf, 0.0
        for idx in torch.randperm(len(x)).split(batch):
            mean, spread = model(x[idx])
            loss = likelihood_loss(mean, spread, y[idx])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(idx)
            largest = max(largest, loss.item())
        if epoch == 0 or epoch % 4 == 3:
            print(f"epoch {epoch + 1:2d}  nll {total / len(x):9.3f}  worst batch {largest:9.3f}")


if __name__ == "__main__":
    torch.manual_seed(14)
    x, y = sample(1000)
    x_new, y_new = sample(400)
    net = MeanVariance()
    train(net, x, y)
    net.eval()
    with torch.no_grad():
        mean, _ = net(x_new)
        mse = (mean - y_new).pow(2).mean().item()
    print(f"mse of the mean on new points {mse:.4f} (variance {y_new.var().item():.3f})")
