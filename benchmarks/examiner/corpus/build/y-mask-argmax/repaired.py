"""Blob segmentation: encoder/decoder with one output channel, BCE + Dice."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SIZE = 24


class Blobs(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        grid = np.stack(np.mgrid[:SIZE, :SIZE])
        self.images, self.masks = [], []
        for _ in range(n):
            mask = np.zeros((SIZE, SIZE), dtype=bool)
            for _ in range(rng.integers(2, 5)):
                c = rng.uniform(3, SIZE - 3, size=2)
                radii = rng.uniform(2.5, 6, size=2)
                mask |= (((grid - c[:, None, None]) / radii[:, None, None]) ** 2).sum(0) < 1
            image = mask * 1.2 - 0.4 + rng.normal(0, 0.7, mask.shape)
            self.images.append(torch.tensor(image, dtype=torch.float32).unsqueeze(0))
            self.masks.append(torch.from_numpy(mask))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, k):
        return {"image": self.images[k], "mask": self.masks[k]}


class SegNet(nn.Module):
    def __init__(self, base=10, out_channels=1):
        super().__init__()
        self.enc = nn.Sequential(nn.Conv2d(1, base, 3, padding=1), nn.ELU())
        self.bottom = nn.Sequential(nn.Conv2d(base, 2 * base, 3, stride=2, padding=1), nn.ELU())
        self.up = nn.ConvTranspose2d(2 * base, base, 2, stride=2)
        self.dec = nn.Sequential(nn.ELU(), nn.Conv2d(2 * base, base, 3, padding=1), nn.ELU())
        self.out = nn.Conv2d(base, out_channels, 1)

    def forward(self, x):
        skip = self.enc(x)
        return self.out(self.dec(torch.cat([skip, self.up(self.bottom(skip))], 1)))


class BceDice(nn.Module):
    def forward(self, logits, mask):
        target = mask.unsqueeze(1).float()
        bce = F.binary_cross_entropy_with_logits(logits, target)
        p = logits.sigmoid()
        inter = (p * target).sum((1, 2, 3))
        dice = (2 * inter + 1) / (p.sum((1, 2, 3)) + target.sum((1, 2, 3)) + 1)
        return bce + 1 - dice.mean()


class SegMetrics:
    """Pixel accuracy and foreground IoU over a whole pass."""

    def __init__(self):
        self.same = self.pixels = self.inter = self.union = 0

    def update(self, logits, mask):
        labels = (logits > 0).squeeze(1)
        found = labels > 0
        self.same += (found == mask).sum().item()
        self.pixels += mask.numel()
        self.inter += (found & mask).sum().item()
        self.union += (found | mask).sum().item()

    def summary(self):
        return f"pixel acc {self.same / self.pixels:.3f}, IoU {self.inter / max(self.union, 1):.3f}"


def train(net, loader, loss_fn, optim):
    net.train()
    total = 0.0
    for batch in loader:
        loss = loss_fn(net(batch["image"]), batch["mask"])
        optim.zero_grad()
        loss.backward()
        optim.step()
        total += loss.item()
    return total / len(loader)


@torch.no_grad()
def validate(net, loader):
    net.eval()
    metrics = SegMetrics()
    for batch in loader:
        metrics.update(net(batch["image"]), batch["mask"])
    return metrics.summary()


if __name__ == "__main__":
    torch.manual_seed(9)
    train_loader = DataLoader(Blobs(320, 0), batch_size=16, shuffle=True)
    val_loader = DataLoader(Blobs(64, 1), batch_size=32)
    net, loss_fn = SegNet(), BceDice()
    optim = torch.optim.Adam(net.parameters(), lr=3e-3)
    for epoch in range(4):
        loss = train(net, train_loader, loss_fn, optim)
        print(f"epoch {epoch}: loss {loss:.4f} | {validate(net, val_loader)}")
