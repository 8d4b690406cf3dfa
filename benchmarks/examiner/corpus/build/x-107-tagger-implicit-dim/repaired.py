import argparse
import random
import warnings

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader

warnings.filterwarnings("ignore")

WORDS = ["<pad>"] + [f"{kind}{i}" for kind, n in (("det", 6), ("adj", 30), ("noun", 60), ("verb", 40), ("amb", 25)) for i in range(n)]
W2I = {w: i for i, w in enumerate(WORDS)}
TAGS = ["DET", "ADJ", "NOUN", "VERB"]
IGNORE = -100


def pick(kind, rng):
    n = {"det": 6, "adj": 30, "noun": 60, "verb": 40, "amb": 25}[kind]
    return f"{kind}{rng.randrange(n)}"


def noun_phrase(rng):
    "det adj* noun; ambiguous words are nouns after det/adj and verbs after a noun"
    words, tags = [pick("det", rng)], ["DET"]
    for _ in range(rng.choice([0, 1, 1, 2])):
        words.append(pick("adj", rng))
        tags.append("ADJ")
    words.append(pick("amb" if rng.random() < 0.4 else "noun", rng))
    tags.append("NOUN")
    return words, tags


def sentence(rng):
    w, t = noun_phrase(rng)
    w.append(pick("amb" if rng.random() < 0.5 else "verb", rng))
    t.append("VERB")
    w2, t2 = noun_phrase(rng)
    return w + w2, t + t2


def collate(batch):
    T = max(len(w) for w, _ in batch)
    x = torch.zeros(len(batch), T, dtype=torch.long)
    y = torch.full((len(batch), T), IGNORE)
    for i, (w, t) in enumerate(batch):
        x[i, :len(w)] = torch.tensor([W2I[a] for a in w])
        y[i, :len(t)] = torch.tensor([TAGS.index(a) for a in t])
    return x, y


class BaseTagger(nn.Module):
    """Subclasses implement emissions(); forward gives log-probabilities per token."""

    def emissions(self, x):
        raise NotImplementedError

    def forward(self, x):
        return F.log_softmax(self.emissions(x), dim=-1)

    def loss(self, x, y):
        logp = self(x)
        return F.nll_loss(logp.reshape(-1, logp.size(-1)), y.reshape(-1), ignore_index=IGNORE)

    @torch.no_grad()
    def tag(self, x):
        self.eval()
        return self(x).argmax(-1)


class BiLSTMTagger(BaseTagger):
    def __init__(self, emb=24, hid=24, n_tags=len(TAGS)):
        super().__init__()
        self.emb = nn.Embedding(len(WORDS), emb, padding_idx=0)
        self.lstm = nn.LSTM(emb, hid, bidirectional=True, batch_first=True)
        self.drop = nn.Dropout(0.2)
        self.hidden2tag = nn.Linear(2 * hid, n_tags)

    def emissions(self, x):
        lens = x.ne(0).sum(1)
        packed = nn.utils.rnn.pack_padded_sequence(self.emb(x), lens, batch_first=True, enforce_sorted=False)
        out, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return self.hidden2tag(self.drop(out))


def token_accuracy(model, loader):
    ok = n = amb_ok = amb_n = 0
    first_amb = W2I["amb0"]
    for x, y in loader:
        hit = model.tag(x).eq(y)
        keep, amb = y.ne(IGNORE), x.ge(first_amb)
        ok, n = ok + hit[keep].sum().item(), n + keep.sum().item()
        amb_ok, amb_n = amb_ok + hit[amb].sum().item(), amb_n + amb.sum().item()
    return ok / n, amb_ok / amb_n


def unique_sentences(count, rng):
    found = {}
    while len(found) < count:
        w, t = sentence(rng)
        found.setdefault(tuple(w), t)
    return [(list(w), t) for w, t in found.items()]


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--train", type=int, default=1200)
    ap.add_argument("--test", type=int, default=300)
    ap.add_argument("--epochs", type=int, default=4)
    ap.add_argument("--bs", type=int, default=24)
    ap.add_argument("--lr", type=float, default=4e-3)
    opt = ap.parse_args()
    torch.manual_seed(8)
    data = unique_sentences(opt.train + opt.test, random.Random(8))
    train = DataLoader(data[:opt.train], batch_size=opt.bs, shuffle=True, collate_fn=collate)
    test = DataLoader(data[opt.train:], batch_size=100, collate_fn=collate)
    model = BiLSTMTagger()
    optimizer = torch.optim.Adam(model.parameters(), lr=opt.lr)
    for e in range(opt.epochs):
        model.train()
        losses = []
        for x, y in train:
            model.zero_grad()
            loss = model.loss(x, y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        a, b = token_accuracy(model, test)
        print(f"epoch {e}: first {losses[0]:.4f} last {losses[-1]:.4f} | tokens {a:.3f} ambiguous {b:.3f}")


if __name__ == "__main__":
    main()
