#!/usr/bin/env python
"""word_language_model, character edition."""
import argparse
import math
import os
import sys

import torch
import torch.nn as nn
import torch.optim as optim


class Corpus:
    def __init__(self, path, limit):
        with open(path, encoding="utf-8") as handle:
            text = handle.read(limit)
        self.itos = sorted(set(text))
        stoi = {ch: k for k, ch in enumerate(self.itos)}
        ids = torch.tensor([stoi[ch] for ch in text])
        a, b = int(0.86 * len(ids)), int(0.93 * len(ids))
        self.train, self.valid, self.test = ids[:a], ids[a:b], ids[b:]


def batchify(ids, streams):
    """Cuts the text into `streams` columns that are read in parallel from top to bottom."""
    rows = len(ids) // streams
    return ids[:rows * streams].view(streams, rows).t().contiguous()


def chunks(source, bptt):
    for i in range(0, len(source) - 1, bptt):
        n = min(bptt, len(source) - 1 - i)
        yield source[i:i + n], source[i + 1:i + 1 + n]


class LockedDropout(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        if not self.training:
            return x
        mask = x.new_empty(1, x.size(1), x.size(2)).bernoulli_(1 - self.p) / (1 - self.p)
        return x * mask


class RNNModel(nn.Module):
    def __init__(self, ntoken, nhid, dropout):
        super().__init__()
        self.encoder = nn.Embedding(ntoken, nhid)
        self.drop = LockedDropout(dropout)
        self.rnn = nn.LSTM(nhid, nhid)
        self.decoder = nn.Linear(nhid, ntoken)
        bound = 1 / math.sqrt(nhid)
        nn.init.uniform_(self.encoder.weight, -bound, bound)
        self.decoder.weight = self.encoder.weight
        nn.init.zeros_(self.decoder.bias)
        self.nhid = nhid

    def init_hidden(self, streams):
        zeros = self.encoder.weight.new_zeros(1, streams, self.nhid)
        return zeros, zeros.clone()

    def forward(self, x, hidden):
        emb = self.drop(self.encoder(x))
        out, hidden = self.rnn(emb, hidden)
        return self.decoder(self.drop(out)), hidden


def repackage_hidden(h):
    """Wraps hidden states in new tensors, to detach them from their history."""
    if isinstance(h, torch.Tensor):
        return h.detach()
    return tuple(repackage_hidden(v) for v in h)


def evaluate(model, source, bptt, criterion):
    model.eval()
    hidden = model.init_hidden(source.size(1))
    total = tokens = 0
    with torch.no_grad():
        for data, targets in chunks(source, bptt):
            output, hidden = model(data, hidden)
            total += criterion(output.flatten(0, 1), targets.flatten()).item() * targets.numel()
            tokens += targets.numel()
    return total / tokens


def train(model, source, args, criterion, optimizer, scheduler):
    model.train()
    hidden = model.init_hidden(source.size(1))
    running = tokens = 0
    for data, targets in chunks(source, args.bptt):
        hidden = repackage_hidden(hidden)
        optimizer.zero_grad()
        output, hidden = model(data, hidden)
        loss = criterion(output.flatten(0, 1), targets.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), args.clip)
        optimizer.step()
        scheduler.step()
        running += loss.item() * targets.numel()
        tokens += targets.numel()
    return running / tokens


def get_args(argv=None):
    p = argparse.ArgumentParser()
    p.add_argument("--data", default=os.path.join(os.environ["NETWRIGHT_DATA"], "tinyshakespeare", "input.txt"))
    p.add_argument("--limit", type=int, default=70000)
    p.add_argument("--nhid", type=int, default=80)
    p.add_argument("--dropout", type=float, default=0.05)
    p.add_argument("--streams", type=int, default=24)
    p.add_argument("--bptt", type=int, default=32)
    p.add_argument("--epochs", type=int, default=3)
    p.add_argument("--lr", type=float, default=8e-3)
    p.add_argument("--clip", type=float, default=1.0)
    p.add_argument("--seed", type=int, default=1111)
    return p.parse_args(argv)


def main(args):
    torch.manual_seed(args.seed)
    corpus = Corpus(args.data, args.limit)
    train_data = batchify(corpus.train, args.streams)
    val_data, test_data = batchify(corpus.valid, 8), batchify(corpus.test, 8)
    model = RNNModel(len(corpus.itos), args.nhid, args.dropout)
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.AdamW(model.parameters(), lr=args.lr, weight_decay=1e-4)
    per_epoch = math.ceil((len(train_data) - 1) / args.bptt)
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=args.epochs * per_epoch, pct_start=0.2)
    best = None
    for epoch in range(1, args.epochs + 1):
        tr = train(model, train_data, args, criterion, optimizer, scheduler)
        va = evaluate(model, val_data, args.bptt, criterion)
        print("-" * 70)
        print(f"| end of epoch {epoch} | train {tr:.3f} | valid {va:.3f} | valid ppl {math.exp(va):6.2f}")
        if best is None or va < best[0]:
            best = va, {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(best[1])
    print(f"| test ppl {math.exp(evaluate(model, test_data, args.bptt, criterion)):.2f} of {len(corpus.itos)}")


if __name__ == "__main__":
    sys.exit(main(get_args()))
