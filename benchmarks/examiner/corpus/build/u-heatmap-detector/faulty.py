"""Tiny centre detector: find bright blobs in noisy images through a heat map."""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SIZE = 28


def gaussian_at(cx, cy, sigma):
    yy, xx = np.mgrid[0:SIZE, 0:SIZE]
    return np.exp(-((xx - cx) ** 2 + (yy - cy) ** 2) / (2 * sigma ** 2))


def draw_targets(centres, sigma=2.0):
    heat = np.zeros((SIZE, SIZE))
    for cx, cy in centres:
        heat += gaussian_at(cx, cy, sigma)  # <-- here
    return heat.astype(np.float32)


class Blobs(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.items = []
        for _ in range(n):
            centres = rng.integers(3, SIZE - 3, size=(int(rng.integers(5, 10)), 2))
            image = sum(gaussian_at(cx, cy, 1.0) for cx, cy in centres) + rng.normal(scale=0.15, size=(SIZE, SIZE))
            self.items.append((image.astype(np.float32)[None], centres))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        image, centres = self.items[i]
        return image, draw_targets(centres), len(np.unique(centres, axis=0))


def collate(rows):
    images, heats, counts = zip(*rows)
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(heats)), torch.tensor(counts)


class CentreNet(nn.Module):
    def __init__(self, c=12):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, c, 3, padding=1), nn.ReLU(),
                                  nn.Conv2d(c, c, 3, stride=2, padding=1), nn.ReLU())
        self.up = nn.ConvTranspose2d(c, c, 2, stride=2)
        self.head = nn.Sequential(nn.Conv2d(2 * c, c, 3, padding=1), nn.ReLU(), nn.Conv2d(c, 1, 1))
        nn.init.constant_(self.head[-1].bias, -0.8)

    def forward(self, x):
        first = self.down[1](self.down[0](x))
        deep = F.relu(self.up(self.down[3](self.down[2](first))))
        return self.head(torch.cat([first, deep], dim=1))[:, 0]


def validate(net, loader):
    net.eval()
    pred, true = [], []
    with torch.no_grad():
        for image, heat, _ in loader:
            pred.append(net(image).sigmoid().flatten())
            true.append(heat.flatten())
    pred, true = torch.cat(pred), torch.cat(true)
    corr = torch.corrcoef(torch.stack([pred, true]))[0, 1].item()
    return corr, (pred - true).abs().mean().item()


def main(args):
    torch.manual_seed(args.seed)
    train = DataLoader(Blobs(args.images, 1), batch_size=args.batch, shuffle=True, collate_fn=collate)
    valid = DataLoader(Blobs(80, 2), batch_size=40, collate_fn=collate)
    net = CentreNet()
    opt = torch.optim.Adam(net.parameters(), lr=args.lr)
    for epoch in range(args.epochs):
        net.train()
        total = seen = 0
        for image, heat, _ in train:
            loss = F.binary_cross_entropy_with_logits(net(image), heat)  # <-- here
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(image)
            seen += len(image)
        corr, mae = validate(net, valid)
        print(f"epoch {epoch} loss {total / seen:.4f} corr {corr:.3f} mae {mae:.4f}")


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--images", type=int, default=320)
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--epochs", type=int, default=6)
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--seed", type=int, default=0)
    main(p.parse_args())
