import math
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits

torch.manual_seed(0)
T = 100
betas = torch.linspace(1e-3, 0.06, T)
alphas_bar = torch.cumprod(1 - betas, 0)


def timestep_embedding(t, dim=32):
    freqs = torch.exp(-math.log(1000) * torch.arange(dim // 2) / (dim // 2))
    args = t[:, None].float() * freqs[None]
    return torch.cat([args.sin(), args.cos()], dim=-1)


class ResBlock(nn.Module):
    def __init__(self, cin, cout, tdim=48):
        super().__init__()
        self.norm1 = nn.GroupNorm(4, cin)
        self.conv1 = nn.Conv2d(cin, cout, 3, padding=1)
        self.t_proj = nn.Linear(tdim, cout)
        self.norm2 = nn.GroupNorm(4, cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, padding=1)
        self.skip = nn.Conv2d(cin, cout, 1) if cin != cout else nn.Identity()

    def forward(self, x, temb):
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.t_proj(F.silu(temb))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return h + self.skip(x)


class UNet(nn.Module):
    def __init__(self, ch=16):
        super().__init__()
        self.time = nn.Sequential(nn.Linear(32, 48), nn.SiLU(), nn.Linear(48, 48))
        self.inp = nn.Conv2d(1, ch, 3, padding=1)
        self.down1 = ResBlock(ch, ch)
        self.down2 = ResBlock(ch, 2 * ch)
        self.mid = ResBlock(2 * ch, 2 * ch)
        self.up1 = ResBlock(3 * ch, ch)
        self.norm = nn.GroupNorm(4, ch)
        self.out = nn.Conv2d(ch, 1, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x, t):
        temb = self.time(timestep_embedding(t))
        h1 = self.down1(self.inp(x), temb)
        h2 = self.down2(F.avg_pool2d(h1, 2), temb)
        h2 = self.mid(h2, temb)
        h = torch.cat([F.interpolate(h2, scale_factor=2.0, mode="nearest"), h1], dim=1)
        h = self.up1(h, temb)
        return self.out(F.silu(self.norm(h)))


def diffuse(x0, t, noise):
    a = alphas_bar[t].view(-1, 1, 1, 1)
    return a.sqrt() * x0 + (1 - a).sqrt() * noise


x = torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 8 - 1
x = x[torch.randperm(len(x))]
x_train, x_val = x[:1500], x[1500:]
val_t = torch.randint(0, T, (len(x_val),))
val_noise = torch.randn_like(x_val)

unet = UNet()
opt = torch.optim.Adam(unet.parameters(), lr=2e-3)
for epoch in range(4):
    unet.train()
    for batch in x_train[torch.randperm(len(x_train))].split(50):
        t = torch.randint(0, T, (len(batch),))
        noise = torch.randn_like(batch)
        loss = F.mse_loss(unet(diffuse(batch, t, noise), t), noise)
        opt.zero_grad()
        loss.backward()
        opt.step()
    unet.eval()
    with torch.no_grad():
        val = F.mse_loss(unet(diffuse(x_val, val_t, val_noise), val_t), val_noise)
    print(f"epoch {epoch} val noise mse {val.item():.4f} (predicting zero: {val_noise.pow(2).mean().item():.4f})")
