import math
import os
import torch
import torch.nn as nn


def repackage(h):
    return tuple(s.detach() for s in h)


class CharLM(nn.Module):
    def __init__(self, n_chars, emb=24, hidden=96):
        super().__init__()
        self.emb = nn.Embedding(n_chars, emb)
        self.rnn = nn.LSTM(emb, hidden)
        self.drop = nn.Dropout(0.1)
        self.dec = nn.Linear(hidden, n_chars)
        self.hidden = hidden

    def init_state(self, bsz):
        w = self.dec.weight
        return w.new_zeros(1, bsz, self.hidden), w.new_zeros(1, bsz, self.hidden)

    def forward(self, ids, state):
        out, state = self.rnn(self.emb(ids), state)
        return self.dec(self.drop(out)), state


def batchify(ids, bsz):
    n = len(ids) // bsz
    return ids[:n * bsz].view(bsz, n).t().contiguous()


def spans(source, bptt):
    for i in range(0, len(source) - 1, bptt):
        n = min(bptt, len(source) - 1 - i)
        yield source[i:i + n], source[i + 1:i + 1 + n]


def evaluate(model, source, bptt, criterion):
    model.eval()
    state, nats, n = model.init_state(source.size(1)), 0.0, 0
    with torch.no_grad():
        for x, y in spans(source, bptt):
            out, state = model(x, state)
            nats += criterion(out.flatten(0, 1), y.flatten()).item() * y.numel()
            n += y.numel()
    return nats / n


def main(bptt=32, bsz=24, epochs=2):
    torch.manual_seed(1111)
    path = os.path.join(os.environ.get("NETWRIGHT_DATA", "data"), "tinyshakespeare", "input.txt")
    with open(path) as fh:
        text = fh.read(75_000)
    chars = sorted(set(text))
    table = {c: i for i, c in enumerate(chars)}
    ids = torch.tensor([table[c] for c in text])
    train, valid = batchify(ids[:67_000], bsz), batchify(ids[67_000:], 8)
    model = CharLM(len(chars))
    criterion = nn.CrossEntropyLoss()
    per_epoch = math.ceil((len(train) - 1) / bptt)
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=1e-2, total_steps=epochs * per_epoch)
    for epoch in range(epochs):
        model.train()
        state = model.init_state(bsz)
        total = n = 0
        for x, y in spans(train, bptt):
            state = repackage(state)
            opt.zero_grad()
            out, state = model(x, state)
            loss = criterion(out.flatten(0, 1), y.flatten())
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            sched.step()
            total += loss.item() * y.numel()
            n += y.numel()
        v = evaluate(model, valid, bptt, criterion)
        print(f"epoch {epoch + 1}: train {total / n:.3f} nats, valid {v:.3f} nats, ppl {math.exp(v):.2f}")


main()
