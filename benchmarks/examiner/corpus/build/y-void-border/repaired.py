"""Three-class shape segmentation with a two-level U-Net.

Images come in different sizes; the collate function pads them to the largest
one of the batch, VOC style.
"""
from functools import partial

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

VOID = 255
NAMES = ("ground", "disc", "bar")


class Shapes(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.items = [self._draw(rng) for _ in range(n)]

    @staticmethod
    def _draw(rng):
        h, w = (int(v) for v in rng.choice([16, 20, 24], size=2))
        mask = np.zeros((h, w), dtype=np.int64)
        yy, xx = np.mgrid[:h, :w]
        cy, cx, r = rng.integers(5, h - 5), rng.integers(5, w - 5), rng.integers(3, 6)
        mask[(yy - cy) ** 2 + (xx - cx) ** 2 <= r * r] = 1
        top = rng.integers(0, h - 3)
        mask[top:top + 3, :] = 2
        image = np.choose(mask, [0.0, 0.8, -0.8]) + rng.normal(0, 0.5, (h, w))
        return torch.tensor(image, dtype=torch.float32)[None], torch.from_numpy(mask)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def pad_collate(batch):
    height = max(img.shape[1] for img, _ in batch)
    width = max(img.shape[2] for img, _ in batch)
    images, masks = [], []
    for img, mask in batch:
        border = (0, width - img.shape[2], 0, height - img.shape[1])
        images.append(F.pad(img, border))
        masks.append(F.pad(mask, border, value=VOID))
    return torch.stack(images), torch.stack(masks)


def block(cin, cout):
    return nn.Sequential(
        nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(),
    )


class UNet(nn.Module):
    def __init__(self, n_classes, width=12):
        super().__init__()
        self.down = block(1, width)
        self.mid = block(width, 2 * width)
        self.up = block(3 * width, width)
        self.classify = nn.Conv2d(width, n_classes, 1)

    def forward(self, x):
        a = self.down(x)
        b = self.mid(F.max_pool2d(a, 2))
        b = F.interpolate(b, size=a.shape[-2:], mode="nearest")
        return self.classify(self.up(torch.cat([a, b], dim=1)))


objective = partial(F.cross_entropy, reduction="mean", ignore_index=VOID)


@torch.no_grad()
def mean_iou(net, loader):
    net.eval()
    inter, union = torch.zeros(len(NAMES)), torch.zeros(len(NAMES))
    for images, masks in loader:
        pred = net(images).argmax(dim=1)
        valid = masks != VOID
        for c in range(len(NAMES)):
            p, t = (pred == c) & valid, (masks == c) & valid
            inter[c] += (p & t).sum()
            union[c] += (p | t).sum()
    return (inter / union).tolist()


def run(epochs=4):
    train = DataLoader(Shapes(256, 1), batch_size=8, shuffle=True, collate_fn=pad_collate)
    held_out = DataLoader(Shapes(48, 2), batch_size=8, collate_fn=pad_collate)
    net = UNet(len(NAMES))
    optim = torch.optim.Adam(net.parameters(), lr=3e-3)
    for epoch in range(epochs):
        net.train()
        losses = []
        for images, masks in train:
            loss = objective(net(images), masks)
            optim.zero_grad()
            loss.backward()
            optim.step()
            losses.append(loss.item())
        iou = mean_iou(net, held_out)
        report = "  ".join(f"{n} {v:.2f}" for n, v in zip(NAMES, iou))
        print(f"epoch {epoch}  first/last loss {losses[0]:.3f}/{losses[-1]:.3f}  IoU: {report}")


if __name__ == "__main__":
    torch.manual_seed(3)
    run()
