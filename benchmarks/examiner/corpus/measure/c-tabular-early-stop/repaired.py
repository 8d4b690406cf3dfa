from __future__ import annotations

import copy

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split


class Net(nn.Module):
    def __init__(self, d_in: int, d_hidden: int, d_out: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(d_in, d_hidden)
        self.lin2 = nn.Linear(d_hidden, d_hidden)
        self.lin3 = nn.Linear(d_hidden, d_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.elu(self.lin1(x))
        x = F.dropout(x, 0.4, training=self.training)
        x = F.elu(self.lin2(x))
        return self.lin3(x)


def make_data(seed: int):
    X, y = make_classification(n_samples=1800, n_features=13, n_informative=9, n_redundant=2, n_classes=4,
                               n_clusters_per_class=1, class_sep=1.4, random_state=seed)
    parts = train_test_split(X, y, test_size=600, random_state=seed)
    X_tr, X_va, y_tr, y_va = (torch.tensor(p) for p in parts)
    mean, std = X_tr.mean(0), X_tr.std(0)
    return ((X_tr - mean) / std).float(), y_tr, ((X_va - mean) / std).float(), y_va


@torch.no_grad()
def validate(net: Net, X: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
    net.eval()
    logits = net(X)
    return F.cross_entropy(logits, y).item(), (logits.argmax(1) == y).float().mean().item()


def main() -> None:
    torch.manual_seed(8)
    X_tr, y_tr, X_va, y_va = make_data(8)
    net = Net(13, 32, 4)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    best, patience, best_state = float("inf"), 0, None
    for epoch in range(18):
        net.train()
        for sel in torch.randperm(len(X_tr)).split(60):
            loss = F.cross_entropy(net(X_tr[sel]), y_tr[sel])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        val_loss, val_acc = validate(net, X_va, y_va)
        print(f"{epoch:02d} val_loss={val_loss:.4f} val_acc={val_acc:.4f}")
        if val_loss < best:
            best, patience, best_state = val_loss, 0, copy.deepcopy(net.state_dict())
        else:
            patience += 1
            if patience == 5:
                print("stopping early")
                break
    else:
        print("ran all epochs")
    net.load_state_dict(best_state)
    print("best model: loss %.4f, accuracy %.4f" % validate(net, X_va, y_va))


if __name__ == "__main__":
    main()
