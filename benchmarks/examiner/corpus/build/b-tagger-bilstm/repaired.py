import random

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader

DET, NOUN, VERB, ADJ = range(4)
LEXICON = {
    DET: ["the", "a", "every", "some"],
    NOUN: ["dog", "walk", "light", "paper", "run", "city", "watch", "king", "river", "stone"],
    VERB: ["walk", "run", "watch", "paper", "light", "sees", "takes", "likes", "finds", "meets"],
    ADJ: ["light", "old", "red", "small", "paper", "quick", "stone", "loud", "green", "calm"],
}
WORDS = ["<pad>"] + sorted({w for ws in LEXICON.values() for w in ws})
INDEX = {w: i for i, w in enumerate(WORDS)}


def noun_phrase(rng):
    tags = [DET] + [ADJ] * rng.choice([0, 0, 1, 2]) + [NOUN]
    return tags


def sentence(rng):
    tags = noun_phrase(rng) + [VERB] + noun_phrase(rng)
    if rng.random() < 0.5:
        tags += [VERB] + noun_phrase(rng)
    words = [rng.choice(LEXICON[t]) for t in tags]
    return torch.tensor([INDEX[w] for w in words]), torch.tensor(tags)


def collate(batch):
    words, tags = zip(*batch)
    lengths = torch.tensor([len(w) for w in words])
    words = pad_sequence(words, batch_first=True)
    tags = pad_sequence(tags, batch_first=True, padding_value=-1)
    return words, tags, lengths


class Tagger(nn.Module):
    def __init__(self, vocab, tags, dim=24, hidden=24):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim, padding_idx=0)
        self.rnn = nn.LSTM(dim, hidden, batch_first=True, bidirectional=True)
        self.proj = nn.Linear(2 * hidden, tags)

    def forward(self, words, lengths):
        packed = pack_padded_sequence(self.embed(words), lengths, batch_first=True, enforce_sorted=False)
        out, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        return self.proj(out)


rng = random.Random(8)
torch.manual_seed(8)
corpus = [sentence(rng) for _ in range(1500)]
train_loader = DataLoader(corpus[:1250], batch_size=25, shuffle=True, collate_fn=collate)
test_loader = DataLoader(corpus[1250:], batch_size=50, collate_fn=collate)

tagger = Tagger(len(WORDS), 4)
criterion = nn.CrossEntropyLoss(ignore_index=-1)
optimizer = torch.optim.Adam(tagger.parameters(), lr=5e-3)

for epoch in range(3):
    tagger.train()
    for words, tags, lengths in train_loader:
        scores = tagger(words, lengths)
        loss = criterion(scores.flatten(0, 1), tags.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(tagger.parameters(), 5.0)
        optimizer.step()
    tagger.eval()
    good = count = 0
    with torch.no_grad():
        for words, tags, lengths in test_loader:
            real = tags >= 0
            good += (tagger(words, lengths).argmax(-1) == tags)[real].sum().item()
            count += real.sum().item()
    print(f"epoch {epoch + 1} loss {loss.item():.3f} token accuracy {good / count:.3f}")
