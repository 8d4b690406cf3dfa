import math

import torch
from torch import nn

torch.manual_seed(0)
MODES, RADIUS, Z = 4, 1.5, 8
angles = torch.arange(MODES) * 2 * math.pi / MODES
centres = RADIUS * torch.stack([angles.cos(), angles.sin()], 1)


def real_batch(n):
    return centres[torch.randint(MODES, (n,))] + 0.15 * torch.randn(n, 2)


G = nn.Sequential(nn.Linear(Z, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 2))
D = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
opt_g = torch.optim.Adam(G.parameters(), lr=1e-3, betas=(0.5, 0.999))
opt_d = torch.optim.Adam(D.parameters(), lr=1e-3, betas=(0.5, 0.999))
bce = nn.BCEWithLogitsLoss()
N = 128
ones, zeros = torch.ones(N, 1), torch.zeros(N, 1)


def distance_to_modes():
    with torch.no_grad():
        fake = G(torch.randn(1000, Z))
    d, which = torch.cdist(fake, centres).min(dim=1)
    return d.mean().item(), len(which[d < 0.5].unique())


print("before: distance %.3f, modes %d" % distance_to_modes())
for it in range(1, 601):
    real = real_batch(N)
    fake = G(torch.randn(N, Z))

    # discriminator
    opt_d.zero_grad()
    d_loss = bce(D(real), ones) + bce(D(fake.detach()), zeros)
    d_loss.backward()
    opt_d.step()

    # generator
    opt_g.zero_grad()
    g_loss = bce(D(fake), ones)
    g_loss.backward()
    opt_g.step()

    if it % 100 == 0:
        dist, modes = distance_to_modes()
        print(f"{it}: D {d_loss.item():.3f} G {g_loss.item():.3f} distance {dist:.3f} modes {modes}")
