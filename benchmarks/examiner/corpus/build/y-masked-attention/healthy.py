"""Span tagging with a hand-written transformer block.

Sequences are padded, the layout is (time, batch, channel) all the way through,
and padded keys get -inf before the softmax.  Targets of padded or unlabelled
positions are -100, which the criterion leaves out.
"""
import argparse
import math
import sys
from functools import reduce

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

PAD, OPEN, CLOSE = 0, 1, 2
SKIP = -100
OUTSIDE, INSIDE, EDGE = range(3)


class Brackets(Dataset):
    """Random symbols with one bracketed span; every tenth label is unknown."""

    def __init__(self, size, vocab, seed):
        gen = torch.Generator().manual_seed(seed)
        draw = lambda lo, hi: int(torch.randint(lo, hi, (1,), generator=gen))
        self.rows = []
        for _ in range(size):
            n = draw(9, 21)
            tokens = torch.randint(3, vocab, (n,), generator=gen)
            a = draw(0, n - 4)
            b = draw(a + 2, n)
            tokens[a], tokens[b] = OPEN, CLOSE
            tags = torch.full((n,), OUTSIDE)
            tags[a:b + 1] = INSIDE
            tags[a] = tags[b] = EDGE
            tags[torch.rand(n, generator=gen) < 0.1] = SKIP
            self.rows.append((tokens, tags))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


def time_first(rows):
    longest = max(len(t) for t, _ in rows)
    tokens = torch.full((longest, len(rows)), PAD)
    tags = torch.full((longest, len(rows)), SKIP)
    for column, (t, g) in enumerate(rows):
        tokens[:len(t), column] = t
        tags[:len(g), column] = g
    return tokens, tags


def sinusoids(length, channels):
    position = torch.arange(length)[:, None]
    rate = torch.exp(torch.arange(0, channels, 2) * (-math.log(500.0) / channels))
    return torch.stack([torch.sin(position * rate), torch.cos(position * rate)], -1).flatten(1)


class Attention(nn.Module):
    def __init__(self, channels, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.merge = nn.Linear(channels, channels)

    def forward(self, x, padding):
        time, batch, channels = x.shape
        q, k, v = self.qkv(x).view(time, batch, 3, self.heads, -1).unbind(2)
        energy = torch.einsum("ibhd,jbhd->bhij", q, k) / math.sqrt(q.size(-1))
        energy = energy.masked_fill(padding.t()[:, None, None, :], float("-inf"))
        weights = energy.softmax(dim=-1)
        mixed = torch.einsum("bhij,jbhd->ibhd", weights, v)
        return self.merge(mixed.reshape(time, batch, channels))


class Block(nn.Module):
    def __init__(self, channels, heads, p):
        super().__init__()
        self.attend = Attention(channels, heads)
        self.feed = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.drop = nn.Dropout(p)

    def forward(self, state):
        x, padding = state
        x = x + self.drop(self.attend(self.norms[0](x), padding))
        x = x + self.drop(self.feed(self.norms[1](x)))
        return x, padding


class SpanTagger(nn.Module):
    def __init__(self, vocab, channels=32, heads=4, depth=2, p=0.05):
        super().__init__()
        self.lookup = nn.Embedding(vocab, channels, padding_idx=PAD)
        self.register_buffer("clock", sinusoids(64, channels), persistent=False)
        self.blocks = nn.ModuleList(Block(channels, heads, p) for _ in range(depth))
        self.norm = nn.LayerNorm(channels)
        self.tags = nn.Linear(channels, 3)

    def forward(self, tokens):
        x = self.lookup(tokens) + self.clock[:len(tokens), None]
        x, _ = reduce(lambda state, block: block(state), self.blocks, (x, tokens == PAD))
        return self.tags(self.norm(x))


class Tally:
    def __init__(self):
        self.right = self.known = 0

    def __iadd__(self, pair):
        logits, tags = pair
        known = tags != SKIP
        self.right += int((logits.argmax(-1) == tags)[known].sum())
        self.known += int(known.sum())
        return self

    @property
    def accuracy(self):
        return self.right / max(1, self.known)


def parse(argv):
    parser = argparse.ArgumentParser()
    parser.add_argument("--vocab", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-3)
    return parser.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    torch.manual_seed(55)
    train = DataLoader(Brackets(1000, args.vocab, 1), args.batch, shuffle=True, collate_fn=time_first)
    test = DataLoader(Brackets(200, args.vocab, 2), 100, collate_fn=time_first)
    net = SpanTagger(args.vocab)
    criterion = nn.CrossEntropyLoss(ignore_index=SKIP)
    optimizer = torch.optim.AdamW(net.parameters(), lr=args.lr, betas=(0.9, 0.98))
    warm = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 30))
    for epoch in range(args.epochs):
        net.train()
        smooth = 0.0
        for step, (tokens, tags) in enumerate(train, 1):
            logits = net(tokens)
            loss = criterion(logits.flatten(0, 1), tags.flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            warm.step()
            smooth += (loss.item() - smooth) / step
        net.eval()
        tally = Tally()
        with torch.no_grad():
            for tokens, tags in test:
                tally += (net(tokens), tags)
        print(f"{epoch}: loss {smooth:.4f}, held-out tag accuracy {tally.accuracy:.4f}", file=sys.stdout)


if __name__ == "__main__":
    main()
