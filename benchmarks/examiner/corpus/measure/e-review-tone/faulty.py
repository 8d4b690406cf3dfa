import collections
import os
import random
import re

import torch
import torch.nn as nn

MAX_LEN = 30


def read_sentences():
    folder = os.path.join(os.environ["NETWRIGHT_DATA"], "rt-polarity")
    pairs = []
    for name in sorted(os.listdir(folder)):
        if "neg" not in name and "pos" not in name:
            continue
        with open(os.path.join(folder, name), encoding="latin-1") as fh:
            for line in fh:
                words = re.findall(r"[a-z']+", line.lower())
                if words:
                    pairs.append((words[:MAX_LEN], int("pos" in name)))
    pairs = list({tuple(words): (words, label) for words, label in pairs if len(words) > 3}.values())
    random.shuffle(pairs)
    return pairs


def encode(pairs, vocab):
    ids = torch.zeros(len(pairs), MAX_LEN, dtype=torch.long)
    for row, (words, _) in enumerate(pairs):
        for col, w in enumerate(words):
            ids[row, col] = vocab.get(w, 1)
    return ids, torch.tensor([label for _, label in pairs])


class ToneClassifier(nn.Module):
    def __init__(self, vocab_size, dim=48, hidden=32):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, dim, padding_idx=0)
        self.hidden = nn.Linear(dim, hidden)
        self.output = nn.Linear(hidden, 2)

    def forward(self, ids):
        mask = (ids != 0).unsqueeze(-1)
        vectors = self.embedding(ids).data  # <-- here
        mean = (vectors * mask).sum(1) / mask.sum(1)
        return self.output(torch.relu(self.hidden(mean)))


random.seed(12)
torch.manual_seed(12)
pairs = read_sentences()
train, test = pairs[:8000], pairs[8000:]
counts = collections.Counter(w for words, _ in train for w in words)
vocab = {w: i + 2 for i, (w, c) in enumerate(counts.most_common(6000))}
train_x, train_y = encode(train, vocab)
test_x, test_y = encode(test, vocab)
print(len(train_x), "training sentences,", len(vocab) + 2, "words")

clf = ToneClassifier(len(vocab) + 2)
optimizer = torch.optim.Adam(clf.parameters(), lr=3e-3)
loss_function = nn.CrossEntropyLoss()

for epoch in range(3):
    clf.train()
    total = 0.0
    for idx in torch.randperm(len(train_x)).split(80):
        optimizer.zero_grad()
        loss = loss_function(clf(train_x[idx]), train_y[idx])
        loss.backward()
        optimizer.step()
        total += loss.item() * len(idx)
    clf.eval()
    with torch.no_grad():
        hit = (clf(test_x).argmax(1) == test_y).sum().item()
    print(f"epoch {epoch + 1}  loss {total / len(train_x):.4f}  test {hit / len(test_y):.4f}")
