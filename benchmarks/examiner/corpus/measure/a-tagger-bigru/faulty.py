import random

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

PAD = 0
OPEN, CLOSE = 1, 2
VOCAB = 30
TAGS = ["<pad>", "outside", "level1", "level2", "deep"]


def sentence(rng):
    """Random tokens with nested brackets; the tag of a token is the depth it stands at."""
    length = rng.choice([9, 10, 11, 12, 13, 14, 15, 40, 44])
    tokens, tags, depth = [], [], 0
    for _ in range(length):
        r = rng.random()
        if r < 0.22 and depth < 4:
            tokens.append(OPEN)
            depth += 1
        elif r < 0.40 and depth > 0:
            tokens.append(CLOSE)
            depth -= 1
        else:
            tokens.append(rng.randrange(3, VOCAB))
        tags.append(1 + min(depth, 3))
    return torch.tensor(tokens), torch.tensor(tags)


def collate(batch):
    tokens, tags = zip(*batch)
    return (pad_sequence(tokens, batch_first=True, padding_value=PAD),
            pad_sequence(tags, batch_first=True, padding_value=PAD))


class Tagger(nn.Module):
    def __init__(self, emb=16, hidden=24):
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, emb, padding_idx=PAD)
        self.gru = nn.GRU(emb, hidden, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * hidden, len(TAGS))

    def forward(self, tokens):
        states, _ = self.gru(self.embedding(tokens))
        return self.out(states)


def evaluate(model, loader):
    model.eval()
    right = total = 0
    with torch.no_grad():
        for tokens, tags in loader:
            real = tags != PAD
            right += ((model(tokens).argmax(-1) == tags) & real).sum().item()
            total += real.sum().item()
    return right / total


def main():
    rng = random.Random(4)
    torch.manual_seed(4)
    train = DataLoader([sentence(rng) for _ in range(1000)], batch_size=25, shuffle=True, collate_fn=collate)
    valid = DataLoader([sentence(rng) for _ in range(200)], batch_size=100, collate_fn=collate)
    tagger = Tagger()
    criterion = nn.CrossEntropyLoss()  # <-- here
    optimizer = torch.optim.Adam(tagger.parameters(), lr=4e-3)
    for epoch in range(4):
        tagger.train()
        for tokens, tags in train:
            optimizer.zero_grad()
            scores = tagger(tokens)
            loss = criterion(scores.flatten(0, 1), tags.flatten())  # <-- here
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}, accuracy on real tokens {evaluate(tagger, valid):.4f}")


if __name__ == "__main__":
    main()
