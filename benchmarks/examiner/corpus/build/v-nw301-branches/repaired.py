import argparse
import math
from abc import ABC, abstractmethod
import torch
from torch import nn, optim
from torch.utils.data import Dataset, DataLoader, random_split


class Waves(Dataset):
    """Three families of noisy 1-d signals: sine, square, chirp."""

    def __init__(self, n=1200, length=64, seed=0):
        g = torch.Generator().manual_seed(seed)
        t = torch.linspace(0, 1, length)
        self.kind = torch.randint(0, 3, (n,), generator=g)
        f = 2 + 4 * torch.rand(n, 1, generator=g)
        ph = 2 * math.pi * torch.rand(n, 1, generator=g)
        s = torch.sin(2 * math.pi * f * t + ph)
        sq = torch.sign(s)
        ch = torch.sin(2 * math.pi * f * t * (1 + 2 * t) + ph)
        sig = torch.stack([s, sq, ch], 1)[torch.arange(n), self.kind]
        self.sig = (sig + 0.35 * torch.randn(n, length, generator=g)).unsqueeze(1)

    def __len__(self):
        return len(self.kind)

    def __getitem__(self, i):
        return self.sig[i], self.kind[i]


class Backbone(nn.Module, ABC):
    def __init__(self, width, dilations):
        super().__init__()
        self.width, self.dilations = width, dilations
        self.branches = nn.ModuleDict(self.build())

    @abstractmethod
    def build(self) -> dict:
        ...

    def features(self, x):
        pooled = []
        for name in sorted(self.branches):
            h = self.branches[name](x)
            pooled += [h.mean(-1), h.amax(-1)]
        return torch.cat(pooled, 1)


class MultiScale(Backbone):
    def __init__(self, width, dilations=(1, 2, 4), n_classes=3):
        super().__init__(width, dilations)
        self.head = nn.Sequential(nn.Linear(2 * width * len(dilations), 32), nn.ReLU(),
                                  nn.Linear(32, n_classes))

    def build(self):
        return {
            f"d{d}": nn.Sequential(
                nn.Conv1d(1, self.width, 5, padding=2 * d, dilation=d), nn.ReLU(),
                nn.Conv1d(self.width, self.width, 3, padding=d, dilation=d), nn.ReLU())
            for d in self.dilations
        }

    def forward(self, x):
        return self.head(self.features(x))


def run_epoch(model, loader, loss_fn, optimizer=None):
    model.train(optimizer is not None)
    seen = right = 0
    total = 0.0
    with torch.set_grad_enabled(optimizer is not None):
        for sig, kind in loader:
            logits = model(sig)
            loss = loss_fn(logits, kind)
            if optimizer is not None:
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
            seen += len(kind)
            total += loss.item() * len(kind)
            right += (logits.argmax(-1) == kind).sum().item()
    return total / seen, right / seen


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--width", type=int, default=12)
    ap.add_argument("--epochs", type=int, default=8)
    ap.add_argument("--lr", type=float, default=3e-3)
    args = ap.parse_args()
    torch.manual_seed(11)
    full = Waves()
    tr, va = random_split(full, [960, 240], generator=torch.Generator().manual_seed(1))
    dl_tr = DataLoader(tr, batch_size=40, shuffle=True)
    dl_va = DataLoader(va, batch_size=120)
    model = MultiScale(args.width)
    optimizer = optim.Adam(model.parameters(), lr=args.lr)
    for e in range(args.epochs):
        l, a = run_epoch(model, dl_tr, nn.CrossEntropyLoss(), optimizer)
        vl, va_ = run_epoch(model, dl_va, nn.CrossEntropyLoss())
        print(f"{e}: train {l:.3f}/{a:.3f}  val {vl:.3f}/{va_:.3f}")
