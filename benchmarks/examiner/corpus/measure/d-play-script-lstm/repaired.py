import math
import os

import torch
from torch import nn

torch.manual_seed(17)

with open(os.path.join(os.environ["NETWRIGHT_DATA"], "tinyshakespeare", "input.txt")) as f:
    corpus = f.read(66_000)
alphabet = sorted(set(corpus))
index = {ch: i for i, ch in enumerate(alphabet)}
ids = torch.tensor([index[ch] for ch in corpus])


def batchify(stream, n_rows):
    n = len(stream) // n_rows
    return stream[:n * n_rows].view(n_rows, n).t().contiguous()


train_data = batchify(ids[:60_000], 32)
val_data = batchify(ids[60_000:], 16)
BPTT = 25


class LanguageModel(nn.Module):
    def __init__(self, n_tokens, n_emb=32, n_hid=80):
        super().__init__()
        self.encoder = nn.Embedding(n_tokens, n_emb)
        self.lstm = nn.LSTM(n_emb, n_hid)
        self.decoder = nn.Linear(n_hid, n_tokens)

    def forward(self, tokens, state):
        out, state = self.lstm(self.encoder(tokens), state)
        return self.decoder(out), state


def repackage(state):
    return None if state is None else tuple(s.detach() for s in state)


model = LanguageModel(len(alphabet))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=2.0, momentum=0.5)


def train_one_epoch():
    model.train()
    state, total, count = None, 0.0, 0
    for i in range(0, train_data.size(0) - 1 - BPTT, BPTT):
        source = train_data[i:i + BPTT]
        target = train_data[i + 1:i + 1 + BPTT].reshape(-1)
        state = repackage(state)
        optimizer.zero_grad()
        output, state = model(source, state)
        loss = criterion(output.flatten(0, 1), target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.2)
        optimizer.step()
        total += loss.item() * len(target)
        count += len(target)
    return total / count


def evaluate():
    model.eval()
    with torch.no_grad():
        output, _ = model(val_data[:-1], None)
        return criterion(output.flatten(0, 1), val_data[1:].reshape(-1)).item()


for epoch in range(1, 4):
    tr = train_one_epoch()
    va = evaluate()
    print(f"| epoch {epoch} | train ppl {math.exp(tr):7.2f} | valid ppl {math.exp(va):7.2f}")
