# Mixture of softmaxes on digits, with a prototype-attention side branch.
from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

opts = SimpleNamespace(experts=3, width=40, protos=16, epochs=12, batch=40, lr=2e-3, w_side=0.5, w_usage=0.05, seed=12)
Output = namedtuple("Output", "logp side gates")


class GatedUnit(nn.Module):
    """h * sigmoid(g): the gate never meets a loss."""

    def __init__(self, a, b):
        super().__init__()
        self.value, self.gate = nn.Linear(a, b), nn.Linear(a, b)

    def forward(self, x):
        return torch.tanh(self.value(x)) * torch.sigmoid(self.gate(x))


class PrototypeReader(nn.Module):
    """scores over prototypes are softmaxed; what leaves is a weighted sum of learned values (logits)"""

    def __init__(self, dim, n, classes):
        super().__init__()
        self.keys = nn.Parameter(torch.randn(n, dim) / dim ** 0.5)
        self.values = nn.Parameter(0.1 * torch.randn(n, classes))
        self.sharp = nn.Parameter(torch.tensor(4.0))

    def forward(self, h):
        att = torch.softmax(self.sharp * F.normalize(h, dim=-1) @ F.normalize(self.keys, dim=-1).t(), dim=-1)
        return att.matmul(self.values)


class MoS(nn.Module):
    def __init__(self, o, n_in=64, n_classes=10):
        super().__init__()
        self.trunk = GatedUnit(n_in, o.width)
        self.experts = nn.ModuleList([nn.Linear(o.width, n_classes) for _ in range(o.experts)])
        self.router = nn.Linear(o.width, o.experts)
        self.reader = PrototypeReader(o.width, o.protos, n_classes)

    def forward(self, x):
        h = self.trunk(x)
        gates = self.router(h).softmax(-1)
        probs = torch.stack([F.softmax(e(h), -1) for e in self.experts], 1)
        mixture = torch.einsum("bk,bkc->bc", gates, probs)
        return Output(torch.log(mixture.clamp_min(1e-8)), self.reader(h), gates)


def usage_penalty(gates):
    """negative entropy of the mean gate: keeps all experts in use"""
    m = gates.mean(0)
    return (m * m.clamp_min(1e-8).log()).sum()


def stream(x, y, size, rng, epochs):
    for epoch in range(epochs):
        order = rng.permutation(len(x))
        for k in range(0, len(order), size):
            take = order[k:k + size]
            yield epoch, x[take], y[take], k + size >= len(order)


def report(net, x, y):
    was = net.training
    net.eval()
    with torch.no_grad():
        out = net(x)
    net.train(was)
    return {
        "mixture": (out.logp.argmax(-1) == y).float().mean().item(),
        "side": (out.side.argmax(-1) == y).float().mean().item(),
        "nll": F.nll_loss(out.logp, y).item(),
        "usage": "/".join(f"{g:.2f}" for g in out.gates.mean(0).tolist()),
    }


def main():
    torch.manual_seed(opts.seed)
    rng = np.random.default_rng(opts.seed)
    d = load_digits()
    tr, te = train_test_split(rng.permutation(len(d.target)), test_size=400, random_state=0)
    x = torch.tensor(d.data, dtype=torch.float32) / 16 - 0.3
    y = torch.tensor(d.target)
    net = MoS(opts)
    decay = [p for n, p in net.named_parameters() if p.ndim > 1]
    plain = [p for n, p in net.named_parameters() if p.ndim <= 1]
    optim = torch.optim.AdamW([{"params": decay, "weight_decay": 1e-2}, {"params": plain, "weight_decay": 0.0}], lr=opts.lr)
    total = seen = 0
    for epoch, xb, yb, last in stream(x[tr], y[tr], opts.batch, rng, opts.epochs):
        net.train()
        out = net(xb)
        loss = F.nll_loss(out.logp, yb)
        loss = loss + opts.w_side * F.cross_entropy(out.side, yb) + opts.w_usage * usage_penalty(out.gates)
        optim.zero_grad()
        loss.backward()
        optim.step()
        total, seen = total + loss.item() * len(yb), seen + len(yb)
        if last:
            r = report(net, x[te], y[te])
            print(f"{epoch:2d} loss {total / seen:.4f} | " + " ".join(f"{k}={v if isinstance(v, str) else round(v, 4)}" for k, v in r.items()))
            total = seen = 0


if __name__ == "__main__":
    main()
