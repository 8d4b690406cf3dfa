"""Bag-of-words sentiment on the movie review sentences."""
import os
import random
import re
from collections import Counter

import torch
from torch import nn

FOLDER = os.path.join(os.environ["NETWRIGHT_DATA"], "rt-polarity")


def read_sentences():
    rows = []
    for name in sorted(os.listdir(FOLDER)):
        if "pos" in name or "neg" in name:
            label = 1 if "pos" in name else 0
            if not os.path.isfile(os.path.join(FOLDER, name)):
                continue
            with open(os.path.join(FOLDER, name), encoding="latin-1") as fh:
                for line in fh:
                    words = re.findall(r"[a-z']+", line.lower())
                    if len(words) > 4:
                        rows.append((tuple(words), label))
    return list(dict(rows).items())


def make_batches(rows, vocab, size, shuffle):
    rows = random.sample(rows, len(rows)) if shuffle else rows
    for start in range(0, len(rows), size):
        part = rows[start:start + size]
        ids, offsets = [], []
        for words, _ in part:
            offsets.append(len(ids))
            ids.extend(vocab.get(w, 0) for w in words)
        yield torch.tensor(ids), torch.tensor(offsets), torch.tensor([lab for _, lab in part])


class Polarity(nn.Module):
    def __init__(self, n_words, dim):
        super().__init__()
        self.bag = nn.EmbeddingBag(n_words, dim, mode="mean")
        self.mlp = nn.Sequential(nn.Linear(dim, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1))

    def forward(self, ids, offsets):
        return self.mlp(self.bag(ids, offsets))


def n_correct(scores, labels):
    _, predicted = torch.max(scores, 1)  # <-- here
    return (predicted == labels).sum().item()


def evaluate(net, rows, vocab):
    net.eval()
    good = 0
    with torch.no_grad():
        for ids, offsets, labels in make_batches(rows, vocab, 500, shuffle=False):
            good += n_correct(net(ids, offsets), labels)  # <-- here
    return good / len(rows)


def main():
    random.seed(0)
    torch.manual_seed(0)
    rows = read_sentences()
    random.shuffle(rows)
    held, train = rows[:2000], rows[2000:]
    counts = Counter(w for words, _ in train for w in words)
    vocab = {w: i + 1 for i, (w, _) in enumerate(counts.most_common(6000))}
    net = Polarity(len(vocab) + 1, 48)
    loss_fn = nn.BCEWithLogitsLoss()
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    for epoch in range(3):
        net.train()
        seen, total = 0, 0.0
        for ids, offsets, labels in make_batches(train, vocab, 128, shuffle=True):
            opt.zero_grad()
            logit = net(ids, offsets).squeeze(1)
            loss = loss_fn(logit, labels.float())
            loss.backward()
            opt.step()
            total += loss.item() * len(labels)
            seen += len(labels)
        print("epoch %d: loss %.4f, held-out accuracy %.3f" % (epoch + 1, total / seen, evaluate(net, held, vocab)))


if __name__ == "__main__":
    main()
