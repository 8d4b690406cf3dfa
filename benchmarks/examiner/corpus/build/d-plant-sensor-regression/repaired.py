import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def plant_log(n, seed, glitches):
    """Four process variables and the yield, as logged by the plant."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    y = 0.8 * x[:, 0] + 0.5 * np.sin(2 * x[:, 1]) - 0.4 * x[:, 2] * x[:, 3] + 0.05 * rng.normal(size=n)
    if glitches:
        rows = rng.choice(n, size=glitches, replace=False)
        y[rows] = rng.choice([-1.0, 1.0], size=glitches) * rng.uniform(2000, 5000, size=glitches)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)


def make_loss():
    return nn.HuberLoss()


def train_epoch(model, loader, loss_fn, optimizer):
    model.train()
    values = []
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x).squeeze(1), y)
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    return float(np.median(values))


def test_error(model, x, y):
    model.eval()
    with torch.no_grad():
        return (model(x).squeeze(1) - y).abs().mean().item()


def main():
    torch.manual_seed(12)
    x, y = plant_log(3000, seed=0, glitches=5)
    x_test, y_test = plant_log(800, seed=1, glitches=0)
    loader = DataLoader(TensorDataset(x, y), batch_size=25, shuffle=True)

    model = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    loss_fn = make_loss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    print(f"always the mean: {(y_test - y_test.mean()).abs().mean():.3f}")
    for epoch in range(6):
        typical = train_epoch(model, loader, loss_fn, optimizer)
        print(f"epoch {epoch}: median batch loss {typical:.4f}, test abs error {test_error(model, x_test, y_test):.3f}")


if __name__ == "__main__":
    main()
