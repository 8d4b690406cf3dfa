"""GAN on eight Gaussians. Usage: gan.py [--iters N] [--latent D]"""
import argparse
import copy
import itertools
import math

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

MODES, RADIUS, STD = 8, 1.4, 0.06


def centers():
    a = torch.arange(MODES) * (2 * math.pi / MODES)
    return RADIUS * torch.stack([a.cos(), a.sin()], dim=1)


def real_stream(batch, generator):
    c = centers()
    while True:
        k = torch.randint(0, MODES, (batch,), generator=generator)
        yield c[k] + STD * torch.randn(batch, 2, generator=generator)


class Generator(nn.Module):
    def __init__(self, latent, width=64):
        super().__init__()
        self.latent = latent
        self.block = nn.Sequential(
            nn.Linear(latent, width), nn.LeakyReLU(0.2),
            nn.Linear(width, width), nn.LeakyReLU(0.2),
        )
        self.to_xy = nn.Linear(width, 2)

    def sample(self, n):
        return self(torch.randn(n, self.latent))

    def forward(self, z):
        return self.to_xy(self.block(z))


class Discriminator(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.inlet = spectral_norm(nn.Linear(2, width))
        self.mid = spectral_norm(nn.Linear(width, width))
        self.outlet = nn.Linear(width, 1)

    def forward(self, xy):
        h = F.leaky_relu(3.0 * self.inlet(xy), 0.2)
        h = F.leaky_relu(1.5 * self.mid(h), 0.2)
        return self.outlet(h).squeeze(-1)


class Ema:
    """Shadow copy of a module; it never sees an optimizer."""

    def __init__(self, module, decay):
        self.shadow = copy.deepcopy(module).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, module):
        for s, p in zip(self.shadow.parameters(), module.parameters()):
            s.lerp_(p, 1 - self.decay)


@torch.no_grad()
def coverage(gen, n=1000):
    gen.eval()
    d = torch.cdist(gen.sample(n), centers())
    near, which = d.min(dim=1)
    good = near < 0.35
    counts = torch.bincount(which[good], minlength=MODES)
    gen.train()
    return int((counts > n / MODES / 10).sum()), good.float().mean().item()


def discriminator_step(D, G, opt_d, real):
    fake = G.sample(len(real)).detach()
    opt_d.zero_grad()
    loss_real = F.binary_cross_entropy_with_logits(D(real), torch.full((len(real),), 0.9))
    loss_real.backward()
    loss_fake = F.binary_cross_entropy_with_logits(D(fake), torch.zeros(len(fake)))
    loss_fake.backward()
    nn.utils.clip_grad_norm_(D.parameters(), 5.0)
    opt_d.step()
    return loss_real.item() + loss_fake.item()


def generator_step(D, G, opt_g, n):
    opt_g.zero_grad()
    score = D(G.sample(n))
    loss = F.softplus(-score).mean()
    loss.backward()
    opt_g.step()
    return loss.item()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--iters", type=int, default=480)
    ap.add_argument("--latent", type=int, default=8)
    ap.add_argument("--batch", type=int, default=128)
    args = ap.parse_args()
    torch.manual_seed(12)
    G, D = Generator(args.latent), Discriminator()
    ema = Ema(G, 0.97)
    opt_g = torch.optim.Adam(G.parameters(), lr=2e-3, betas=(0.5, 0.99))
    opt_d = torch.optim.Adam(D.parameters(), lr=4e-3, betas=(0.5, 0.99))
    modes, share = coverage(ema.shadow)
    print(f"start: modes {modes}/8, share near a mode {share:.3f}")
    stream = real_stream(args.batch, torch.Generator().manual_seed(12))
    d_sum = g_sum = 0.0
    for it, real in enumerate(itertools.islice(stream, args.iters), 1):
        d_sum += discriminator_step(D, G, opt_d, real)
        g_sum += generator_step(D, G, opt_g, args.batch)
        ema.update(G)
        if it % 120 == 0:
            modes, share = coverage(ema.shadow)
            print(f"iter {it:4d}  D {d_sum / 120:.3f}  G {g_sum / 120:.3f}  modes {modes}/8  share {share:.3f}")
            d_sum = g_sum = 0.0


if __name__ == "__main__":
    main()
