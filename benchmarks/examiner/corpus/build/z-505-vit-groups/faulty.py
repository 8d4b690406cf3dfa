# Tiny vision transformer on the 8x8 digits.
import math
import torch
from torch import nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

CONFIG = dict(patch=2, dim=48, heads=4, depth=2, classes=10, lr=3e-3, wd=0.05, epochs=6, batch=64, seed=3)


class PatchEmbed(nn.Module):
    def __init__(self, patch, dim):
        super().__init__()
        self.proj = nn.Conv2d(1, dim, kernel_size=patch, stride=patch)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class TinyViT(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        n = (8 // cfg["patch"]) ** 2
        self.embed = PatchEmbed(cfg["patch"], cfg["dim"])
        self.cls_token = nn.Parameter(torch.randn(1, 1, cfg["dim"]) * 0.2)
        self.pos = nn.Parameter(torch.randn(1, n + 1, cfg["dim"]) * 0.2)
        self.blocks = nn.ModuleList(Block(cfg["dim"], cfg["heads"]) for _ in range(cfg["depth"]))
        self.norm = nn.LayerNorm(cfg["dim"])
        self.head = nn.Linear(cfg["dim"], cfg["classes"])

    def forward(self, x):
        x = self.embed(x)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


def configure_optimizer(model, cfg):
    named = dict(model.named_parameters())
    decay = [p for name, p in named.items() if name.endswith("weight") and p.ndim > 1]
    no_decay = [p for name, p in named.items() if name.endswith("bias") or "norm" in name]
    groups = [{"params": decay, "weight_decay": cfg["wd"]}, {"params": no_decay, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=cfg["lr"])  # <-- here


def cosine(step, total, warmup=20):
    if step < warmup:
        return (step + 1) / warmup
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    hits = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
    return hits / len(loader.dataset)


def main(cfg):
    torch.manual_seed(cfg["seed"])
    X, y = load_digits(return_X_y=True)
    X = torch.tensor(X, dtype=torch.float32).view(-1, 1, 8, 8) / 8 - 1
    Xtr, Xte, ytr, yte = train_test_split(X, torch.tensor(y), test_size=0.25, random_state=0, stratify=y)
    train = DataLoader(TensorDataset(Xtr, ytr), batch_size=cfg["batch"], shuffle=True)
    test = DataLoader(TensorDataset(Xte, yte), batch_size=256)
    model = TinyViT(cfg)
    opt = configure_optimizer(model, cfg)
    total = cfg["epochs"] * len(train)
    sched = torch.optim.lr_scheduler.LambdaLR(opt, lambda s: cosine(s, total))
    for epoch in range(cfg["epochs"]):
        model.train()
        seen, total_loss = 0, 0.0
        for x, t in train:
            loss = nn.functional.cross_entropy(model(x), t)
            opt.zero_grad(set_to_none=True)
            loss.backward()
            opt.step()
            sched.step()
            seen += len(x)
            total_loss += loss.item() * len(x)
        print("epoch", epoch, "loss", round(total_loss / seen, 4), "acc", round(evaluate(model, test), 4))


main(CONFIG)
