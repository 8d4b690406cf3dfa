import random

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader, Dataset

SIZE = 28


def draw(rng):
    """uint8 image and uint8 mask (0 or 255), as an annotation tool would save them."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for _ in range(rng.integers(1, 3)):
        h, w = rng.integers(7, 15, 2)
        top, left = rng.integers(0, SIZE - h), rng.integers(0, SIZE - w)
        mask[top:top + h, left:left + w] = 255
    low, high = rng.integers(40, 110), rng.integers(140, 210)
    image = np.where(mask > 0, high, low) + rng.normal(0, 28, mask.shape)
    return np.clip(image, 0, 255).astype(np.uint8), mask


def image_transform(img):
    return (torch.from_numpy(img).float().unsqueeze(0) / 255.0 - 0.45) / 0.25


def mask_transform(mask):
    return torch.from_numpy(mask).float().unsqueeze(0)  # <-- here


class SegDataset(Dataset):
    def __init__(self, count, seed, augment=False):
        rng = np.random.default_rng(seed)
        self.pairs = [draw(rng) for _ in range(count)]
        self.augment = augment

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, i):
        img, mask = self.pairs[i]
        if self.augment and random.random() < 0.5:
            img, mask = img[:, ::-1].copy(), mask[:, ::-1].copy()
        return image_transform(img), mask_transform(mask)


class DoubleConv(nn.Sequential):
    def __init__(self, i, o):
        super().__init__(
            nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True),
            nn.Conv2d(o, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


class UNetSmall(nn.Module):
    def __init__(self, c=6):
        super().__init__()
        self.down = DoubleConv(1, c)
        self.pool = nn.MaxPool2d(2)
        self.bottom = DoubleConv(c, 2 * c)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.merge = DoubleConv(3 * c, c)
        self.final = nn.Conv2d(c, 1, 1)

    def forward(self, x):
        d = self.down(x)
        u = self.up(self.bottom(self.pool(d)))
        return self.final(self.merge(torch.cat([u, d], 1)))


def dice_coef(pred, truth):
    inter = (pred & truth).sum().item()
    return 2.0 * inter / max((pred.sum() + truth.sum()).item(), 1)


def validate(model, loader):
    model.eval()
    preds, truths = [], []
    with torch.no_grad():
        for images, masks in loader:
            preds.append(torch.sigmoid(model(images)) > 0.5)
            truths.append(masks > 0)
    pred, truth = torch.cat(preds), torch.cat(truths)
    return dice_coef(pred, truth), (pred == truth).float().mean().item(), pred.float().mean().item()


def main():
    random.seed(0)
    torch.manual_seed(0)
    train_loader = DataLoader(SegDataset(480, 1, augment=True), batch_size=16, shuffle=True)
    valid_loader = DataLoader(SegDataset(120, 2), batch_size=60)
    model = UNetSmall()
    criterion = nn.BCEWithLogitsLoss()
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(4):
        model.train()
        loss_sum, n = 0.0, 0
        for images, masks in train_loader:
            logits = model(images)
            loss = criterion(logits, masks)  # <-- here
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * images.size(0)
            n += images.size(0)
        dice, acc, share = validate(model, valid_loader)
        print(f"Epoch {epoch + 1}: loss {loss_sum / n:.4f} | dice {dice:.4f} | pixel acc {acc:.4f} | predicted foreground {share:.3f}")


if __name__ == "__main__":
    main()
