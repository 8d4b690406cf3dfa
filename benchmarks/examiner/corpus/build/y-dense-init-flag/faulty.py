"""Layers from scratch: a Dense layer, a tiny model class, three-arm spiral."""
import math
from functools import partial

import torch
from torch import nn

INITIALISERS = {
    "const": partial(torch.full, fill_value=0.1),
    "he": lambda size: torch.randn(size) * math.sqrt(2.0 / size[0]),
    "lecun": lambda size: torch.randn(size) * math.sqrt(1.0 / size[0]),
}


class Dense(nn.Module):
    def __init__(self, fan_in, fan_out, activation=None, init="const"):  # <-- here
        super().__init__()
        self.weight = nn.Parameter(INITIALISERS[init]((fan_in, fan_out)))  # <-- here
        self.offset = nn.Parameter(torch.zeros(fan_out))
        self.activation = activation or (lambda z: z)

    def forward(self, x):
        return self.activation(x @ self.weight + self.offset)  # <-- here


class Model(nn.Module):
    def __init__(self, sizes, activation):
        super().__init__()
        pairs = list(zip(sizes[:-1], sizes[1:]))
        self.stack = nn.ModuleList(Dense(a, b, activation) for a, b in pairs[:-1])
        self.readout = Dense(*pairs[-1])

    def forward(self, x):
        for layer in self.stack:
            x = layer(x)
        return self.readout(x)


def spiral(n_per_arm, arms=3, noise=0.15, seed=0):
    g = torch.Generator().manual_seed(seed)
    xs, ys = [], []
    for arm in range(arms):
        r = torch.rand(n_per_arm, generator=g) * 0.9 + 0.1
        a = 3.5 * r + arm * 2 * math.pi / arms + noise * torch.randn(n_per_arm, generator=g)
        xs.append(torch.stack([r * a.sin(), r * a.cos()], 1) * 2.0)
        ys.append(torch.full((n_per_arm,), arm))
    return torch.cat(xs), torch.cat(ys)


def fit(model, data, epochs, batch, lr):
    x, y = data
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    for epoch in range(epochs):
        model.train()
        perm = torch.randperm(len(x))
        for k in range(0, len(x), batch):
            sel = perm[k:k + batch]
            log_p = model(x[sel]).log_softmax(dim=1)
            loss = nn.functional.nll_loss(log_p, y[sel])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        if epoch % 4 == 3:
            yield epoch, loss.item()


def accuracy(model, data):
    model.eval()
    x, y = data
    with torch.no_grad():
        return (model(x).argmax(1) == y).double().mean().item()


if __name__ == "__main__":
    torch.manual_seed(31)
    train, test = spiral(400, seed=1), spiral(120, seed=2)
    model = Model([2, 48, 48, 3], torch.relu)
    for epoch, loss in fit(model, train, epochs=20, batch=60, lr=4e-3):
        print(f"epoch {epoch:3d}  loss {loss:.4f}  train {accuracy(model, train):.3f}  test {accuracy(model, test):.3f}")
