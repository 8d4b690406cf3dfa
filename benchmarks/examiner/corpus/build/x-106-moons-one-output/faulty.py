"""Two moons with a small residual MLP."""
from copy import deepcopy
from typing import Dict, Iterator, Tuple

import torch
from sklearn.datasets import make_moons
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

Split = Tuple[Tensor, Tensor]


class ResidualMLP(nn.Module):
    def __init__(self, width: int = 24, depth: int = 2):
        super().__init__()
        self.stem = nn.Linear(2, width)
        self.blocks = nn.ModuleDict({f"block{i}": nn.Linear(width, width) for i in range(depth)})
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.stem(x))
        for lin in self.blocks.values():
            h = h + torch.relu(lin(h))
        return self.out(torch.tanh(self.norm(h)))


def get_splits(n: int = 1500, noise: float = 0.18, seed: int = 0) -> Dict[str, Split]:
    X, y = make_moons(n, noise=noise, random_state=seed)
    Xa, Xc, ya, yc = train_test_split(X, y, test_size=300, random_state=seed)
    Xa, Xb, ya, yb = train_test_split(Xa, ya, test_size=200, random_state=seed)
    mu, sd = Xa.mean(0), Xa.std(0)

    def pack(X, y) -> Split:
        return torch.as_tensor((X - mu) / sd, dtype=torch.float32), torch.as_tensor(y)

    return {"train": pack(Xa, ya), "val": pack(Xb, yb), "test": pack(Xc, yc)}


def batches(split: Split, size: int) -> Iterator[Split]:
    X, y = split
    perm = torch.randperm(len(X))
    for i in range(0, len(X), size):
        yield X[perm[i:i + size]], y[perm[i:i + size]]


def accuracy(model: nn.Module, split: Split) -> float:
    model.eval()
    with torch.no_grad():
        prob = torch.sigmoid(model(split[0])).squeeze(1)
    return ((prob > 0.5).long() == split[1]).float().mean().item()


def train_one_epoch(model: nn.Module, split: Split, criterion: nn.Module,
                    optimizer: torch.optim.Optimizer, size: int = 32) -> float:
    model.train()
    total, n = 0.0, 0
    for xb, yb in batches(split, size):
        target = yb.unsqueeze(1).float()
        optimizer.zero_grad()
        logits = model(xb)
        loss = criterion(logits, target)  # <-- here
        loss.backward()
        optimizer.step()
        total += loss.item() * len(xb)
        n += len(xb)
    return total / n


def main() -> None:
    torch.manual_seed(1234)
    data = get_splits()
    model = ResidualMLP()
    criterion = nn.CrossEntropyLoss()  # <-- here
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.95)
    best, snapshot = 0.0, deepcopy(model.state_dict())
    for epoch in range(1, 16):
        loss = train_one_epoch(model, data["train"], criterion, optimizer)
        scheduler.step()
        val = accuracy(model, data["val"])
        if val > best:
            best, snapshot = val, deepcopy(model.state_dict())
        print(f"epoch={epoch:<3d} loss={loss:.5f} val_acc={val:.3f}")
    model.load_state_dict(snapshot)
    print("test accuracy:", accuracy(model, data["test"]))


if __name__ == "__main__":
    main()
