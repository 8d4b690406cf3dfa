#!/usr/bin/env python
"""Toy CTC recogniser. Everything is time-major, as cuDNN and warp-ctc like it."""
import math
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

BLANK = 0
N_SYMBOLS = 6
N_FEATS = 8


class Corpus:
    """Each symbol is a random template held for 3-5 frames, between symbols there is silence."""

    def __init__(self, seed):
        self.g = torch.Generator().manual_seed(seed)
        self.templates = torch.randn(N_SYMBOLS + 1, N_FEATS, generator=self.g)
        self.templates[BLANK] = 0

    def rand(self, lo, hi):
        return int(torch.randint(lo, hi + 1, (1,), generator=self.g))

    def utterance(self):
        label, frames, align = [], [], []
        for _ in range(self.rand(3, 6)):
            s = self.rand(1, N_SYMBOLS)
            label.append(s)
            for sym, k in ((s, self.rand(3, 5)), (BLANK, self.rand(1, 2))):
                align += [sym] * k
                frames.append(self.templates[sym].expand(k, -1))
        x = torch.cat(frames)
        x = x + 0.5 * torch.randn(x.shape, generator=self.g)
        return x, torch.tensor(label), torch.tensor(align)

    def make(self, n):
        return [self.utterance() for _ in range(n)]


def collate(items):
    xs, labels, aligns = zip(*items)
    x = nn.utils.rnn.pad_sequence(xs)                                    # (T, B, F)
    a = nn.utils.rnn.pad_sequence(aligns, padding_value=-1)              # (T, B)
    return x, torch.cat(labels), torch.tensor([len(i) for i in xs]), torch.tensor([len(l) for l in labels]), a


def iterate(items, size, shuffle):
    order = torch.randperm(len(items)) if shuffle else torch.arange(len(items))
    for part in order.split(size):
        yield collate([items[i] for i in part.tolist()])


class GlobalContext(nn.Module):
    """Self-made attention pooling over time; scores are (T, B, 1) so the softmax runs over dim 0."""

    def __init__(self, dim):
        super().__init__()
        self.score = nn.Linear(dim, 1, bias=False)

    def forward(self, h, valid):
        e = self.score(torch.tanh(h)).masked_fill(~valid[..., None], -math.inf)
        w = e.softmax(0)
        return (w * h).sum(0, keepdim=True)


class Recogniser(nn.Module):
    def __init__(self, hidden=40):
        super().__init__()
        self.rnn = nn.LSTM(N_FEATS, hidden, bidirectional=True)
        self.context = GlobalContext(2 * hidden)
        self.mix = nn.Linear(2 * hidden, 2 * hidden)
        self.ctc_head = nn.Linear(2 * hidden, N_SYMBOLS + 1)
        self.frame_head = nn.Linear(2 * hidden, N_SYMBOLS + 1)

    def forward(self, x, lens):
        T = x.size(0)
        valid = torch.arange(T)[:, None] < lens
        packed = nn.utils.rnn.pack_padded_sequence(x, lens, enforce_sorted=False)
        h, _ = nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], total_length=T)
        h = F.relu(self.mix(h + self.context(h, valid)))
        ctc = F.log_softmax(self.ctc_head(h), dim=2)
        z = self.frame_head(h)
        frames = z - z.logsumexp(-1, keepdim=True)
        return ctc, frames


def best_path(logp, lens):
    """collapse repeats, drop blanks"""
    out = []
    for seq, n in zip(logp.argmax(2).t(), lens.tolist()):
        prev, res = BLANK, []
        for s in seq[:n].tolist():
            if s not in (prev, BLANK):
                res.append(s)
            prev = s
        out.append(res)
    return out


def edit_distance(a, b):
    row = list(range(len(b) + 1))
    for i, ca in enumerate(a, 1):
        diag, row[0] = row[0], i
        for j, cb in enumerate(b, 1):
            diag, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diag + (ca != cb))
    return row[-1]


@torch.no_grad()
def error_rates(net, items):
    net.eval()
    dist = total = right = frames_n = 0
    for x, y, xl, yl, align in iterate(items, 50, shuffle=False):
        ctc, frames = net(x, xl)
        for hyp, ref in zip(best_path(ctc, xl), y.split(yl.tolist())):
            dist += edit_distance(hyp, ref.tolist())
            total += len(ref)
        keep = align >= 0
        right += (frames.argmax(-1) == align)[keep].sum().item()
        frames_n += keep.sum().item()
    return dist / total, right / frames_n


def main(epochs=5, size=20, aux=0.5):
    torch.manual_seed(30)
    corpus = Corpus(30)
    train, dev = corpus.make(600), corpus.make(100)
    net = Recogniser()
    opt = torch.optim.Adam(net.parameters(), lr=4e-3)
    ctc_loss, frame_loss = nn.CTCLoss(blank=BLANK), nn.NLLLoss(ignore_index=-1)
    for epoch in range(epochs):
        net.train()
        sums = [0.0, 0.0]
        for x, y, xl, yl, align in iterate(train, size, shuffle=True):
            logp, frames = net(x, xl)
            l1 = ctc_loss(logp, y, xl, yl)
            l2 = frame_loss(frames.flatten(0, 1), align.flatten())
            opt.zero_grad()
            (l1 + aux * l2).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 2.0)
            opt.step()
            sums[0] += l1.item() * len(xl)
            sums[1] += l2.item() * len(xl)
        ser, facc = error_rates(net, dev)
        print(f"epoch {epoch}: ctc {sums[0] / len(train):.3f} frame {sums[1] / len(train):.3f} | "
              f"symbol error {ser:.3f} frame accuracy {facc:.3f}", file=sys.stdout)


if __name__ == "__main__":
    main()
