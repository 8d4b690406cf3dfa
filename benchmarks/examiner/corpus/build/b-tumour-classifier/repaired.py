from typing import Tuple

import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn


def get_data(seed: int) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
    X, y = load_breast_cancer(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
    scaler = StandardScaler().fit(X_train)
    X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)
    as_float = lambda a: torch.as_tensor(a, dtype=torch.float32)
    return as_float(X_train), as_float(X_test), as_float(y_train), as_float(y_test)


class TumourNet(nn.Module):
    def __init__(self, n_features: int, hidden: int = 16) -> None:
        super().__init__()
        self.fc1 = nn.Linear(n_features, hidden)
        self.drop = nn.Dropout(0.1)
        self.fc2 = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.drop(F.relu(self.fc1(x)))).squeeze(-1)


@torch.no_grad()
def test_accuracy(net: nn.Module, X: Tensor, y: Tensor) -> float:
    net.eval()
    return ((net(X) > 0).float() == y).float().mean().item()


if __name__ == "__main__":
    torch.manual_seed(0)
    X_train, X_test, y_train, y_test = get_data(seed=0)
    net = TumourNet(X_train.shape[1])
    opt = torch.optim.Adam(net.parameters(), lr=3e-3, weight_decay=1e-4)
    for epoch in range(1, 16):
        net.train()
        total = 0.0
        for idx in torch.randperm(len(X_train)).split(20):
            opt.zero_grad(set_to_none=True)
            loss = F.binary_cross_entropy_with_logits(net(X_train[idx]), y_train[idx])
            loss.backward()
            opt.step()
            total += loss.item() * len(idx)
        if epoch % 3 == 0:
            print(f"{epoch:2d} train loss {total / len(X_train):.4f}  test accuracy {test_accuracy(net, X_test, y_test):.4f}")
