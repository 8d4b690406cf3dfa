import torch
from torch import nn


class DeepSet(nn.Module):
    def __init__(self, d_in: int = 2, d_hid: int = 64, d_out: int = 1) -> None:
        super().__init__()
        self.phi = nn.Sequential(nn.Linear(d_in, d_hid), nn.ELU(), nn.Linear(d_hid, d_hid), nn.ELU())
        self.rho = nn.Sequential(nn.Linear(d_hid, d_hid), nn.ELU(), nn.Linear(d_hid, d_out))

    def forward(self, sets: torch.Tensor) -> torch.Tensor:
        return self.rho(self.phi(sets).mean(dim=1)).squeeze(-1)


def make_sets(n: int, m: int = 20):
    """points of a correlated Gaussian; the target is its correlation"""
    rho = torch.rand(n) * 1.8 - 0.9
    a = torch.randn(n, m)
    b = rho[:, None] * a + (1 - rho[:, None] ** 2).sqrt() * torch.randn(n, m)
    return torch.stack([a, b], dim=-1), rho


def run(steps: int = 400, batch: int = 64, seed: int = 12) -> None:
    torch.manual_seed(seed)
    model = DeepSet()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    val_x, val_y = make_sets(1000)
    for step in range(1, steps + 1):
        x, y = make_sets(batch)
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 80 == 0:
            model.eval()
            with torch.no_grad():
                v = nn.functional.mse_loss(model(val_x), val_y).item()
            model.train()
            print(f"step {step:4d} train mse {loss.item():.4f} val mse {v:.4f} (variance {val_y.var().item():.4f})")


if __name__ == "__main__":
    run()
