import math
import os

import torch
import torch.nn as nn

torch.manual_seed(1234)

with open(os.path.join(os.environ["NETWRIGHT_DATA"], "tinyshakespeare", "input.txt")) as f:
    text = f.read()[:120_000]

chars = sorted(set(text[:100_000]))
stoi = {c: i for i, c in enumerate(chars)}
encode = lambda s: torch.tensor([stoi[c] for c in s if c in stoi])
train_ids, valid_ids = encode(text[:100_000]), encode(text[100_000:])
V = len(chars)


class CharRNN(nn.Module):
    def __init__(self, vocab, emb=24, hidden=96):
        super().__init__()
        self.encoder = nn.Embedding(vocab, emb)
        self.rnn = nn.LSTM(emb, hidden, batch_first=True)
        self.decoder = nn.Linear(hidden, vocab)
        self.softmax = nn.LogSoftmax(dim=-1)

    def forward(self, ids, state=None):
        output, state = self.rnn(self.encoder(ids), state)
        return self.decoder(output), state  # <-- here


def windows(ids, batch, length):
    while True:
        starts = torch.randint(len(ids) - length - 1, (batch,))
        chunk = torch.stack([ids[s:s + length + 1] for s in starts.tolist()])
        yield chunk[:, :-1], chunk[:, 1:]


def evaluate(model):
    model.eval()
    length = 50
    n = (len(valid_ids) - 1) // length
    x = valid_ids[:n * length].view(n, length)
    y = valid_ids[1:n * length + 1].view(n, length)
    with torch.no_grad():
        out, _ = model(x)
    return (out.argmax(-1) == y).float().mean().item()


def sample(model, prime="The ", n=60):
    model.eval()
    out, state = prime, None
    ids = encode(prime).unsqueeze(0)
    with torch.no_grad():
        for _ in range(n):
            scores, state = model(ids, state)
            ids = scores[:, -1].softmax(-1).multinomial(1)
            out += chars[ids.item()]
    return out


model = CharRNN(V)
criterion = nn.NLLLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
print(f"{V} characters, uniform guess costs {math.log(V):.2f}")

for it, (x, y) in enumerate(windows(train_ids, 24, 50), start=1):
    model.train()
    logp, _ = model(x)
    loss = criterion(logp.reshape(-1, V), y.reshape(-1))  # <-- here
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    if it % 50 == 0:
        print(f"iter {it}: loss {loss.item():.3f}, next-char accuracy {evaluate(model):.3f}")
    if it == 200:
        break
print(repr(sample(model)))
