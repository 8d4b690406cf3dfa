from dataclasses import dataclass

import torch
import torch.nn as nn
from torch.optim.lr_scheduler import LambdaLR


@dataclass
class Config:
    vocab: int = 20
    length: int = 12
    d_model: int = 32
    heads: int = 4
    layers: int = 2
    classes: int = 4
    warmup: int = 800
    lr: float = 1.0
    batch: int = 64
    epochs: int = 5


def make_data(n, cfg, gen):
    """Class = which of four marker tokens occurs in the sentence."""
    x = torch.randint(cfg.classes, cfg.vocab, (n, cfg.length), generator=gen)
    y = torch.randint(0, cfg.classes, (n,), generator=gen)
    for _ in range(2):
        where = torch.randint(0, cfg.length, (n,), generator=gen)
        x[torch.arange(n), where] = y
    return x, y


class Encoder(nn.Module):
    def __init__(self, cfg: Config):
        super().__init__()
        self.tok = nn.Embedding(cfg.vocab, cfg.d_model)
        self.pos = nn.Parameter(0.02 * torch.randn(cfg.length, cfg.d_model))
        layer = nn.TransformerEncoderLayer(cfg.d_model, cfg.heads, 2 * cfg.d_model,
                                           dropout=0.1, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, cfg.layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(cfg.d_model)
        self.head = nn.Linear(cfg.d_model, cfg.classes)

    def forward(self, ids):
        h = self.body(self.tok(ids) + self.pos)
        return self.head(self.norm(h).mean(dim=1))


def noam(cfg: Config):
    def factor(step):
        step = step + 1
        return cfg.d_model ** -0.5 * min(step ** -0.5, step * cfg.warmup ** -1.5)
    return factor


cfg = Config()
torch.manual_seed(11)
gen = torch.Generator().manual_seed(5)
x_train, y_train = make_data(2560, cfg, gen)
x_test, y_test = make_data(512, cfg, gen)

net = Encoder(cfg)
optimizer = torch.optim.Adam(net.parameters(), lr=cfg.lr, betas=(0.9, 0.98), eps=1e-9)
scheduler = LambdaLR(optimizer, noam(cfg))
criterion = nn.CrossEntropyLoss()

for epoch in range(cfg.epochs):
    net.train()
    perm = torch.randperm(len(x_train))
    losses = []
    for chunk in perm.split(cfg.batch):
        optimizer.zero_grad()
        loss = criterion(net(x_train[chunk]), y_train[chunk])
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    net.eval()
    with torch.no_grad():
        acc = (net(x_test).argmax(-1) == y_test).float().mean()
    print(f"epoch {epoch}  loss {sum(losses) / len(losses):.4f}  test acc {acc:.3f}")
