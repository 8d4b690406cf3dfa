"""Learned compression of 8x8 patches: encode, quantise to 9 levels, decode."""
import math
from dataclasses import dataclass, field

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits


@dataclass
class Options:
    code: int = 10
    levels: int = 4
    width: int = 64
    steps: int = 400
    batch: int = 64
    lr: float = 2e-3
    log_at: list = field(default_factory=lambda: [1, 100, 200, 300, 400])


def quantise(z, levels):
    """Values in (-1, 1) to a grid of 2*levels+1 points."""
    grid = torch.round(z * levels) / levels  # <-- here
    return grid


class Encoder(nn.Module):
    def __init__(self, opt):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, opt.width), nn.ReLU(), nn.Linear(opt.width, opt.code), nn.Tanh(),
        )

    def forward(self, x):
        return self.layers(x)


class Decoder(nn.Module):
    def __init__(self, opt):
        super().__init__()
        self.expand = nn.Linear(opt.code, opt.width)
        self.paint = nn.Linear(opt.width, 64)

    def forward(self, code):
        return self.paint(F.relu(self.expand(code)))


class Codec(nn.Module):
    def __init__(self, opt):
        super().__init__()
        self.levels = opt.levels
        self.encoder, self.decoder = Encoder(opt), Decoder(opt)

    def forward(self, x):
        return self.decoder(quantise(self.encoder(x), self.levels))  # <-- here


def patches():
    data = torch.tensor(load_digits().data / 16.0, dtype=torch.float32)
    data = data[torch.randperm(len(data), generator=torch.Generator().manual_seed(0))]
    return data[:1450], data[1450:]


def endless(data, batch):
    while True:
        for chunk in torch.randperm(len(data)).split(batch):
            yield data[chunk]


@torch.no_grad()
def psnr(codec, data):
    codec.eval()
    mse = F.mse_loss(codec(data), data).item()
    codec.train()
    return -10 * math.log10(mse)


def main():
    torch.manual_seed(77)
    opt = Options()
    train, held = patches()
    codec = Codec(opt)
    optimizer = torch.optim.Adam([
        {"params": codec.encoder.parameters(), "lr": opt.lr},
        {"params": codec.decoder.parameters(), "lr": opt.lr},
    ])
    bits = opt.code * math.log2(2 * opt.levels + 1)
    print(f"{bits:.1f} bits for 64 pixels; mean image gives "
          f"{-10 * math.log10(((held - train.mean(0)) ** 2).mean().item()):.2f} dB")
    source = endless(train, opt.batch)
    for step in range(1, opt.steps + 1):
        x = next(source)
        loss = F.mse_loss(codec(x), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in opt.log_at:
            print(f"step {step:4d}  mse {loss.item():.5f}  held-out PSNR {psnr(codec, held):.2f} dB")


if __name__ == "__main__":
    main()
