"""Train a wine classifier on clean sensors, then adapt it to a drifted
instrument by learning an affine correction in front of the frozen net."""
import torch
from torch import nn
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split


class Corrected(nn.Module):
    def __init__(self, base, n_features):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(n_features))
        self.shift = nn.Parameter(torch.zeros(n_features))
        self.base = base

    def forward(self, x):
        return self.base(x * self.scale + self.shift)


def freeze(module):
    for param in module.parameters():
        param.requires_grad = False
    return module


def tunable(module):
    return [p for p in module.parameters() if not p.requires_grad]  # <-- here


def optimise(net, params, x, y, *, lr, epochs, tag):
    opt = torch.optim.Adam(params, lr=lr)  # <-- here
    ce = nn.CrossEntropyLoss()
    for epoch in range(epochs):
        seen = 0.0
        for idx in torch.randperm(len(x)).split(16):
            opt.zero_grad()
            loss = ce(net(x[idx]), y[idx])
            loss.backward()
            opt.step()
            seen += loss.item() * len(idx)
        if epoch % 5 == 4:
            print(f"{tag} epoch {epoch + 1:2d} loss {seen / len(x):.4f}")


@torch.no_grad()
def accuracy(net, x, y):
    return (net(x).argmax(dim=1) == y).float().mean().item()


def main():
    torch.manual_seed(21)
    features, labels = load_wine(return_X_y=True)
    a_tr, a_te, b_tr, b_te = train_test_split(features, labels, test_size=0.4, random_state=3, stratify=labels)
    mu, sigma = a_tr.mean(0), a_tr.std(0)
    x_tr = torch.tensor((a_tr - mu) / sigma, dtype=torch.float32)
    x_te = torch.tensor((a_te - mu) / sigma, dtype=torch.float32)
    y_tr, y_te = torch.tensor(b_tr), torch.tensor(b_te)

    base = nn.Sequential(nn.Linear(13, 24), nn.ReLU(), nn.Linear(24, 3))
    optimise(base, base.parameters(), x_tr, y_tr, lr=5e-3, epochs=15, tag="clean  ")
    print(f"clean instrument:   {accuracy(base, x_te, y_te):.3f}")

    gain = 0.6 + 0.8 * torch.rand(13)
    offset = 1.2 * torch.randn(13)
    print(f"drifted instrument: {accuracy(base, x_te * gain + offset, y_te):.3f}")

    net = Corrected(freeze(base), 13)
    optimise(net, tunable(net), x_tr * gain + offset, y_tr, lr=2e-2, epochs=15, tag="drifted")
    print(f"after adaptation:   {accuracy(net, x_te * gain + offset, y_te):.3f}")


if __name__ == "__main__":
    main()
