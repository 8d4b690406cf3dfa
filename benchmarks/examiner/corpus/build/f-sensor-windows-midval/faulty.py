import argparse
import copy

import torch
from torch import nn


def make_signals(n, length, generator):
    """Three kinds of noisy periodic signals: sine, square, sawtooth."""
    t = torch.linspace(0, 1, length)
    kind = torch.randint(0, 3, (n,), generator=generator)
    freq = 2 + 4 * torch.rand(n, 1, generator=generator)
    phase = torch.rand(n, 1, generator=generator)
    cycle = (freq * t + phase) % 1.0
    sine = torch.sin(2 * torch.pi * cycle)
    square = torch.where(cycle < 0.5, 1.0, -1.0)
    saw = 2 * cycle - 1
    x = torch.stack([sine, square, saw], 1)[torch.arange(n), kind]
    x = x + 0.5 * torch.randn(n, length, generator=generator)
    return x.unsqueeze(1), kind


class Block(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.conv = nn.Conv1d(cin, cout, 5, stride=2, padding=2, bias=False)
        self.norm = nn.BatchNorm1d(cout)
        self.act = nn.ReLU()
        self.drop = nn.Dropout(0.2)

    def forward(self, x):
        return self.drop(self.act(self.norm(self.conv(x))))


class SignalNet(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.body = nn.Sequential(Block(1, width), Block(width, 2 * width), Block(2 * width, 2 * width))
        self.head = nn.Linear(2 * width, classes)

    def forward(self, x):
        return self.head(self.body(x).mean(dim=-1))


class Validator:
    """Keeps the best weights seen so far."""

    def __init__(self, net, x, y):
        self.net, self.x, self.y = net, x, y
        self.best, self.state = 0.0, None

    @torch.no_grad()
    def __call__(self):
        self.net.eval()  # <-- here
        acc = (self.net(self.x).argmax(1) == self.y).float().mean().item()
        if acc > self.best:
            self.best = acc
            self.state = copy.deepcopy(self.net.state_dict())
        return acc


def train(args):
    gen = torch.Generator().manual_seed(args.seed)
    torch.manual_seed(args.seed)
    x, y = make_signals(1600, 64, gen)
    xv, yv = make_signals(400, 64, gen)
    net = SignalNet(args.width, 3)
    opt = torch.optim.SGD(net.parameters(), lr=args.lr, momentum=0.9)
    ce = nn.CrossEntropyLoss()
    validator = Validator(net, xv, yv)
    step = 0
    for epoch in range(args.epochs):
        net.train()  # <-- here
        for idx in torch.randperm(len(x)).split(args.batch):
            opt.zero_grad()
            loss = ce(net(x[idx]), y[idx])  # <-- here
            loss.backward()
            opt.step()
            step += 1
            if step % args.every == 0:
                print(f"step {step:4d} loss {loss.item():.3f} val {validator():.3f}")
    net.load_state_dict(validator.state)
    print("best validation accuracy", validator.best)


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--epochs", type=int, default=4)
    p.add_argument("--batch", type=int, default=40)
    p.add_argument("--lr", type=float, default=0.02)
    p.add_argument("--width", type=int, default=12)
    p.add_argument("--every", type=int, default=15)
    p.add_argument("--seed", type=int, default=5)
    train(p.parse_args())
