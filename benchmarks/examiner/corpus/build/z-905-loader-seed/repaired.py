from dataclasses import dataclass, field
from typing import Dict, List

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class Cfg:
    users: int = 120
    items: int = 90
    rank: int = 6
    ratings: int = 6000
    batch_size: int = 64
    epochs: int = 6
    lr: float = 1e-2
    seed: int = 1337
    history: Dict[str, List[float]] = field(default_factory=lambda: {"train": [], "test": []})


def seeded_loader(dataset: TensorDataset, batch_size: int, seed: int) -> DataLoader:
    generator = torch.Generator()
    generator.manual_seed(seed)
    return DataLoader(dataset, batch_size=batch_size, shuffle=True, generator=generator)


class Recommender(nn.Module):
    """Biased matrix factorisation with a small interaction network."""

    def __init__(self, cfg: Cfg):
        super().__init__()
        self.user = nn.Embedding(cfg.users, cfg.rank)
        self.item = nn.Embedding(cfg.items, cfg.rank)
        self.user_bias = nn.Embedding(cfg.users, 1)
        self.item_bias = nn.Embedding(cfg.items, 1)
        self.mlp = nn.Sequential(nn.Linear(2 * cfg.rank, 16), nn.ReLU(), nn.Linear(16, 1))
        for emb in (self.user, self.item):
            nn.init.normal_(emb.weight, std=0.3)
        for emb in (self.user_bias, self.item_bias):
            nn.init.normal_(emb.weight, std=0.05)

    def forward(self, u: Tensor, i: Tensor) -> Tensor:
        p, q = self.user(u), self.item(i)
        deep = self.mlp(torch.cat([p, q], dim=-1)).squeeze(-1)
        return (p * q).sum(-1) + deep + self.user_bias(u).squeeze(-1) + self.item_bias(i).squeeze(-1)


def synthetic_ratings(cfg: Cfg) -> tuple[TensorDataset, TensorDataset]:
    g = torch.Generator().manual_seed(cfg.seed)
    P, Q = torch.randn(cfg.users, 3, generator=g), torch.randn(cfg.items, 3, generator=g)
    cells = torch.randperm(cfg.users * cfg.items, generator=g)[:cfg.ratings]
    u, i = cells // cfg.items, cells % cfg.items
    r = (P[u] * Q[i]).sum(-1) / 3 ** 0.5 + torch.randn(cfg.items, generator=g)[i] * 0.7
    r = r + 0.3 * torch.randn(len(r), generator=g)
    cut = int(0.85 * cfg.ratings)
    r = (r - r[:cut].mean()) / r[:cut].std()
    return TensorDataset(u[:cut], i[:cut], r[:cut]), TensorDataset(u[cut:], i[cut:], r[cut:])


@torch.no_grad()
def rmse(model: nn.Module, data: TensorDataset) -> float:
    model.eval()
    u, i, r = data.tensors
    return (model(u, i) - r).square().mean().sqrt().item()


def main(cfg: Cfg) -> None:
    torch.manual_seed(cfg.seed)
    train, test = synthetic_ratings(cfg)
    model = Recommender(cfg)
    optimizer = torch.optim.AdamW(model.parameters(), lr=cfg.lr, weight_decay=0.02)
    for epoch in range(cfg.epochs):
        model.train()
        total = 0.0
        for u, i, r in seeded_loader(train, cfg.batch_size, cfg.seed + epoch):
            loss = nn.functional.mse_loss(model(u, i), r)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(r)
        cfg.history["train"].append(total / len(train))
        cfg.history["test"].append(rmse(model, test))
        print(f"epoch {epoch}  train mse {cfg.history['train'][-1]:.4f}  test rmse {cfg.history['test'][-1]:.4f}")


if __name__ == "__main__":
    main(Cfg())
