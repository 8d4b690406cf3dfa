"""Character model on a slice of Tiny Shakespeare, streams kept in order, state carried."""
import math
import os

import torch
from torch import nn


class CharGRU(nn.Module):
    def __init__(self, n_chars, dim=32, hidden=96):
        super().__init__()
        self.emb = nn.Embedding(n_chars, dim)
        self.gru = nn.GRU(dim, hidden, batch_first=True)
        self.out = nn.Linear(hidden, n_chars)

    def forward(self, x, state=None):
        h, state = self.gru(self.emb(x), state)
        return self.out(h), state


def streams(ids, rows):
    n = len(ids) // rows
    return ids[: n * rows].view(rows, n)


def perplexity(model, data, bptt, loss_fn):
    model.eval()
    total, count, state = 0.0, 0, None
    with torch.no_grad():
        for i in range(0, data.size(1) - 1, bptt):
            n = min(bptt, data.size(1) - 1 - i)
            logits, state = model(data[:, i:i + n], state)
            target = data[:, i + 1:i + 1 + n]
            total += loss_fn(logits.flatten(0, 1), target.flatten()).item() * target.numel()
            count += target.numel()
    return math.exp(total / count)


def main():
    torch.manual_seed(5)
    with open(os.path.join(os.environ["NETWRIGHT_DATA"], "tinyshakespeare", "input.txt")) as f:
        text = f.read()[:60000]
    chars = sorted(set(text))
    lookup = {c: i for i, c in enumerate(chars)}
    ids = torch.tensor([lookup[c] for c in text])
    train, valid = streams(ids[:54000], 16), streams(ids[54000:], 4)
    bptt = 40
    model = CharGRU(len(chars))
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    for epoch in range(1, 3):
        model.train()
        hidden = None
        for i in range(0, train.size(1) - 1, bptt):
            n = min(bptt, train.size(1) - 1 - i)
            x, y = train[:, i:i + n], train[:, i + 1:i + 1 + n]
            if hidden is not None:
                hidden = hidden.detach()
            logits, hidden = model(x, hidden)
            loss = loss_fn(logits.reshape(-1, len(chars)), y.reshape(-1))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        print(f"epoch {epoch}: last loss {loss.item():.3f}  valid perplexity {perplexity(model, valid, bptt, loss_fn):.2f} of {len(chars)}")


if __name__ == "__main__":
    main()
