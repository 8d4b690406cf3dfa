"""Character-level GRU on the first part of Tiny Shakespeare."""
import argparse
import os
from pathlib import Path

import torch
from torch import nn
import torch.nn.functional as F


class CharGRU(nn.Module):
    def __init__(self, n_chars, emb=24, hidden=64):
        super().__init__()
        self.emb = nn.Embedding(n_chars, emb)
        self.rnn = nn.GRU(emb, hidden, batch_first=True)
        self.out = nn.Linear(hidden, n_chars)

    def forward(self, idx):
        h, _ = self.rnn(self.emb(idx))
        return self.out(h)


def get_batch(stream, batch_size, block):
    starts = torch.randint(0, len(stream) - block - 1, (batch_size,))
    x = torch.stack([stream[s:s + block] for s in starts])
    y = torch.stack([stream[s + 1:s + block + 1] for s in starts])
    return x, y


@torch.no_grad()
def evaluate(net, stream, block):
    net.eval()
    usable = (len(stream) - 1) // block * block
    x = stream[:usable].view(-1, block)
    y = stream[1:usable + 1].view(-1, block)
    logits = net(x)
    net.train()
    return F.cross_entropy(logits.flatten(0, 1), y.flatten()).item()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--steps", type=int, default=120)
    p.add_argument("--batch-size", type=int, default=64)
    p.add_argument("--block", type=int, default=32)
    p.add_argument("--base-lr", type=float, default=8e-3, help="learning rate for a batch of 64")
    p.add_argument("--seed", type=int, default=1)
    args = p.parse_args()

    torch.manual_seed(args.seed)
    text = (Path(os.environ["NETWRIGHT_DATA"]) / "tinyshakespeare" / "input.txt").read_text()[:104_000]
    chars = sorted(set(text))
    stoi = {c: i for i, c in enumerate(chars)}
    data = torch.tensor([stoi[c] for c in text])
    train, valid = data[:100_000], data[100_000:]

    net = CharGRU(len(chars))
    lr = args.base_lr * args.batch_size  # <-- here
    opt = torch.optim.Adam(net.parameters(), lr=lr)  # <-- here

    for step in range(1, args.steps + 1):
        xb, yb = get_batch(train, args.batch_size, args.block)
        logits = net(xb)
        loss = F.cross_entropy(logits.flatten(0, 1), yb.flatten())
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
        if step % 40 == 0:
            print(f"{step:5d}  train {loss.item():.3f}  valid {evaluate(net, valid, args.block):.3f}")


if __name__ == "__main__":
    main()
