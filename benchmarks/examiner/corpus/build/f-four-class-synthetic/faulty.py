import random
from typing import Iterator, Tuple

import torch
from torch import Tensor, nn
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split


class Batcher:
    """Yields shuffled mini-batches of a pair of tensors."""

    def __init__(self, x: Tensor, y: Tensor, size: int, seed: int = 0):
        self.x, self.y, self.size, self.seed = x, y, size, seed
        self.order = list(range(len(x)))

    def __len__(self) -> int:
        return (len(self.x) + self.size - 1) // self.size

    def __iter__(self) -> Iterator[Tuple[Tensor, Tensor]]:
        order = list(self.order)
        random.Random(self.seed).shuffle(order)  # <-- here
        for i in range(0, len(order), self.size):
            rows = torch.tensor(order[i:i + self.size])
            yield self.x[rows], self.y[rows]


class Classifier(nn.Module):
    def __init__(self, n_features: int, n_classes: int, width: int = 40):
        super().__init__()
        self.inp = nn.Linear(n_features, width)
        self.mid = nn.Linear(width, width)
        self.out = nn.Linear(width, n_classes)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.inp(x))
        h = h + self.act(self.mid(h))
        return self.out(h)


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    model.eval()
    with torch.inference_mode():
        return (model(x).argmax(-1) == y).float().mean().item()


def main() -> None:
    torch.manual_seed(31)
    X, y = make_classification(n_samples=2000, n_features=16, n_informative=10, n_classes=4,
                               class_sep=1.5, random_state=31)
    Xa, Xb, ya, yb = train_test_split(X, y, test_size=500, random_state=31)
    mean, std = Xa.mean(axis=0), Xa.std(axis=0)
    xa = torch.tensor((Xa - mean) / std).float()
    xb = torch.tensor((Xb - mean) / std).float()
    ya, yb = torch.tensor(ya), torch.tensor(yb)

    model = Classifier(16, 4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    loss_fn = nn.CrossEntropyLoss()
    train_batches = Batcher(xa, ya, size=50, seed=31)
    for epoch in range(8):
        model.train()
        total = 0.0
        for bx, by in train_batches:  # <-- here
            optimizer.zero_grad(set_to_none=True)
            loss = loss_fn(model(bx), by)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch} mean batch loss {total / len(train_batches):.4f} held-out accuracy {accuracy(model, xb, yb):.3f}")


if __name__ == "__main__":
    main()
