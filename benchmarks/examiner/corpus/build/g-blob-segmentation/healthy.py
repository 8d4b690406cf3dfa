import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import Dataset, DataLoader


class Discs(Dataset):
    """Noisy grey pictures with one or two brighter discs; the mask marks the discs."""

    def __init__(self, n, size=24, seed=0):
        r = np.random.RandomState(seed)
        yy, xx = np.mgrid[:size, :size]
        self.x = np.zeros((n, 1, size, size), np.float32)
        self.y = np.zeros((n, 1, size, size), np.float32)
        for i in range(n):
            for _ in range(r.randint(1, 3)):
                cy, cx, rad = r.randint(4, size - 4), r.randint(4, size - 4), r.randint(3, 6)
                self.y[i, 0][(yy - cy) ** 2 + (xx - cx) ** 2 <= rad ** 2] = 1
            self.x[i, 0] = self.y[i, 0] * r.uniform(0.8, 1.6) + r.randn(size, size) * 0.6
        self.x -= 0.3

    def __len__(self):
        return len(self.x)

    def __getitem__(self, item):
        return self.x[item], self.y[item]


def double_conv(i, o):
    return nn.Sequential(
        nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True),
        nn.Conv2d(o, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


class MiniUNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.d1, self.d2 = double_conv(1, 8), double_conv(8, 16)
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.u1 = double_conv(16, 8)
        self.last = nn.Conv2d(8, 1, 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.up(self.d2(self.pool(a)))
        return self.last(self.u1(torch.cat([a, b], 1)))


def dice_loss(logits, target, eps=1.0):
    p = torch.sigmoid(logits).flatten(1)
    t = target.flatten(1)
    inter = (p * t).sum(1)
    return (1 - (2 * inter + eps) / (p.sum(1) + t.sum(1) + eps)).mean()


def iou(model, loader):
    model.eval()
    inter = union = 0.0
    with torch.no_grad():
        for x, y in loader:
            m = model(x) > 0
            inter += (m & (y > 0.5)).sum().item()
            union += (m | (y > 0.5)).sum().item()
    return inter / union


torch.manual_seed(0)
train_loader = DataLoader(Discs(480, seed=1), batch_size=16, shuffle=True)
val_loader = DataLoader(Discs(96, seed=2), batch_size=32)
model = MiniUNet()
bce = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(3):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        pred = model(x)
        loss = bce(pred, y) + dice_loss(pred, y)
        loss.backward()
        optimizer.step()
    print("epoch", epoch + 1, "loss %.4f" % loss.item(), "val IoU %.4f" % iou(model, val_loader))
