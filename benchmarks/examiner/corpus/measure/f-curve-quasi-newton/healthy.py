import numpy as np
import torch
import torch.nn as nn

torch.manual_seed(0)
rng = np.random.default_rng(0)

x = rng.uniform(-2, 2, size=(240, 1))
y = np.sin(2 * x) * np.exp(-0.3 * x ** 2) + 0.05 * rng.normal(size=x.shape)
x = torch.from_numpy(x).float()
y = torch.from_numpy(y).float()
x_fit, y_fit, x_val, y_val = x[:180], y[:180], x[180:], y[180:]

model = nn.Sequential(nn.Linear(1, 20), nn.Tanh(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 1))
criterion = nn.MSELoss()
optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=10, history_size=10, line_search_fn="strong_wolfe")


def closure():
    optimizer.zero_grad()
    loss = criterion(model(x_fit), y_fit)
    loss.backward()
    return loss


for i in range(15):
    loss = optimizer.step(closure)
    with torch.no_grad():
        val = criterion(model(x_val), y_val)
    print("round", i, "fit", round(loss.item(), 5), "validation", round(val.item(), 5))
print("variance of the targets", round(y_val.var().item(), 5))
