import torch
import torch.nn as nn
from sklearn.datasets import make_moons


class Generator(nn.Module):
    def __init__(self, noise=4, width=64):
        super().__init__()
        self.noise = noise
        self.net = nn.Sequential(nn.Linear(noise, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))

    def sample(self, n):
        return self(torch.randn(n, self.noise))

    def forward(self, z):
        return self.net(z)


class Critic(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2), nn.Linear(width, 1))

    def forward(self, x):
        return self.net(x).squeeze(-1)


def gradient_penalty(critic, real, fake):
    eps = torch.rand(real.size(0), 1)
    mixed = (eps * real + (1 - eps) * fake).requires_grad_(True)
    grad, = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
    return ((grad.norm(2, dim=1) - 1) ** 2).mean()


def energy_distance(a, b):
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


def main(iterations=150, n_critic=4, batch=128, lam=1.0):
    torch.manual_seed(1)
    pts, _ = make_moons(4000, noise=0.05, random_state=1)
    pts = torch.tensor(pts, dtype=torch.float32)
    pts = (pts - pts.mean(0)) / pts.std(0)
    gen, critic = Generator(), Critic()
    g_opt = torch.optim.Adam(gen.parameters(), lr=5e-4, betas=(0.5, 0.9))
    c_opt = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.9))
    for it in range(iterations):
        for _ in range(n_critic):
            real = pts[torch.randint(len(pts), (batch,))]
            with torch.no_grad():
                fake = gen.sample(batch)
            c_loss = critic(fake).mean() - critic(real).mean() + lam * gradient_penalty(critic, real, fake)
            c_opt.zero_grad()
            c_loss.backward()
            c_opt.step()
        g_loss = -critic(gen.sample(batch)).mean()
        g_opt.zero_grad()
        g_loss.backward()
        g_opt.step()
        if it % 25 == 0 or it == iterations - 1:
            with torch.no_grad():
                d = energy_distance(gen.sample(500), pts[:500])
            print(f"{it:4d} critic {c_loss.item():+.3f} energy distance {d:.4f}")


if __name__ == "__main__":
    main()
