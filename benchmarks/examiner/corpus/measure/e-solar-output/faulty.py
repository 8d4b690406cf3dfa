import numpy as np
import torch
from torch import nn


def mape(pred, actual):
    return ((pred - actual).abs() / actual.abs()).mean()  # <-- here


def simulate(n, rng):
    hour = rng.uniform(0, 24, n)
    cloud = rng.uniform(0, 1, n)
    temp = rng.normal(0, 1, n)
    height = np.sin((hour - 6) / 12 * np.pi)
    power = np.clip(height, 0, None) * (1 - 0.7 * cloud) * (1 - 0.05 * temp)
    power = power + 1e-6 * rng.uniform(0.1, 1, n)
    columns = [np.sin(hour / 24 * 2 * np.pi), np.cos(hour / 24 * 2 * np.pi), 2 * cloud - 1, temp]
    return (torch.tensor(np.stack(columns, 1), dtype=torch.float32),
            torch.tensor(power[:, None], dtype=torch.float32))


rng = np.random.default_rng(9)
torch.manual_seed(9)
x, y = simulate(3200, rng)
x_test, y_test = simulate(800, rng)
print("power in kW: mean %.3f, max %.3f" % (y.mean(), y.max()))

net = nn.Sequential(nn.Linear(4, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 1))
optim = torch.optim.Adam(net.parameters(), lr=3e-3)

for epoch in range(8):
    net.train()
    order = torch.from_numpy(rng.permutation(len(x)))
    losses = []
    for rows in order.split(80):
        optim.zero_grad()
        loss = mape(net(x[rows]), y[rows])
        loss.backward()
        optim.step()
        losses.append(loss.item())
    net.eval()
    with torch.no_grad():
        error = (net(x_test) - y_test).abs().mean().item()
    print("epoch %d  mape %.4g  mean abs error %.4f kW" % (epoch, sum(losses) / len(losses), error))
with torch.no_grad():
    print("always the median: %.4f kW" % (y_test - y.median()).abs().mean().item())
