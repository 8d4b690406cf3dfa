"""Multi-task learning on digits: which digit, is it even, how much ink."""
from typing import Callable, Dict

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, random_split

LossFn = Callable[[Tensor, Tensor], Tensor]


class MultiTaskDigits(Dataset):
    def __init__(self):
        raw = load_digits()
        self.x = torch.tensor(raw.data / 16.0, dtype=torch.float32)
        ink = raw.data.sum(1)
        self.y = {
            "digit": torch.tensor(raw.target),
            "even": torch.tensor(raw.target % 2 == 0, dtype=torch.float32),
            "ink": torch.tensor((ink - 313.0) / 45.0, dtype=torch.float32),
        }

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], {k: v[i] for k, v in self.y.items()}


class SharedTrunk(nn.Module):
    """Trunk with one head for each task; subclasses say what the heads are."""

    def __init__(self, n_in: int, width: int):
        super().__init__()
        self.width = width
        self.trunk = nn.Sequential(
            nn.Linear(n_in, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
        )
        self.heads = nn.ModuleDict(self.build_heads())

    def build_heads(self) -> Dict[str, nn.Module]:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Dict[str, Tensor]:
        shared = self.trunk(x)
        return {task: head(shared) for task, head in self.heads.items()}


class DigitTasks(SharedTrunk):
    def build_heads(self):
        return {
            "digit": nn.Linear(self.width, 10),
            "even": nn.Linear(self.width, 1),
            "ink": nn.Linear(self.width, 1),
        }


LOSSES: Dict[str, LossFn] = {
    "digit": F.cross_entropy,
    "even": lambda out, y: F.binary_cross_entropy_with_logits(out.squeeze(1), y),
    "ink": lambda out, y: F.mse_loss(out.squeeze(1), y),
}
WEIGHTS = {"digit": 1.0, "even": 0.5, "ink": 0.5}


def joint_loss(outputs: Dict[str, Tensor], targets: Dict[str, Tensor]) -> Tensor:
    parts = [WEIGHTS[k] * LOSSES[k](outputs[k], targets[k]) for k in LOSSES]
    return torch.stack(parts).sum()


@torch.no_grad()
def evaluate(net: nn.Module, loader: DataLoader) -> Dict[str, float]:
    net.eval()
    hits = dict(digit=0, even=0)
    err, n = 0.0, 0
    for x, y in loader:
        out = net(x)
        hits["digit"] += (out["digit"].argmax(1) == y["digit"]).sum().item()
        hits["even"] += ((out["even"].squeeze(1) > 0) == (y["even"] > 0.5)).sum().item()
        err += (out["ink"].squeeze(1) - y["ink"]).pow(2).sum().item()
        n += len(x)
    return {"digit acc": hits["digit"] / n, "even acc": hits["even"] / n, "ink rmse": float(np.sqrt(err / n))}


def main(epochs: int = 8) -> None:
    torch.manual_seed(99)
    data = MultiTaskDigits()
    train_set, test_set = random_split(data, [0.8, 0.2])
    train = DataLoader(train_set, batch_size=64, shuffle=True)
    test = DataLoader(test_set, batch_size=128)
    net = DigitTasks(64, 64)
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    for epoch in range(epochs):
        net.train()
        for x, y in train:
            opt.zero_grad()
            loss = joint_loss(net(x), y)
            loss.backward()
            opt.step()
        line = ", ".join(f"{k} {v:.3f}" for k, v in evaluate(net, test).items())
        print(f"epoch {epoch}: joint loss {loss.item():.3f}; {line}")


if __name__ == "__main__":
    main()
