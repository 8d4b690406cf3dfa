import math
import torch
import torch.nn as nn
import torch.nn.functional as F


class CausalConv(nn.Conv1d):
    def __init__(self, cin, cout, k, dilation):
        super().__init__(cin, cout, k, dilation=dilation)
        self.left = (k - 1) * dilation

    def forward(self, x):
        return super().forward(F.pad(x, (self.left, 0)))


class TemporalBlock(nn.Module):
    def __init__(self, cin, cout, dilation, p=0.05):
        super().__init__()
        self.c1, self.c2 = CausalConv(cin, cout, 3, dilation), CausalConv(cout, cout, 3, dilation)
        self.drop = nn.Dropout(p)
        self.res = nn.Conv1d(cin, cout, 1) if cin != cout else None

    def forward(self, x):
        y = self.drop(F.relu(self.c1(x)))
        y = self.drop(F.relu(self.c2(y)))
        return F.relu(y + (x if self.res is None else self.res(x)))


class TCN(nn.Module):
    def __init__(self, channels=(16, 16, 16)):
        super().__init__()
        blocks, c = [], 1
        for i, o in enumerate(channels):
            blocks.append(TemporalBlock(c, o, 2 ** i))
            c = o
        self.tcn = nn.Sequential(*blocks)
        self.readout = nn.Conv1d(c, 1, 1)

    def forward(self, x):
        return self.readout(self.tcn(x))


def generate(n, length, g):
    """noisy mixture of two sines; the model sees the noisy past and predicts the clean next value"""
    t = torch.arange(length + 1).float()
    f = 0.02 + 0.06 * torch.rand(n, 2, 1, generator=g)
    ph = 2 * math.pi * torch.rand(n, 2, 1, generator=g)
    clean = torch.sin(2 * math.pi * f * t + ph).sum(1, keepdim=True)
    noisy = clean + 0.2 * torch.randn(clean.shape, generator=g)
    return noisy[..., :-1], clean[..., 1:]


if __name__ == "__main__":
    torch.manual_seed(17)
    g = torch.Generator().manual_seed(17)
    x_train, y_train = generate(600, 48, g)
    x_dev, y_dev = generate(150, 48, g)
    net = TCN()
    optimiser = torch.optim.Adam(net.parameters(), lr=4e-3)
    for epoch in range(6):
        net.train()
        for idx in torch.randperm(600, generator=g).split(20):
            loss = F.mse_loss(net(x_train[idx]), y_train[idx])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        net.eval()
        with torch.no_grad():
            dev = F.mse_loss(net(x_dev), y_dev)
        print(f"epoch {epoch} dev mse {dev:.4f} | repeat last value {F.mse_loss(x_dev, y_dev):.4f}")
