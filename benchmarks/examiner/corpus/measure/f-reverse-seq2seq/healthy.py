import random

import torch
from torch import nn


BOS, SYMBOLS = 10, 10


def make_pairs(n, length, rng):
    seen = set()
    while len(seen) < n:
        seen.add(tuple(rng.randrange(SYMBOLS) for _ in range(length)))
    rows = sorted(seen)
    rng.shuffle(rows)
    src = torch.tensor(rows)
    return src, src.flip(1)


class Encoder(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, dim)
        self.rnn = nn.GRU(dim, hidden, batch_first=True)

    def forward(self, src):
        _, h = self.rnn(self.embedding(src))
        return h


class Decoder(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS + 1, dim)
        self.rnn = nn.GRU(dim, hidden, batch_first=True)
        self.out = nn.Linear(hidden, SYMBOLS)

    def forward(self, token, h):
        o, h = self.rnn(self.embedding(token).unsqueeze(1), h)
        return self.out(o.squeeze(1)), h


class Seq2Seq(nn.Module):
    def __init__(self, dim=16, hidden=96):
        super().__init__()
        self.encoder = Encoder(dim, hidden)
        self.decoder = Decoder(dim, hidden)

    def forward(self, src, trg=None, teacher_forcing=0.0):
        h = self.encoder(src)
        token = torch.full((src.size(0),), BOS)
        outputs = []
        for t in range(src.size(1)):
            logits, h = self.decoder(token, h)
            outputs.append(logits)
            forced = trg is not None and random.random() < teacher_forcing
            token = trg[:, t] if forced else logits.argmax(1)
        return torch.stack(outputs, dim=1)


def main():
    random.seed(21)
    torch.manual_seed(21)
    src, trg = make_pairs(2200, 4, random.Random(1))
    train, test = (src[:2000], trg[:2000]), (src[2000:], trg[2000:])
    model = Seq2Seq()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(1, 7):
        model.train()
        total = 0.0
        for rows in torch.randperm(2000).split(50):
            x, y = train[0][rows], train[1][rows]
            optimizer.zero_grad()
            out = model(x, y, teacher_forcing=0.7)
            loss = criterion(out.view(-1, SYMBOLS), y.reshape(-1))
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total += loss.item() * len(rows)
        model.eval()
        with torch.no_grad():
            acc = (model(test[0]).argmax(-1) == test[1]).float().mean().item()
        print(f"epoch {epoch}: loss {total / 2000:.3f}, symbols right without help {acc:.3f}")


if __name__ == "__main__":
    main()
