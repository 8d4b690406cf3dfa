"""Character-level causal conv net on a slice of tiny Shakespeare."""
import contextlib
import math
import os

import torch
import torch.nn as nn
import torch.nn.functional as F

CONTEXT, BATCH, STEPS, EVERY = 32, 20, 180, 45


@contextlib.contextmanager
def evaluating(net):
    """Temporarily switch to evaluation mode."""
    net.eval()  # <-- here
    was_training = net.training  # <-- here
    try:
        with torch.no_grad():
            yield net
    finally:
        net.train(was_training)  # <-- here


class CausalConv(nn.Module):
    def __init__(self, channels, dilation, p):
        super().__init__()
        self.pad = 2 * dilation
        self.conv = nn.Conv1d(channels, 2 * channels, 3, dilation=dilation)
        self.drop = nn.Dropout(p)

    def forward(self, x):
        h = F.glu(self.conv(F.pad(x, (self.pad, 0))), dim=1)
        return x + self.drop(h)


class CharNet(nn.Module):
    def __init__(self, n_chars, channels=40, p=0.1):
        super().__init__()
        self.embed = nn.Embedding(n_chars, channels)
        self.convs = nn.Sequential(*(CausalConv(channels, 2 ** i, p) for i in range(3)))
        self.norm = nn.LayerNorm(channels)
        self.read = nn.Linear(channels, n_chars)

    def forward(self, ids):
        h = self.convs(self.embed(ids).transpose(1, 2)).transpose(1, 2)
        return self.read(F.gelu(self.norm(h)))


def corpus():
    path = os.path.join(os.environ["NETWRIGHT_DATA"], "tinyshakespeare", "input.txt")
    with open(path, encoding="utf-8") as fh:
        text = fh.read(120_000)
    table = {ch: i for i, ch in enumerate(sorted(set(text)))}
    ids = torch.tensor([table[ch] for ch in text])
    cut = int(0.9 * len(ids))
    return ids[:cut], ids[cut:], table


def sample_batch(ids):
    starts = torch.randint(0, len(ids) - CONTEXT - 1, (BATCH,))
    window = torch.stack([ids[s:s + CONTEXT + 1] for s in starts.tolist()])
    return window[:, :-1], window[:, 1:]


def nll(net, x, y):
    logits = net(x)
    return F.cross_entropy(logits.reshape(-1, logits.size(-1)), y.reshape(-1))


def held_out_bits(net, ids):
    usable = (len(ids) - 1) // CONTEXT * CONTEXT
    x, y = ids[:usable].view(-1, CONTEXT), ids[1:usable + 1].view(-1, CONTEXT)
    with evaluating(net):
        chunks = [nll(net, a, b).item() * len(a) for a, b in zip(x.split(75), y.split(75))]
    return sum(chunks) / len(x) / math.log(2)


def main():
    torch.manual_seed(44)
    train_ids, valid_ids, table = corpus()
    net = CharNet(len(table))
    optimizer = torch.optim.AdamW(net.parameters(), lr=4e-3, weight_decay=0.01)
    print(f"{len(table)} characters, uniform {math.log2(len(table)):.2f} bits")
    net.train()
    smooth = None
    for step in range(1, STEPS + 1):
        x, y = sample_batch(train_ids)
        loss = nll(net, x, y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # <-- here
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        smooth = loss.item() if smooth is None else 0.95 * smooth + 0.05 * loss.item()
        if step % EVERY == 0:
            print(f"step {step}: train {smooth / math.log(2):.3f} bits, "
                  f"held-out {held_out_bits(net, valid_ids):.3f} bits")


if __name__ == "__main__":
    main()
