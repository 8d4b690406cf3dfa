"""A network that solves x'' + 2 d x' + w^2 x = 0 with x(0)=1, x'(0)=0."""
import torch
from torch import nn

D, W = 0.5, 4.0


def exact(t):
    wd = (W ** 2 - D ** 2) ** 0.5
    return torch.exp(-D * t) * (torch.cos(wd * t) + D / wd * torch.sin(wd * t))


class Solution(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, t):
        return self.layers(2 * t - 1)


def derivative(y, t):
    return torch.autograd.grad(y, t, grad_outputs=torch.ones_like(y), create_graph=True)[0]


def losses(model, n=64):
    t = torch.rand(n, 1, requires_grad=True)
    x = model(t)
    v = derivative(x, t)
    a = derivative(v, t)
    physics = ((a + 2 * D * v + W ** 2 * x) / W ** 2).pow(2).mean()
    t0 = torch.zeros(1, 1, requires_grad=True)
    x0 = model(t0)
    start = (x0 - 1).pow(2).mean() + (derivative(x0, t0) / W).pow(2).mean()
    return physics, start


def main():
    torch.manual_seed(0)
    model = Solution()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    grid = torch.linspace(0, 1, 101).unsqueeze(1)
    for step in range(1, 601):
        physics, start = losses(model)
        loss = physics + 5 * start
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0:
            with torch.no_grad():
                err = (model(grid) - exact(grid)).abs().max().item()
            print(f"{step:4d} physics {physics.item():.5f} start {start.item():.5f} worst error {err:.4f}")


main()
