import math
from collections import OrderedDict

import torch
import torch.nn as nn
import torch.nn.functional as F

VOCAB, WIDTH, CONTEXT = 60, 96, 32


def invented_language(n, gen):
    """Second-order chain: the next symbol depends on the last two, with some noise."""
    table = torch.randint(0, VOCAB, (VOCAB, 3), generator=gen)
    s = [1, 2]
    noise = torch.rand(n, generator=gen)
    rand = torch.randint(0, VOCAB, (n,), generator=gen)
    for i in range(n):
        s.append(int(rand[i]) if noise[i] < 0.15 else int(table[s[-1], s[-2] % 3]))
    return torch.tensor(s)


class CausalConv(nn.Module):
    def __init__(self, width, kernel, dilation):
        super().__init__()
        self.pad = (kernel - 1) * dilation
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, width, kernel, dilation=dilation)

    def forward(self, x):
        y = self.norm(x).transpose(1, 2)
        return x + F.gelu(self.conv(F.pad(y, (self.pad, 0)))).transpose(1, 2)


class ConvLM(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(VOCAB, WIDTH)
        nn.init.normal_(self.wte.weight, std=0.05)
        self.blocks = nn.Sequential(OrderedDict((f"b{i}", CausalConv(WIDTH, 2, 2 ** i)) for i in range(2)))
        self.ln_f = nn.LayerNorm(WIDTH)
        self.lm_head = nn.Linear(WIDTH, VOCAB, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, idx, targets=None):
        logits = self.lm_head(self.ln_f(self.blocks(self.wte(idx))))
        loss = None
        if targets is not None:
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return logits, loss


def get_batch(data, size):
    at = torch.randint(0, len(data) - CONTEXT - 1, (size,))
    idx = at[:, None] + torch.arange(CONTEXT)
    return data[idx], data[idx + 1]


@torch.no_grad()
def estimate_loss(model, data):
    model.eval()
    value = sum(model(*get_batch(data, 32))[1].item() for _ in range(4)) / 4
    model.train()
    return value


torch.manual_seed(1337)
stream = invented_language(14000, torch.Generator().manual_seed(1))
train_data, val_data = stream[:12000], stream[12000:]
model = ConvLM()
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
print(f"{sum(p.numel() for p in model.parameters())} parameters, ln(vocab) = {math.log(VOCAB):.2f}")
for it in range(161):
    if it % 40 == 0:
        print(f"step {it}: train {estimate_loss(model, train_data):.3f}, val {estimate_loss(model, val_data):.3f}")
    _, loss = model(*get_batch(train_data, 16))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
