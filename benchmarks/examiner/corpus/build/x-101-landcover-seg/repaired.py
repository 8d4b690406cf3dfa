import argparse

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

NAMES = ("water", "field", "forest", "town")


class LandCover(Dataset):
    """Voronoi maps of four classes; three noisy bands per pixel."""

    spectra = torch.tensor([[-1.0, -0.6, 0.1], [0.7, 0.5, -0.2], [-0.2, 0.9, 0.5], [0.6, -0.4, 0.7]])

    def __init__(self, n, side, seed):
        g = torch.Generator().manual_seed(seed)
        yy, xx = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        seeds = torch.rand(n, 9, 2, generator=g) * side
        cls = torch.randint(len(NAMES), (n, 9), generator=g)
        d = (yy[None, None] - seeds[..., 0, None, None]) ** 2 + (xx[None, None] - seeds[..., 1, None, None]) ** 2
        self.label = cls.gather(1, d.argmin(1).flatten(1)).view(n, side, side)
        noise = 0.9 * torch.randn(n, 3, side, side, generator=g)
        self.image = self.spectra[self.label].permute(0, 3, 1, 2) + noise

    def __len__(self):
        return len(self.label)

    def __getitem__(self, i):
        return self.image[i].clone(), self.label[i]


class SegHead:
    activation = None

    def build_head(self, channels, classes):
        self.classifier = nn.Conv2d(channels, classes, kernel_size=1)
        self.post = nn.Identity() if self.activation is None else getattr(nn, self.activation)()

    def head(self, feats):
        return self.post(self.classifier(feats))


class ContextNet(SegHead, nn.Module):
    activation = None

    def __init__(self, classes=4, width=16):
        super().__init__()
        self.local = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU())
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width // 2, 3, padding=r, dilation=r), nn.ReLU()) for r in (1, 2, 4))
        self.build_head(3 * width // 2, classes)

    def forward(self, x):
        f = self.local(x)
        return self.head(torch.cat([b(f) for b in self.branches], dim=1))


class CombinedLoss(nn.Module):
    def __init__(self, **terms):
        super().__init__()
        self.terms = nn.ModuleDict({k: m for k, (m, _) in terms.items()})
        self.weights = {k: w for k, (_, w) in terms.items()}

    def forward(self, prediction, target):
        return sum(self.weights[k] * m(prediction, target) for k, m in self.terms.items())


class ConfusionMeter:
    def __init__(self, k):
        self.k, self.m = k, torch.zeros(k, k, dtype=torch.long)

    def update(self, pred, target):
        self.m += torch.bincount((target * self.k + pred).flatten(), minlength=self.k ** 2).view(self.k, self.k)

    def iou(self):
        d = self.m.diag().float()
        return d / (self.m.sum(0) + self.m.sum(1) - self.m.diag()).clamp(min=1)

    def accuracy(self):
        return (self.m.diag().sum() / self.m.sum()).item()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=4)
    ap.add_argument("--bs", type=int, default=16)
    ap.add_argument("--lr", type=float, default=3e-3)
    cfg = ap.parse_args()
    torch.manual_seed(2)
    train = DataLoader(LandCover(480, 24, 1), cfg.bs, shuffle=True)
    val = DataLoader(LandCover(100, 24, 2), 50)
    net = ContextNet()
    loss_fn = CombinedLoss(ce=(nn.CrossEntropyLoss(), 1.0))
    opt = torch.optim.Adam(net.parameters(), lr=cfg.lr)
    for epoch in range(cfg.epochs):
        net.train()
        total = 0.0
        for image, label in train:
            loss = loss_fn(net(image), label)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(image)
        net.eval()
        meter = ConfusionMeter(len(NAMES))
        with torch.no_grad():
            for image, label in val:
                meter.update(net(image).argmax(1), label)
        per_class = ", ".join(f"{n} {v:.3f}" for n, v in zip(NAMES, meter.iou().tolist()))
        print(f"epoch {epoch} loss {total / len(train.dataset):.4f} acc {meter.accuracy():.4f} IoU: {per_class}")


if __name__ == "__main__":
    main()
