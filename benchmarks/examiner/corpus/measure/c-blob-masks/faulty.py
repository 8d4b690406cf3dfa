"""Find small bright discs in noisy pictures: one logit a pixel, few positives."""
import math

import torch
import torch.nn as nn


def pictures(n, size, gen):
    yy, xx = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    cy, cx = (torch.rand(2, n, 1, 1, generator=gen) * (size - 8) + 4)
    radius = 2.0 + 1.5 * torch.rand(n, 1, 1, generator=gen)
    mask = (((yy - cy) ** 2 + (xx - cx) ** 2) < radius ** 2).float()
    image = 1.5 * mask + 0.7 * torch.randn(n, size, size, generator=gen)
    return image[:, None], mask[:, None]


class FCN(nn.Module):
    def __init__(self, prior=0.05):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.score = nn.Conv2d(8, 1, 3, padding=1)
        self.act = nn.ReLU()
        for name, m in self.named_modules():
            if isinstance(m, nn.Conv2d):
                nn.init.constant_(m.bias, -math.log((1 - prior) / prior))  # <-- here

    def forward(self, x):
        x = self.act(self.conv1(x))
        x = self.act(self.conv2(x))
        return self.score(x)


def iou(logits, mask):
    guess = logits > 0
    truth = mask > 0.5
    return ((guess & truth).sum() / (guess | truth).sum().clamp(min=1)).item()


gen = torch.Generator().manual_seed(14)
torch.manual_seed(14)
train_x, train_y = pictures(640, 20, gen)
test_x, test_y = pictures(160, 20, gen)
net = FCN()
criterion = nn.BCEWithLogitsLoss()
optim = torch.optim.Adam(net.parameters(), lr=5e-3)
print(f"share of mask pixels {train_y.mean().item():.3f}")
for epoch in range(6):
    net.train()
    total = 0.0
    for pick in torch.randperm(len(train_x)).split(20):
        loss = criterion(net(train_x[pick]), train_y[pick])
        optim.zero_grad()
        loss.backward()
        optim.step()
        total += loss.item() * len(pick)
    net.eval()
    with torch.no_grad():
        score = iou(net(test_x), test_y)
    print(f"epoch {epoch} loss {total / len(train_x):.4f} test IoU {score:.3f}")
