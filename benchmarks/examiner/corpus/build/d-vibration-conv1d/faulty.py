import math

import torch
import torch.nn as nn


def signals(n, generator):
    """Three kinds of machine vibration: sine, square and chirp, with noise."""
    kind = torch.randint(0, 3, (n,), generator=generator)
    t = torch.linspace(0, 1, 64)
    freq = 3 + 3 * torch.rand(n, 1, generator=generator)
    phase = 2 * math.pi * torch.rand(n, 1, generator=generator)
    sine = torch.sin(2 * math.pi * freq * t + phase)
    square = sine.sign()
    chirp = torch.sin(2 * math.pi * freq * t * (0.5 + 2 * t) + phase)
    wave = torch.where((kind == 0)[:, None], sine, torch.where((kind == 1)[:, None], square, chirp))
    wave = wave + 0.3 * torch.randn(n, 64, generator=generator)
    return wave.unsqueeze(1), kind


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv1d(1, 12, 7, padding=3)
        self.conv2 = nn.Conv1d(12, 24, 5, padding=2)
        self.pool = nn.MaxPool1d(4)
        self.fc = nn.Linear(24 * 4, 3)
        self.act = nn.ReLU()

    def forward(self, x):
        x = self.pool(self.act(self.conv1(x)))
        x = self.pool(self.act(self.conv2(x)))
        return self.fc(x.flatten(1))


def make_optimizer(name, params, lr):
    if name == "sgd":
        return torch.optim.SGD(params, lr=lr, weight_decay=0.9)  # <-- here
    if name == "adam":
        return torch.optim.Adam(params, lr=lr)
    raise ValueError(name)


def train(net, x, y, opt, batch=40):
    net.train()
    lossf = nn.CrossEntropyLoss()
    losses = []
    for idx in torch.randperm(len(x)).split(batch):
        opt.zero_grad()
        loss = lossf(net(x[idx]), y[idx])
        loss.backward()
        opt.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def test(net, x, y):
    net.eval()
    with torch.no_grad():
        return net(x).argmax(1).eq(y).float().mean().item()


if __name__ == "__main__":
    torch.manual_seed(10)
    g = torch.Generator().manual_seed(10)
    x_tr, y_tr = signals(1600, g)
    x_te, y_te = signals(400, g)
    net = ConvNet()
    opt = make_optimizer("sgd", net.parameters(), lr=0.03)
    for epoch in range(6):
        loss = train(net, x_tr, y_tr, opt)
        print("epoch", epoch, "loss %.4f" % loss, "test acc %.3f" % test(net, x_te, y_te))
