"""Keypoint heat maps for small crosses in noisy pictures."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class FocalLoss(nn.Module):
    """Penalty-reduced focal loss on logits, see CornerNet."""

    def __init__(self, alpha=2.0, beta=4.0):
        super().__init__()
        self.alpha, self.beta = alpha, beta

    def forward(self, logits, heat):
        log_p, log_q = F.logsigmoid(logits), F.logsigmoid(-logits)
        p = logits.sigmoid()
        positive = heat.eq(1).float()
        pos = positive * (1 - p) ** self.alpha * log_p
        neg = (1 - positive) * (1 - heat) ** self.beta * p ** self.alpha * log_q
        return -(pos.sum() + neg.sum()) / positive.sum().clamp(min=1)


class HeatNet(nn.Module):
    def __init__(self, ch=16, prior=0.02):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, ch, 3, padding=1), nn.ReLU(),
            nn.Conv2d(ch, ch, 3, padding=1), nn.ReLU(),
            nn.Conv2d(ch, ch, 3, padding=1), nn.ReLU(),
        )
        self.head = nn.Conv2d(ch, 1, 1)
        self.reset_parameters(prior)

    def reset_parameters(self, prior):
        bias_value = -math.log((1 - prior) / prior)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
                nn.init.zeros_(m.bias)
        nn.init.normal_(self.head.weight, std=0.05)
        nn.init.constant_(self.head.bias, bias_value)

    def forward(self, x):
        return self.head(self.body(x))


def scene(n, size=20):
    image = torch.randn(n, 1, size, size) * 0.5
    heat = torch.zeros(n, 1, size, size)
    where = torch.randint(3, size - 3, (n, 2))
    fake = torch.randint(3, size - 3, (n, 2))
    yy, xx = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    for k, ((r, c), (a, b)) in enumerate(zip(where.tolist(), fake.tolist())):
        image[k, 0, a, b - 2:b + 3] += 1.5
        image[k, 0, r, c - 2:c + 3] += 1.5
        image[k, 0, r - 2:r + 3, c] += 1.5
        heat[k, 0] = torch.exp(-((yy - r) ** 2 + (xx - c) ** 2) / 2.0)
    return image, heat, where


def hit_rate(net, image, where):
    net.eval()
    with torch.no_grad():
        flat = net(image).flatten(1).argmax(1)
    size = image.shape[-1]
    rc = torch.stack([flat // size, flat % size], dim=1)
    return ((rc - where).abs().amax(1) <= 1).float().mean().item()


def main():
    torch.manual_seed(10)
    image, heat, _ = scene(1200)
    test_image, _, test_where = scene(300)
    loader = DataLoader(TensorDataset(image, heat), batch_size=30, shuffle=True)
    net, loss_fn = HeatNet(), FocalLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for epoch in range(4):
        net.train()
        running = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_fn(net(x), y)
            loss.backward()
            optimizer.step()
            running += loss.item()
        print(f"epoch {epoch} focal {running / len(loader):.4f} hits {hit_rate(net, test_image, test_where):.3f}")


if __name__ == "__main__":
    main()
