"""Character-level LSTM on a piece of Shakespeare."""
import argparse
import math
import os
import pathlib

import torch
import torch.nn as nn


def load_text(n_chars):
    path = pathlib.Path(os.environ["NETWRIGHT_DATA"]) / "tinyshakespeare" / "input.txt"
    return path.read_text(encoding="utf-8")[:n_chars]


class CharLSTM(nn.Module):
    def __init__(self, vocab, emb=32, hidden=96):
        super().__init__()
        self.encoder = nn.Embedding(vocab, emb)
        self.rnn = nn.LSTM(emb, hidden, batch_first=True)
        self.decoder = nn.Linear(hidden, vocab)

    def forward(self, ids):
        out, _ = self.rnn(self.encoder(ids))
        return self.decoder(out)


def random_windows(ids, batch, length):
    starts = torch.randint(0, len(ids) - length - 1, (batch,))
    chunk = torch.stack([ids[s:s + length + 1] for s in starts])
    return chunk[:, :-1], chunk[:, 1:]


def evaluate(model, ids, length, criterion):
    model.eval()
    usable = (len(ids) - 1) // length * length
    x = ids[:usable].view(-1, length)
    y = ids[1:usable + 1].view(-1, length)
    with torch.no_grad():
        logits = model(x)
        return criterion(logits.flatten(0, 1), y.flatten()).item()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--chars", type=int, default=60000)
    ap.add_argument("--bptt", type=int, default=32)
    ap.add_argument("--batch", type=int, default=32)
    ap.add_argument("--lr", type=float, default=6e-3)
    ap.add_argument("--clip", type=float, default=0.5)
    ap.add_argument("--steps", type=int, default=180)
    args = ap.parse_args()

    torch.manual_seed(1234)
    text = load_text(args.chars)
    itos = sorted(set(text))
    stoi = {c: i for i, c in enumerate(itos)}
    ids = torch.tensor([stoi[c] for c in text])
    cut = int(0.9 * len(ids))
    train_ids, valid_ids = ids[:cut], ids[cut:]

    model = CharLSTM(len(itos))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    print(f"{len(itos)} symbols, uniform loss {math.log(len(itos)):.3f}")

    step = 0
    while step < args.steps:
        model.train()
        x, y = random_windows(train_ids, args.batch, args.bptt)
        logits = model(x)
        loss = criterion(logits.flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        nn.utils.clip_grad_norm_(model.parameters(), args.clip)  # <-- here
        loss.backward()
        optimizer.step()
        step += 1
        if step % 60 == 0:
            valid = evaluate(model, valid_ids, args.bptt, criterion)
            print(f"step {step:4d} | train {loss.item():.3f} | valid {valid:.3f} | ppl {math.exp(valid):.2f}")


if __name__ == "__main__":
    main()
