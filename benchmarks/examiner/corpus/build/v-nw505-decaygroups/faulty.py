"""Tiny transformer that tells whether a bracket string opens more often than it closes."""
import random
from dataclasses import dataclass
import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class Cfg:
    vocab: int = 4            # cls, (, ), x
    length: int = 17
    dim: int = 32
    heads: int = 4
    layers: int = 2
    lr: float = 2e-3
    wd: float = 0.05
    steps: int = 180
    batch: int = 64


def sample(n, length, rng):
    xs, ys = [], []
    for _ in range(n):
        s = [rng.choice((1, 1, 2, 2, 3)) for _ in range(length - 1)]
        ys.append(int(sum(t == 1 for t in s) > sum(t == 2 for t in s)))
        xs.append([0] + s)
    return torch.tensor(xs), torch.tensor(ys)


class Block(nn.Module):
    def __init__(self, c: Cfg):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(c.dim), nn.LayerNorm(c.dim)
        self.attn = nn.MultiheadAttention(c.dim, c.heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(c.dim, 4 * c.dim), nn.GELU(), nn.Linear(4 * c.dim, c.dim))

    def forward(self, x):
        h = self.norm1(x)
        x = x + self.attn(h, h, h, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class Tiny(nn.Module):
    def __init__(self, c: Cfg):
        super().__init__()
        self.tok = nn.Embedding(c.vocab, c.dim)
        self.pos = nn.Parameter(0.02 * torch.randn(1, c.length, c.dim))
        self.blocks = nn.Sequential(*[Block(c) for _ in range(c.layers)])
        self.norm_f = nn.LayerNorm(c.dim)
        self.out = nn.Linear(c.dim, 2)

    def forward(self, ids):
        return self.out(self.norm_f(self.blocks(self.tok(ids) + self.pos))[:, 0])

    def configure_optimizers(self, c: Cfg):
        decay, plain = [], []
        for name, p in self.named_parameters():
            if name.endswith("weight") and "norm" not in name and "tok" not in name:
                decay.append(p)
            elif name.endswith("bias") or "tok" in name:  # <-- here
                plain.append(p)
        groups = [{"params": decay, "weight_decay": c.wd}, {"params": plain, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=c.lr, betas=(0.9, 0.98))  # <-- here


def main():
    c = Cfg()
    rng = random.Random(5)
    torch.manual_seed(5)
    xv, yv = sample(500, c.length, random.Random(99))
    net = Tiny(c)
    opt = net.configure_optimizers(c)
    run = None
    for it in range(1, c.steps + 1):
        x, y = sample(c.batch, c.length, rng)
        loss = F.cross_entropy(net(x), y)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        run = loss.item() if run is None else 0.95 * run + 0.05 * loss.item()
        if it % 60 == 0:
            net.eval()
            with torch.no_grad():
                acc = (net(xv).argmax(-1) == yv).float().mean().item()
            net.train()
            print("it %d  smoothed loss %.3f  held-out acc %.3f" % (it, run, acc))


if __name__ == "__main__":
    main()
