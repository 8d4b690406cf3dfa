import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


def draw(rng, size=24):
    """8-bit grey image with discs on a noisy ground, and the mask as an annotation tool saves it."""
    yy, xx = np.mgrid[:size, :size]
    mask = np.zeros((size, size), np.uint8)
    for _ in range(rng.integers(1, 4)):
        cy, cx, r = rng.uniform(4, size - 4), rng.uniform(4, size - 4), rng.uniform(2, 5)
        mask[(yy - cy) ** 2 + (xx - cx) ** 2 < r * r] = 255
    image = rng.normal(90, 25, (size, size)) + (mask > 0) * rng.uniform(40, 80)
    return image.clip(0, 255).astype(np.uint8), mask


class Discs(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.items = [draw(rng) for _ in range(n)]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        image, mask = self.items[i]
        image = torch.from_numpy(image).float().unsqueeze(0) / 127.5 - 1
        mask = torch.from_numpy(mask).float().unsqueeze(0)  # <-- here
        return image, mask


class TinyUNet(nn.Module):
    def __init__(self, c=8):
        super().__init__()
        self.enc1 = nn.Sequential(nn.Conv2d(1, c, 3, padding=1), nn.ReLU(), nn.Conv2d(c, c, 3, padding=1), nn.ReLU())
        self.down = nn.MaxPool2d(2)
        self.enc2 = nn.Sequential(nn.Conv2d(c, 2 * c, 3, padding=1), nn.ReLU())
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.dec = nn.Sequential(nn.Conv2d(3 * c, c, 3, padding=1), nn.ReLU())
        self.final = nn.Conv2d(c, 1, 1)

    def forward(self, x):
        skip = self.enc1(x)
        deep = self.up(self.enc2(self.down(skip)))
        return self.final(self.dec(torch.cat([skip, deep], dim=1)))


def iou(model, loader):
    model.eval()
    inter = union = 0
    with torch.no_grad():
        for image, mask in loader:
            guess, truth = model(image) > 0, mask > 0
            inter += (guess & truth).sum().item()
            union += (guess | truth).sum().item()
    return inter / union


torch.manual_seed(0)
train_dl = DataLoader(Discs(400, seed=0), batch_size=16, shuffle=True)
val_dl = DataLoader(Discs(100, seed=1), batch_size=50)
unet = TinyUNet()
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(unet.parameters(), lr=3e-3)

for epoch in range(4):
    unet.train()
    epoch_loss = 0.0
    for image, mask in train_dl:
        optimizer.zero_grad()
        loss = criterion(unet(image), mask)  # <-- here
        loss.backward()
        optimizer.step()
        epoch_loss += loss.item() * len(image)
    print(f"epoch {epoch} loss {epoch_loss / 400:.4f} val IoU {iou(unet, val_dl):.4f}")
