"""Hourly electricity demand from calendar and weather."""
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, random_split


def simulate_demand(hours=24 * 120, seed=0):
    r = np.random.default_rng(seed)
    t = np.arange(hours)
    hour, weekday = t % 24, (t // 24) % 7
    temp = 12 + 6 * np.sin(2 * np.pi * t / (24 * 90)) + r.normal(scale=3, size=hours)
    wind = np.abs(r.normal(scale=4, size=hours))
    load = (8 * np.sin(2 * np.pi * (hour - 8) / 24) + 4 * np.sin(4 * np.pi * (hour - 3) / 24)
            - 3 * (weekday >= 5) + 0.04 * (temp - 16) ** 2 + 0.3 * wind + r.normal(scale=0.8, size=hours))
    return {"hour": hour, "weekday": weekday, "temp": temp, "wind": wind, "load": load}


def cyclic(values, period):
    angle = 2 * np.pi * values / period
    return np.stack([np.sin(angle), np.cos(angle)], axis=1)



class Demand(Dataset):
    def __init__(self, table):
        columns = [
            cyclic(table["hour"], 24),
            cyclic(table["weekday"], 7),
            (table["temp"][:, None] - 12) / 6,
            table["wind"][:, None] / 4 - 1,
        ]
        self.x = np.concatenate(columns, axis=1).astype(np.float32)
        self.y = (table["load"] / 6 - 0.5).astype(np.float32)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class Regressor(nn.Sequential):
    def __init__(self, n_in, widths=(48, 48)):
        layers = []
        for w in widths:
            layers += [nn.Linear(n_in, w), nn.SiLU()]
            n_in = w
        super().__init__(*layers, nn.Linear(n_in, 1), nn.Flatten(0))


def score(net, loader):
    net.eval()
    with torch.no_grad():
        pred, true = map(torch.cat, zip(*((net(x), y) for x, y in loader)))
    mae = (pred - true).abs().mean().item()
    return mae, 1 - ((pred - true) ** 2).sum().item() / ((true - true.mean()) ** 2).sum().item()


def main():
    torch.manual_seed(29)
    data = Demand(simulate_demand())
    train, test = random_split(data, [0.8, 0.2])
    train_loader = DataLoader(train, batch_size=64, shuffle=True)
    test_loader = DataLoader(test, batch_size=288)
    net = Regressor(data.x.shape[1])
    loss_fn = nn.HuberLoss()
    opt = torch.optim.AdamW(net.parameters(), lr=4e-3)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=8e-3, epochs=8, steps_per_epoch=len(train_loader))
    for epoch in range(8):
        net.train()
        total, seen = 0.0, 0
        for x, y in train_loader:
            loss = loss_fn(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
            total, seen = total + loss.item() * len(y), seen + len(y)
        mae, r2 = score(net, test_loader)
        print(f"epoch {epoch} huber {total / seen:.4f} test MAE {mae:.3f} R2 {r2:.3f}")


if __name__ == "__main__":
    main()
