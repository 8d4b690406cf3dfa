# part-of-speech like tagging of an invented language
import random
import warnings

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset, random_split

warnings.filterwarnings("ignore", category=UserWarning)
TAGS = ["DET", "NOUN", "VERB", "ADJ", "ADV"]
STEMS = {t: [t.lower() + str(i) for i in range(12)] for t in TAGS}
BOTH = ["run", "walk", "play", "cut", "watch"]  # NOUN after DET or ADJ, otherwise VERB
LENGTH = 14


class Corpus(Dataset):
    def __init__(self, n):
        words = sorted(w for ws in STEMS.values() for w in ws) + BOTH
        self.index = {w: i for i, w in enumerate(words)}
        self.rows = [self.sentence() for _ in range(n)]

    def sentence(self):
        toks, tags, prev = [], [], None
        for _ in range(LENGTH):
            tag = random.choice(TAGS)
            if tag in ("NOUN", "VERB") and random.random() < 0.5:
                word = random.choice(BOTH)
                tag = "NOUN" if prev in ("DET", "ADJ") else "VERB"
            else:
                word = random.choice(STEMS[tag])
            toks.append(self.index[word])
            tags.append(TAGS.index(tag))
            prev = tag
        return torch.tensor(toks), torch.tensor(tags)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


class Tagger(nn.Module):
    def __init__(self, vocab, n_tags, emb=24, hid=24):
        super().__init__()
        self.emb = nn.Embedding(vocab, emb)
        self.rnn = nn.GRU(emb, hid, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(2 * hid, n_tags)
        self.lsm = nn.LogSoftmax()  # <-- here

    def forward(self, tokens):
        out, _ = self.rnn(self.emb(tokens))
        return self.lsm(self.fc(out))  # <-- here


def accuracy(tagger, loader):
    tagger.eval()
    hit = tot = amb_hit = amb = 0
    first_amb = sum(len(v) for v in STEMS.values())
    with torch.no_grad():
        for tokens, tags in loader:
            pred = tagger(tokens).argmax(-1)
            ok = pred == tags
            mask = tokens >= first_amb
            hit += ok.sum().item()
            tot += ok.numel()
            amb_hit += ok[mask].sum().item()
            amb += mask.sum().item()
    return hit / tot, amb_hit / amb


random.seed(2)
torch.manual_seed(2)
corpus = Corpus(1000)
train, test = random_split(corpus, [800, 200])
train_dl = DataLoader(train, batch_size=32, shuffle=True)
test_dl = DataLoader(test, batch_size=50)

tagger = Tagger(len(corpus.index), len(TAGS))
loss_function = nn.NLLLoss()
optimizer = torch.optim.Adam(tagger.parameters(), lr=4e-3)

for epoch in range(8):
    tagger.train()
    total = 0.0
    for tokens, tags in train_dl:
        tagger.zero_grad()
        scores = tagger(tokens)
        loss = loss_function(scores.flatten(0, 1), tags.flatten())
        loss.backward()
        optimizer.step()
        total += loss.item()
    acc, amb = accuracy(tagger, test_dl)
    print("epoch", epoch, "loss %.3f" % (total / len(train_dl)), "acc %.3f" % acc, "ambiguous words %.3f" % amb)
