import os
import re
from collections import Counter

import torch
import torch.nn as nn
import torch.nn.functional as F


def sentences(name):
    path = os.path.join(os.environ["NETWRIGHT_DATA"], "rt-polarity", name)
    with open(path, encoding="latin-1") as f:
        return [re.findall(r"[a-z']+", line.lower()) for line in f]


def load():
    train, test = [], []
    for label, name in enumerate(["rt-polarity.neg", "rt-polarity.pos"]):
        for i, words in enumerate(dict.fromkeys(map(tuple, sentences(name)))):
            (test if i % 8 == 0 else train).append((words, float(label)))
    return train, test


def batches(data, vocab, size, shuffle=False):
    order = list(range(len(data)))
    if shuffle:
        order = torch.randperm(len(data)).tolist()
    for start in range(0, len(order), size):
        part = [data[i] for i in order[start:start + size]]
        bags = [[vocab[w] for w in words if w in vocab] or [0] for words, _ in part]
        offsets = torch.tensor([0] + [len(b) for b in bags[:-1]]).cumsum(0)
        flat = torch.tensor([i for b in bags for i in b])
        yield flat, offsets, torch.tensor([label for _, label in part])


class BagOfWords(nn.Module):
    def __init__(self, vocab_size, dim):
        super().__init__()
        self.embedding = nn.EmbeddingBag(vocab_size, dim, mode="mean")
        self.fc = nn.Linear(dim, 1)

    def forward(self, tokens, offsets):
        return self.fc(self.embedding(tokens, offsets)).squeeze(1)


def main():
    torch.manual_seed(13)
    train, test = load()
    counts = Counter(w for words, _ in train for w in words)
    vocab = {w: i + 1 for i, (w, c) in enumerate(counts.most_common(6000)) if c > 1}
    model = BagOfWords(len(vocab) + 1, 32)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

    for epoch in range(4):
        total = 0.0
        for tokens, offsets, labels in batches(train, vocab, 64, shuffle=True):
            loss = F.binary_cross_entropy_with_logits(model(tokens, offsets), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
        right = 0
        with torch.no_grad():
            for tokens, offsets, labels in batches(test, vocab, 256):
                right += ((model(tokens, offsets) > 0).float() == labels).sum().item()
        print(f"epoch {epoch + 1}: loss {total / len(train):.4f}, test accuracy {right / len(test):.4f}")


if __name__ == "__main__":
    main()
