import argparse

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


class MLP(nn.Module):
    """Multi-layer perceptron of any depth."""

    def __init__(self, n_in, n_hidden, n_out, depth=3):
        super().__init__()
        self.inp = nn.Linear(n_in, n_hidden)
        self.hidden = [nn.Linear(n_hidden, n_hidden) for _ in range(depth)]  # <-- here
        self.out = nn.Linear(n_hidden, n_out)
        self.act = nn.ReLU()

    def forward(self, x):
        x = self.act(self.inp(x))
        for layer in self.hidden:
            x = self.act(layer(x))  # <-- here
        return self.out(x)


def get_args():
    p = argparse.ArgumentParser(description="digits mlp")
    p.add_argument("--depth", type=int, default=3)
    p.add_argument("--width", type=int, default=64)
    p.add_argument("--epochs", type=int, default=8)
    p.add_argument("--bs", type=int, default=64)
    p.add_argument("--lr", type=float, default=1e-3)
    return p.parse_args()


def load(seed=0):
    d = load_digits()
    x_tr, x_te, y_tr, y_te = train_test_split(
        d.data, d.target, test_size=0.25, random_state=seed, stratify=d.target)
    f = lambda a: torch.tensor(a / 8.0 - 1.0, dtype=torch.float32)
    return f(x_tr), torch.tensor(y_tr), f(x_te), torch.tensor(y_te)


def accuracy(model, x, y):
    model.eval()
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


def main():
    args = get_args()
    torch.manual_seed(1)
    x_tr, y_tr, x_te, y_te = load()
    model = MLP(64, args.width, 10, args.depth)
    print("trainable parameters:", sum(p.numel() for p in model.parameters() if p.requires_grad))
    opt = torch.optim.Adam(model.parameters(), lr=args.lr)
    crit = nn.CrossEntropyLoss()
    for ep in range(args.epochs):
        model.train()
        order = torch.randperm(len(x_tr))
        for idx in order.split(args.bs):
            loss = crit(model(x_tr[idx]), y_tr[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(f"{ep:2d}  last batch loss {loss.item():.4f}  test acc {accuracy(model, x_te, y_te):.4f}")


if __name__ == "__main__":
    main()
