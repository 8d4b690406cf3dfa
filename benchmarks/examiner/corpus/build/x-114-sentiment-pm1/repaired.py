import collections
import os
import random
import re

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

FOLDER = os.path.join(os.environ.get("NETWRIGHT_DATA", "data"), "rt-polarity")
TOKEN = re.compile(r"[a-z']+|[!?]")


def read_sentences():
    out = {}
    for name in sorted(os.listdir(FOLDER)):
        if not name.endswith(("pos", "neg")) and ".pos" not in name and ".neg" not in name:
            continue
        with open(os.path.join(FOLDER, name), encoding="latin-1") as f:
            for line in f:
                words = tuple(TOKEN.findall(line.lower()))
                if len(words) >= 5:
                    out[words] = "pos" in name
    return list(out.items())


def encode_label(positive, scheme="unit"):
    """signed: +1 / -1, unit: 1 / 0"""
    if scheme == "signed":
        return 1.0 if positive else -1.0
    return float(positive)


class Vocabulary:
    def __init__(self, sentences, size=4000):
        counts = collections.Counter(w for s in sentences for w in set(s))
        self.index = {w: i for i, (w, _) in enumerate(counts.most_common(size))}

    def __call__(self, words):
        return [self.index[w] for w in words if w in self.index] or [0]


class Collate:
    def __init__(self, vocab, label=encode_label):
        self.vocab, self.label = vocab, label

    def __call__(self, items):
        ids = [torch.tensor(self.vocab(words)) for words, _ in items]
        offsets = torch.tensor([0] + [len(i) for i in ids[:-1]]).cumsum(0)
        return torch.cat(ids), offsets, torch.tensor([self.label(p) for _, p in items])


class FastText(nn.Module):
    def __init__(self, vocab_size, dim=32):
        super().__init__()
        self.bag = nn.EmbeddingBag(vocab_size, dim, mode="mean")
        self.drop = nn.Dropout(0.3)
        self.out = nn.Linear(dim, 1)
        nn.init.normal_(self.bag.weight, std=0.3)

    def forward(self, ids, offsets):
        return self.out(self.drop(torch.relu(self.bag(ids, offsets)))).squeeze(-1)


def accuracy(net, loader):
    net.eval()
    ok = n = 0
    with torch.no_grad():
        for ids, offsets, y in loader:
            ok += ((net(ids, offsets) > 0) == (y > 0)).sum().item()
            n += len(y)
    return ok / n


def main():
    torch.manual_seed(1)
    data = read_sentences()
    random.Random(1).shuffle(data)
    cut = int(0.85 * len(data))
    train, test = data[:cut], data[cut:]
    vocab = Vocabulary([w for w, _ in train])
    collate = Collate(vocab)
    loader = DataLoader(train, batch_size=64, shuffle=True, collate_fn=collate)
    test_loader = DataLoader(test, batch_size=256, collate_fn=collate)
    net = FastText(len(vocab.index))
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for epoch in range(4):
        net.train()
        total = 0.0
        for ids, offsets, y in loader:
            loss = F.binary_cross_entropy_with_logits(net(ids, offsets), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(y)
        print(f"epoch {epoch} loss {total / len(train):.4f} train acc {accuracy(net, loader):.3f} test acc {accuracy(net, test_loader):.3f}")


if __name__ == "__main__":
    main()
