import copy
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


def clones(module, n):
    "Produce n identical layers."
    return nn.ModuleList([copy.deepcopy(module) for _ in range(n)])


def attention(query, key, value):
    scores = torch.matmul(query, key.transpose(-2, -1)) / math.sqrt(query.size(-1))
    return torch.matmul(F.softmax(scores, dim=-1), value)


class SelfAttention(nn.Module):
    def __init__(self, d_model, heads):
        super().__init__()
        self.heads, self.d_k = heads, d_model // heads
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, self.d_k).permute(2, 0, 3, 1, 4)
        return self.out(attention(q, k, v).transpose(1, 2).reshape(b, t, d))


class EncoderLayer(nn.Module):
    def __init__(self, d_model, heads, d_ff):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.self_attn = SelfAttention(d_model, heads)
        self.w_1, self.w_2 = nn.Linear(d_model, d_ff), nn.Linear(d_ff, d_model)

    def forward(self, x):
        x = x + self.self_attn(self.norm1(x))
        return x + self.w_2(F.gelu(self.w_1(self.norm2(x))))


class Encoder(nn.Module):
    def __init__(self, vocab, d_model=32, heads=4, n_layers=3, length=12):
        super().__init__()
        self.tok = nn.Embedding(vocab, d_model)
        self.pos = nn.Parameter(0.2 * torch.randn(length, d_model))
        self.layers = clones(EncoderLayer(d_model, heads, 2 * d_model), n_layers)
        self.norm = nn.LayerNorm(d_model)
        self.generator = nn.Linear(d_model, vocab)
        nn.init.normal_(self.tok.weight, std=0.5)

    def forward(self, ids):
        x = self.tok(ids) + self.pos
        for layer in self.layers:
            x = layer(x)
        return self.generator(self.norm(x))


def data_gen(n, vocab, length, generator):
    """Every position must be answered with the token that stands opposite to it, plus one."""
    ids = torch.randint(0, vocab, (n, length), generator=generator)
    return ids, (ids.flip(1) + 1) % vocab


def run_epoch(model, ids, target, batch, optimizer):
    model.train()
    total = 0.0
    for rows in torch.randperm(len(ids)).split(batch):
        logits = model(ids[rows])
        loss = F.cross_entropy(logits.transpose(1, 2), target[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(rows)
    return total / len(ids)


if __name__ == "__main__":
    torch.manual_seed(99)
    g = torch.Generator().manual_seed(99)
    V, T = 10, 12
    train_ids, train_y = data_gen(3000, V, T, g)
    valid_ids, valid_y = data_gen(400, V, T, g)
    model = Encoder(V, length=T)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, betas=(0.9, 0.98))
    for epoch in range(3):
        loss = run_epoch(model, train_ids, train_y, 50, optimizer)
        model.eval()
        with torch.no_grad():
            acc = (model(valid_ids).argmax(-1) == valid_y).float().mean().item()
        print("epoch %d  loss %.4f  valid token accuracy %.4f" % (epoch, loss, acc))
