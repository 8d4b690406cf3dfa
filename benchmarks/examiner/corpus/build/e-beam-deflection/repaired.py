"""Surrogate for a finite-element code: deflection of a loaded beam, in metres."""
from dataclasses import dataclass

import torch
import torch.nn as nn


@dataclass
class Options:
    samples: int = 6144
    hidden: int = 48
    batch: int = 512
    epochs: int = 25
    lr: float = 3e-3


def simulate(n, seed):
    g = torch.Generator().manual_seed(seed)
    design = torch.rand(n, 6, generator=g) * 2 - 1  # load, position, length, width, height, stiffness
    load, position, length, width, height, stiffness = design.unbind(1)
    bend = (1 + 0.6 * load) * (1 + 0.5 * length) ** 2 * torch.cos(1.2 * position)
    bend = bend / ((1 + 0.4 * width) * (1 + 0.3 * height) ** 2 * (1 + 0.3 * stiffness))
    metres = 1e-3 * bend
    return design * 1.7, metres.unsqueeze(1)


def build(opt):
    net = nn.Sequential(
        nn.Linear(6, opt.hidden), nn.SiLU(),
        nn.Linear(opt.hidden, opt.hidden), nn.SiLU(),
        nn.Linear(opt.hidden, opt.hidden), nn.SiLU(),
        nn.Linear(opt.hidden, 1),
    )
    nn.init.normal_(net[-1].weight, std=0.01)  # deflections are small numbers
    nn.init.zeros_(net[-1].bias)
    return net


def r2_score(net, x, y):
    net.eval()
    with torch.no_grad():
        rest = (net(x) - y).pow(2).sum() / (y - y.mean()).pow(2).sum()
    net.train()
    return 1 - rest.item()


def main():
    opt = Options()
    torch.manual_seed(19)
    x, y = simulate(opt.samples, seed=1)
    x_val, y_val = simulate(1000, seed=2)
    net = build(opt)
    optimizer = torch.optim.Adam(net.parameters(), lr=opt.lr)
    scaler = torch.amp.GradScaler("cpu")
    for epoch in range(1, opt.epochs + 1):
        total = 0.0
        for rows in torch.randperm(len(x)).split(opt.batch):
            optimizer.zero_grad()
            with torch.autocast(device_type="cpu", dtype=torch.float16):
                predicted = net(x[rows])
                loss = nn.functional.mse_loss(predicted, y[rows])
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            total += loss.item() * len(rows)
        if epoch % 5 == 0:
            rmse_mm = 1000 * (total / len(x)) ** 0.5
            print(f"epoch {epoch}: rmse {rmse_mm:.3f} mm  validation R2 {r2_score(net, x_val, y_val):.3f}")


if __name__ == "__main__":
    main()
