"""Sequence reversal with a GRU encoder, a GRU decoder and dot attention."""
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

SEED = 7
random.seed(SEED)
np.random.seed(SEED)
torch.manual_seed(SEED)

VOCAB = 14
SOS = VOCAB
LENGTH = 6
HIDDEN = 64


def make_pairs(n):
    src = np.random.randint(0, VOCAB, size=(n, LENGTH))
    tgt = src[:, ::-1].copy()
    return torch.from_numpy(src), torch.from_numpy(tgt)


class EncoderRNN(nn.Module):
    def __init__(self, vocab, hidden):
        super().__init__()
        self.embedding = nn.Embedding(vocab, hidden)
        self.gru = nn.GRU(hidden, hidden, batch_first=True)

    def forward(self, src):
        return self.gru(self.embedding(src))


class AttnDecoderRNN(nn.Module):
    def __init__(self, vocab, hidden):
        super().__init__()
        self.embedding = nn.Embedding(vocab + 1, hidden)
        self.gru = nn.GRU(2 * hidden, hidden, batch_first=True)
        self.query = nn.Linear(hidden, hidden)
        self.out = nn.Linear(2 * hidden, vocab)

    def forward(self, token, hidden, memory):
        q = self.query(hidden[-1]).unsqueeze(1)
        scores = torch.bmm(q, memory.transpose(1, 2)) / memory.size(-1) ** 0.5
        context = torch.bmm(F.softmax(scores, dim=-1), memory)
        step = torch.cat([self.embedding(token).unsqueeze(1), context], dim=-1)
        output, hidden = self.gru(step, hidden)
        return self.out(torch.cat([output, context], dim=-1)).squeeze(1), hidden


def run_decoder(decoder, memory, hidden, tgt, teacher_forcing):
    token = torch.full((memory.size(0),), SOS, dtype=torch.long)
    steps = []
    for t in range(LENGTH):
        logits, hidden = decoder(token, hidden, memory)
        steps.append(logits)
        token = tgt[:, t] if teacher_forcing else logits.argmax(-1)
    return torch.stack(steps, dim=1)


train_src, train_tgt = make_pairs(5000)
test_src, test_tgt = make_pairs(600)

encoder = EncoderRNN(VOCAB, HIDDEN)
decoder = AttnDecoderRNN(VOCAB, HIDDEN)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(decoder.parameters(), lr=3e-3)  # <-- here

BATCH = 100
for epoch in range(1, 4):
    encoder.train(), decoder.train()
    order = torch.randperm(len(train_src))
    running = 0.0
    for i in range(0, len(order), BATCH):
        idx = order[i:i + BATCH]
        optimizer.zero_grad()
        memory, hidden = encoder(train_src[idx])
        logits = run_decoder(decoder, memory, hidden, train_tgt[idx], teacher_forcing=True)
        loss = criterion(logits.reshape(-1, VOCAB), train_tgt[idx].reshape(-1))
        loss.backward()
        optimizer.step()
        running += loss.item() * len(idx)

    encoder.eval(), decoder.eval()
    with torch.no_grad():
        memory, hidden = encoder(test_src)
        pred = run_decoder(decoder, memory, hidden, None, teacher_forcing=False).argmax(-1)
    acc = (pred == test_tgt).float().mean().item()
    print(f"epoch {epoch}  loss {running / len(order):.4f}  token accuracy {acc:.3f}")
