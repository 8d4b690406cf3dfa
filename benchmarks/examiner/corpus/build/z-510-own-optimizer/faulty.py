"""Does our own Nesterov optimizer train a network on the wine data?"""
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_wine
from sklearn.model_selection import StratifiedShuffleSplit
from torch.optim.optimizer import Optimizer


class Nesterov(Optimizer):
    def __init__(self, params, lr=1e-3, momentum=0.9, weight_decay=0.0):
        if lr < 0:
            raise ValueError(f"invalid learning rate {lr}")
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            lr, mu, wd = group["lr"], group["momentum"], group["weight_decay"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                d_p = p.grad
                if wd:
                    d_p = d_p.add(p, alpha=wd)
                state = self.state[p]
                if "velocity" not in state:
                    state["velocity"] = torch.zeros_like(p)
                velocity = state["velocity"]
                velocity.mul_(mu).add_(d_p)
                update = d_p.add(velocity, alpha=mu)
                p.add_(update, alpha=lr)  # <-- here
        return loss


class WineNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1 = nn.Linear(13, 24)
        self.l2 = nn.Linear(24, 16)
        self.l3 = nn.Linear(16, 3)

    def forward(self, x):
        return self.l3(torch.tanh(self.l2(torch.tanh(self.l1(x)))))


def split():
    X, y = load_wine(return_X_y=True)
    (train, test), = StratifiedShuffleSplit(1, test_size=0.3, random_state=2).split(X, y)
    mean, std = X[train].mean(0), X[train].std(0)
    X = torch.tensor((X - mean) / std, dtype=torch.float32)
    y = torch.tensor(y)
    return X[train], y[train], X[test], y[test]


def metrics(model, x, y):
    model.eval()
    with torch.no_grad():
        out = model(x)
    return F.cross_entropy(out, y).item(), (out.argmax(1) == y).float().mean().item()


def main():
    torch.manual_seed(3)
    x_train, y_train, x_test, y_test = split()
    model = WineNet()
    optimizer = Nesterov(model.parameters(), lr=2e-3, momentum=0.9, weight_decay=1e-4)
    for epoch in range(20):
        model.train()
        for idx in torch.randperm(len(x_train)).split(16):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x_train[idx]), y_train[idx])
            loss.backward()
            optimizer.step()  # <-- here
        if epoch % 4 == 3:
            tr, te = metrics(model, x_train, y_train), metrics(model, x_test, y_test)
            print(f"epoch {epoch + 1:2d}  train {tr[0]:.3f}/{tr[1]:.3f}  test {te[0]:.3f}/{te[1]:.3f}")


if __name__ == "__main__":
    main()
