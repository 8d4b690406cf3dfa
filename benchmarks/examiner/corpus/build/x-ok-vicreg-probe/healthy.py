"""VICReg on synthetic sensor windows + linear probe on frozen features."""
import copy
import math
import operator
from functools import reduce

import torch
import torch.nn.functional as F
from torch import nn


def factory(*dims, norm=True):
    """Linear(-BatchNorm)-ReLU tower, last one bare"""
    mods = []
    for i, (a, b) in enumerate(zip(dims, dims[1:])):
        last = i == len(dims) - 2
        mods.append(nn.Linear(a, b, bias=last or not norm))
        if not last:
            mods += ([nn.BatchNorm1d(b)] if norm else []) + [nn.ReLU()]
    return nn.Sequential(*mods)


class Windows:
    """Sums of two sinusoids; class = which pair of frequencies; nuisance = phase, gain, noise."""

    length = 48
    freqs = [(2, 5), (2, 7), (3, 5), (3, 8), (4, 7), (4, 9)]

    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.y = torch.randint(len(self.freqs), (n,), generator=g)
        t = torch.linspace(0, 2 * math.pi, self.length)
        f = torch.tensor(self.freqs, dtype=torch.float32)[self.y]
        ph = 2 * math.pi * torch.rand(n, 2, generator=g)
        wave = torch.sin(f[:, :, None] * t + ph[:, :, None]).sum(1)
        self.x = wave + 0.9 * torch.randn(n, self.length, generator=g)

    def __len__(self):
        return len(self.y)


def augment(x):
    """random circular shift, gain and jitter"""
    n, L = x.shape
    shift = torch.randint(L, (n, 1))
    idx = (torch.arange(L) + shift) % L
    return x.gather(1, idx) * (0.8 + 0.4 * torch.rand(n, 1)) + 0.2 * torch.randn_like(x)


class Siamese(nn.Module):
    def __init__(self, feat=48, proj=48):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Unflatten(1, (1, Windows.length)),
            nn.Conv1d(1, 16, 7, padding=3, padding_mode="circular", bias=False), nn.BatchNorm1d(16), nn.ReLU(),
            nn.Conv1d(16, feat, 7, stride=2, padding=3, padding_mode="circular", bias=False), nn.BatchNorm1d(feat), nn.ReLU(),
            nn.AdaptiveMaxPool1d(1), nn.Flatten())
        self.projector = factory(feat, proj, proj)

    def forward(self, a, b):
        return self.projector(self.backbone(a)), self.projector(self.backbone(b))


def off_diagonal(m):
    n = m.size(0)
    return m.flatten()[:-1].view(n - 1, n + 1)[:, 1:].flatten()


def vicreg(za, zb):
    sim = F.mse_loss(za, zb)
    terms = {"sim": 5.0 * sim}
    for tag, z in (("a", za), ("b", zb)):
        z = z - z.mean(0)
        std = (z.var(0) + 1e-4).sqrt()
        cov = z.t() @ z / (len(z) - 1)
        terms["var_" + tag] = 10.0 * F.relu(1 - std).mean()
        terms["cov_" + tag] = off_diagonal(cov).pow(2).sum() / z.size(1)
    return reduce(operator.add, terms.values()), {k: v.item() for k, v in terms.items()}


def pretrain(net, data, epochs, size=64):
    opt = torch.optim.AdamW(net.parameters(), lr=4e-3, weight_decay=1e-4)
    net.train()
    for epoch in range(epochs):
        tot, n = 0.0, 0
        for ids in torch.randperm(len(data)).split(size):
            if len(ids) < size // 2:
                continue
            v = data.x[ids]
            loss, parts = vicreg(*net(augment(v), augment(v)))
            opt.zero_grad(set_to_none=True)
            loss.backward()
            opt.step()
            tot, n = tot + loss.item() * len(ids), n + len(ids)
        print(f"pretrain {epoch}: {tot / n:.4f}", {k: round(v, 3) for k, v in parts.items()})


@torch.no_grad()
def embed(backbone, x):
    backbone.eval()
    return torch.cat([backbone(c) for c in x.split(256)])


def probe(feats, labels, tf, tl, epochs=25):
    mu, sd = feats.mean(0), feats.std(0) + 1e-6
    feats, tf = (feats - mu) / sd, (tf - mu) / sd
    clf = nn.Linear(feats.size(1), len(Windows.freqs))
    opt = torch.optim.Adam(clf.parameters(), lr=3e-3)
    for epoch in range(epochs):
        for ids in torch.randperm(len(feats)).split(100):
            loss = F.cross_entropy(clf(feats[ids]), labels[ids])
            opt.zero_grad()
            loss.backward()
            opt.step()
    with torch.no_grad():
        return loss.item(), (clf(tf).argmax(1) == tl).float().mean().item()


def main():
    torch.manual_seed(55)
    unlabelled, labelled, test = Windows(2000, 1), Windows(600, 2), Windows(600, 3)
    net = Siamese()
    untrained = copy.deepcopy(net.backbone)
    pretrain(net, unlabelled, epochs=6)
    for name, bb in (("random features", untrained), ("vicreg features", net.backbone)):
        loss, acc = probe(embed(bb, labelled.x), labelled.y, embed(bb, test.x), test.y)
        print(f"{name}: probe loss {loss:.4f} test accuracy {acc:.3f}")


if __name__ == "__main__":
    main()
