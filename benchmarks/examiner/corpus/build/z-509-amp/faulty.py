"""Segmentation of discs in noise, trained with autocast and a gradient scaler."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.amp import GradScaler, autocast
from torch.utils.data import DataLoader, Dataset


class Discs(Dataset):
    def __init__(self, n, size=24, seed=0):
        g = torch.Generator().manual_seed(seed)
        yy, xx = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
        cx, cy = (torch.rand(2, n, generator=g) * (size - 8) + 4)
        r = torch.rand(n, generator=g) * 4 + 3
        dist = (xx[None] - cx[:, None, None]) ** 2 + (yy[None] - cy[:, None, None]) ** 2
        self.mask = (dist < r[:, None, None] ** 2).float().unsqueeze(1)
        self.image = self.mask + 0.6 * torch.randn(self.mask.shape, generator=g)
        self.image = (self.image - 0.2) / 0.7

    def __len__(self):
        return len(self.image)

    def __getitem__(self, i):
        return self.image[i], self.mask[i]


def double_conv(cin, cout):
    return nn.Sequential(
        nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True),
        nn.Conv2d(cout, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True),
    )


class MiniUNet(nn.Module):
    def __init__(self, base=8):
        super().__init__()
        self.down1 = double_conv(1, base)
        self.down2 = double_conv(base, 2 * base)
        self.up = double_conv(3 * base, base)
        self.final = nn.Conv2d(base, 1, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        b = F.interpolate(b, scale_factor=2, mode="nearest")
        return self.final(self.up(torch.cat([a, b], dim=1)))


def train_one_epoch(model, loader, optimizer, scaler, max_norm):
    model.train()
    total = 0.0
    for image, mask in loader:
        optimizer.zero_grad(set_to_none=True)
        with autocast("cpu", dtype=torch.bfloat16):
            logits = model(image)
        loss = F.binary_cross_entropy_with_logits(logits.float(), mask)
        scaler.scale(loss).backward()
        nn.utils.clip_grad_norm_(model.parameters(), max_norm)  # <-- here
        scaler.step(optimizer)
        scaler.update()
        total += loss.item() * len(image)
    return total / len(loader.dataset)


@torch.no_grad()
def dice(model, loader):
    model.eval()
    inter = union = 0.0
    for image, mask in loader:
        pred = (model(image) > 0).float()
        inter += (pred * mask).sum().item()
        union += pred.sum().item() + mask.sum().item()
    return 2 * inter / union


def main():
    torch.manual_seed(0)
    train = DataLoader(Discs(320, seed=1), batch_size=16, shuffle=True)
    valid = DataLoader(Discs(128, seed=2), batch_size=64)
    model = MiniUNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scaler = GradScaler("cpu", init_scale=2.0 ** 12)
    for epoch in range(3):
        loss = train_one_epoch(model, train, optimizer, scaler, max_norm=1.0)
        print(f"Epoch {epoch}: bce={loss:.4f} dice={dice(model, valid):.4f} scale={scaler.get_scale():.0f}")


if __name__ == "__main__":
    main()
