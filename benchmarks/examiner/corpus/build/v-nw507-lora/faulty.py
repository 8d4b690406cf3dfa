"""Pretrain an MLP on digits, then adapt it to inverted digits with LoRA adapters."""
import math
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


class LoRALinear(nn.Module):
    def __init__(self, base: nn.Linear, r=6, alpha=12):
        super().__init__()
        self.base = base
        self.A = nn.Parameter(torch.empty(r, base.in_features))
        self.B = nn.Parameter(torch.zeros(base.out_features, r))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))
        self.scale = alpha / r

    def forward(self, x):
        return self.base(x) + self.scale * F.linear(F.linear(x, self.A), self.B)


def inject(net):
    for p in net.parameters():
        p.requires_grad_(False)
    for key, child in list(net.named_children()):
        if isinstance(child, nn.Linear):
            setattr(net, key, LoRALinear(child))
    return net


def fit(net, opt, X, y, epochs, tag, bs=48):
    net.train()
    for ep in range(epochs):
        perm = torch.randperm(len(X))
        acc_loss = 0.0
        for j in range(0, len(X), bs):
            take = perm[j:j + bs]
            opt.zero_grad()
            loss = F.cross_entropy(net(X[take]), y[take])
            loss.backward()
            opt.step()
            acc_loss += loss.item() * len(take)
        print(f"{tag} epoch {ep}: {acc_loss / len(X):.4f}")


@torch.no_grad()
def evaluate(net, X, y):
    net.eval()
    return (net(X).argmax(-1) == y).float().mean().item()


def main():
    torch.manual_seed(3)
    X, y = load_digits(return_X_y=True)
    Xa, Xb, ya, yb = train_test_split(X / 16.0, y, test_size=0.3, random_state=3, stratify=y)
    Xa, Xb = (torch.tensor(v, dtype=torch.float32) - 0.3 for v in (Xa, Xb))
    ya, yb = torch.tensor(ya), torch.tensor(yb)

    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    fit(net, torch.optim.Adam(net.parameters(), lr=2e-3), Xa, ya, 6, "pretrain")
    print("source test acc", evaluate(net, Xb, yb))

    shift = lambda t: 0.4 - t
    print("target before", evaluate(net, shift(Xb), yb))
    weights = list(net.parameters())  # <-- here
    inject(net)
    adapt = torch.optim.AdamW(weights, lr=1e-2, weight_decay=0.0)  # <-- here
    fit(net, adapt, shift(Xa), ya, 10, "adapt")
    print("target after", evaluate(net, shift(Xb), yb))


if __name__ == "__main__":
    main()
