"""Leaky integrate-and-fire network, direct current encoding, rate readout."""
import argparse

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


class LIF(nn.Module):
    def __init__(self, n_in, n_out, beta=0.8, threshold=0.5, slope=6.0):
        super().__init__()
        self.fc = nn.Linear(n_in, n_out)
        self.beta, self.threshold, self.slope = beta, threshold, slope

    def fire(self, u):
        soft = torch.sigmoid(self.slope * u)
        return soft + ((u > 0).float() - soft).detach()

    def forward(self, current, mem):
        mem = self.beta * mem + self.fc(current)
        spikes = self.fire(mem - self.threshold)
        return spikes, mem - self.threshold * spikes.detach()


class SpikingNet(nn.Module):
    def __init__(self, sizes, n_classes, steps):
        super().__init__()
        self.sizes, self.steps = sizes, steps
        self.layers = nn.ModuleList([LIF(a, b) for a, b in zip(sizes[:-1], sizes[1:])])
        self.readout = nn.Linear(sizes[-1], n_classes)

    def forward(self, x):
        mems = [x.new_zeros(len(x), n) for n in self.sizes[1:]]
        counts = 0
        for _ in range(self.steps):
            signal = x
            for i, layer in enumerate(self.layers):
                signal, mems[i] = layer(signal, mems[i])
            counts = counts + signal
        rate = counts / self.steps
        return self.readout(rate), rate


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--steps", type=int, default=8)
    ap.add_argument("--epochs", type=int, default=12)
    ap.add_argument("--lr", type=float, default=2e-3)
    cfg = ap.parse_args()
    torch.manual_seed(13)

    X, y = load_digits(return_X_y=True)
    a, b, ya, yb = train_test_split(X, y, test_size=0.3, random_state=13, stratify=y)
    a, b = (torch.tensor(v / 16.0, dtype=torch.float32) for v in (a, b))
    ya, yb = torch.tensor(ya), torch.tensor(yb)

    net = SpikingNet([64, 64, 32], 10, cfg.steps)
    optimizer = torch.optim.Adam(net.parameters(), lr=cfg.lr)
    loss_fn = nn.CrossEntropyLoss()
    for epoch in range(cfg.epochs):
        net.train()
        for idx in torch.randperm(len(a)).split(64):
            out, _ = net(a[idx])
            loss = loss_fn(out, ya[idx])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            out, rate = net(b)
        print(f"epoch {epoch} loss {loss.item():.3f} test acc {(out.argmax(1) == yb).float().mean():.3f} "
              f"mean firing rate {rate.mean():.3f}")


if __name__ == "__main__":
    main()
