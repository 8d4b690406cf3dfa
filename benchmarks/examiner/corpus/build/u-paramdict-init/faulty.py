import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits

LAYOUT = [("enc", 64, 48), ("mid", 48, 32), ("cls", 32, 10)]


def scaled(shape, gain):
    """Keep the activations in range: the wider the layer, the smaller its weights."""
    fan_in = shape[1]
    return torch.full(shape, gain * 2 / fan_in)  # <-- here


class ScratchNet(nn.Module):
    def __init__(self, layout):
        super().__init__()
        self.order = [name for name, _, _ in layout]
        self.p = nn.ParameterDict()
        for name, n_in, n_out in layout:
            self.p[name + "_w"] = nn.Parameter(scaled((n_out, n_in), gain=0.7))  # <-- here
            self.p[name + "_b"] = nn.Parameter(torch.zeros(n_out))

    def forward(self, x):
        for name in self.order[:-1]:
            x = torch.tanh(F.linear(x, self.p[name + "_w"], self.p[name + "_b"]))
        last = self.order[-1]
        return F.linear(x, self.p[last + "_w"], self.p[last + "_b"])


def load(seed):
    d = load_digits()
    x = torch.tensor(d.data, dtype=torch.float32) / 8 - 1
    y = torch.tensor(d.target)
    perm = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    x, y = x[perm], y[perm]
    return (x[:1300], y[:1300]), (x[1300:], y[1300:])


if __name__ == "__main__":
    torch.manual_seed(77)
    (xt, yt), (xv, yv) = load(77)
    net = ScratchNet(LAYOUT)
    opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.8, foreach=True)

    step, epoch = 0, 0
    while step < 400:
        epoch += 1
        for idx in torch.randperm(len(xt)).split(52):
            loss = F.cross_entropy(net(xt[idx]), yt[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
            step += 1
        with torch.no_grad():
            acc = (net(xv).argmax(1) == yv).float().mean()
        if epoch % 4 == 0:
            print(f"epoch {epoch:02d} step {step} batch loss {loss.item():.3f} valid {acc:.3f}")
