import math

import torch
from torch import nn


class Recorder:
    """Keeps what the network said during training, for the report at the end."""

    def __init__(self):
        self.outputs, self.truth = [], []

    def add(self, output, target):
        self.outputs.append(output)  # <-- here
        self.truth.append(target)

    def r2(self, last):
        with torch.no_grad():
            said = torch.cat(self.outputs[-last:])
            truth = torch.cat(self.truth[-last:])
            return 1 - ((said - truth) ** 2).sum().item() / ((truth - truth.mean()) ** 2).sum().item()


def hire_data(n, seed):
    g = torch.Generator().manual_seed(seed)
    hour = torch.rand(n, generator=g) * 24
    temperature = torch.randn(n, generator=g)
    rain = (torch.rand(n, generator=g) < 0.25).float()
    weekend = (torch.rand(n, generator=g) < 2 / 7).float()
    rush = torch.exp(-(hour - 8) ** 2 / 4) + torch.exp(-(hour - 17.5) ** 2 / 6)
    demand = (1 - weekend) * 1.5 * rush + weekend * torch.sin(math.pi * hour / 24)
    demand = demand + 0.3 * temperature - 0.5 * rain + 0.1 * torch.randn(n, generator=g)
    angle = 2 * math.pi * hour / 24
    features = torch.stack([torch.sin(angle), torch.cos(angle), torch.sin(2 * angle), torch.cos(2 * angle),
                            temperature, rain, weekend], dim=1)
    return features, demand.unsqueeze(1)


def minibatches(x, y, size, rounds):
    for _ in range(rounds):
        for rows in torch.randperm(len(x)).split(size):
            yield x[rows], y[rows]


def main():
    torch.manual_seed(17)
    x, y = hire_data(3000, seed=1)
    x_new, y_new = hire_data(800, seed=2)
    regressor = nn.Sequential(nn.Linear(7, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.Adam(regressor.parameters(), lr=3e-3)
    recorder = Recorder()
    per_round = math.ceil(len(x) / 60)
    for step, (xb, yb) in enumerate(minibatches(x, y, 60, rounds=6), start=1):
        prediction = regressor(xb)
        recorder.add(prediction, yb)
        loss = nn.functional.mse_loss(prediction, yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % per_round == 0:
            print(f"step {step}: mse {loss.item():.3f}, training R2 of the round {recorder.r2(per_round):.3f}")

    regressor.eval()
    with torch.no_grad():
        rest = nn.functional.mse_loss(regressor(x_new), y_new).item()
    print(f"new data: mse {rest:.3f}, variance {y_new.var().item():.3f}")


if __name__ == "__main__":
    main()
