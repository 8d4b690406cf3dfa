import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def paired_views(n, gen):
    z = torch.randn(n, 6, generator=gen)
    g = torch.Generator().manual_seed(99)
    wa, wb = torch.randn(6, 20, generator=g) / 6 ** 0.5, torch.randn(6, 14, generator=g) / 6 ** 0.5
    a = torch.tanh(z @ wa) + 0.1 * torch.randn(n, 20, generator=gen)
    b = torch.sin(1.5 * z @ wb) + 0.1 * torch.randn(n, 14, generator=gen)
    return TensorDataset(a, b)


def tower(n_in, width, n_out):
    return nn.Sequential(nn.Linear(n_in, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, n_out))


class TwoTower(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.left, self.right = tower(20, 64, dim), tower(14, 64, dim)
        self.log_scale = nn.Parameter(torch.tensor(math.log(5.0)))

    def forward(self, a, b):
        u, v = F.normalize(self.left(a), dim=-1), F.normalize(self.right(b), dim=-1)
        return self.log_scale.exp().clamp(max=50) * u @ v.t()


def info_nce(sim):
    target = torch.arange(len(sim))
    return 0.5 * (F.cross_entropy(sim, target) + F.cross_entropy(sim.t(), target))


@torch.no_grad()
def recall_at_1(model, loader):
    model.eval()
    hits = n = 0
    for a, b in loader:
        hits += (model(a, b).argmax(dim=1) == torch.arange(len(a))).sum().item()
        n += len(a)
    return hits / n


if __name__ == "__main__":
    torch.manual_seed(31)
    gen = torch.Generator().manual_seed(32)
    train = DataLoader(paired_views(1920, gen), batch_size=64, shuffle=True, drop_last=True)
    test = DataLoader(paired_views(320, gen), batch_size=64)
    model = TwoTower()
    opt = torch.optim.AdamW([{"params": [*model.left.parameters(), *model.right.parameters()]},
                             {"params": [model.log_scale], "weight_decay": 0.0}], lr=2e-3)
    for epoch in range(8):
        model.train()
        total = 0.0
        for a, b in train:
            loss = info_nce(model(a, b))
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch} nce {total / len(train):.3f} R@1 {recall_at_1(model, test):.3f} "
              f"scale {model.log_scale.exp().item():.1f}")
