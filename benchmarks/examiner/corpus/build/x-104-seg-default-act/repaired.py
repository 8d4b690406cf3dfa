import functools
import itertools

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


class ConvUnit(nn.Module):
    """conv (+ norm) (+ activation): the one brick everything is made of."""

    def __init__(self, c_in, c_out, k=3, stride=1, norm=True, act=F.relu):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, k, stride, padding=k // 2, bias=not norm)
        self.norm = nn.GroupNorm(4, c_out) if norm else nn.Identity()
        self.act = act

    def forward(self, x):
        x = self.norm(self.conv(x))
        return x if self.act is None else self.act(x)


class HourGlass(nn.Module):
    def __init__(self, base=8):
        super().__init__()
        self.enc1 = ConvUnit(1, base)
        self.enc2 = ConvUnit(base, 2 * base, stride=2)
        self.mid = ConvUnit(2 * base, 2 * base)
        self.dec = ConvUnit(3 * base, base)
        self.head = ConvUnit(base, 1, k=1, norm=False, act=None)

    def forward(self, x):
        s = self.enc1(x)
        z = self.mid(self.enc2(s))
        z = F.interpolate(z, size=s.shape[-2:], mode="nearest")
        return self.head(self.dec(torch.cat((s, z), dim=1)))


def make_blobs_dataset(n, size, rng):
    grid = np.mgrid[:size, :size].astype(np.float32)
    images = np.empty((n, 1, size, size), np.float32)
    masks = np.empty_like(images)
    for i in range(n):
        cy, cx = rng.uniform(0.25, 0.75, 2) * size
        a, b = rng.uniform(0.18, 0.36, 2) * size
        th = rng.uniform(0, np.pi)
        u = (grid[1] - cx) * np.cos(th) + (grid[0] - cy) * np.sin(th)
        v = -(grid[1] - cx) * np.sin(th) + (grid[0] - cy) * np.cos(th)
        m = ((u / a) ** 2 + (v / b) ** 2 < 1).astype(np.float32)
        masks[i, 0] = m
        shade = rng.uniform(-0.5, 0.5)
        images[i, 0] = shade + 1.4 * (m - 0.3) + rng.normal(0, 0.6, (size, size))
    return torch.from_numpy(images), torch.from_numpy(masks)


def soft_dice(prob, mask, eps=1.0):
    inter = (prob * mask).sum((1, 2, 3))
    return (1 - (2 * inter + eps) / (prob.sum((1, 2, 3)) + mask.sum((1, 2, 3)) + eps)).mean()


def criterion(score, mask, w_dice=0.0):
    loss = F.binary_cross_entropy_with_logits(score, mask)
    if w_dice:
        loss = loss + w_dice * soft_dice(score.sigmoid(), mask)
    return loss


def minibatches(x, y, size, rng):
    order = rng.permutation(len(x))
    for start in range(0, len(order), size):
        idx = torch.from_numpy(order[start:start + size])
        yield x[idx], y[idx]


@torch.no_grad()
def iou_and_pixel_accuracy(model, x, y):
    model.eval()
    inter = union = right = 0
    for xb, yb in zip(x.split(64), y.split(64)):
        p = model(xb) > 0
        t = yb > 0.5
        inter += (p & t).sum().item()
        union += (p | t).sum().item()
        right += (p == t).sum().item()
    return inter / union, right / y.numel()


def main(epochs=6, batch=20):
    torch.manual_seed(21)
    rng = np.random.default_rng(21)
    x_tr, y_tr = make_blobs_dataset(500, 24, rng)
    x_te, y_te = make_blobs_dataset(120, 24, rng)
    print(f"foreground share: train {y_tr.mean():.3f} test {y_te.mean():.3f}")

    model = HourGlass()
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    loss_fn = functools.partial(criterion, w_dice=0.0)
    counter = itertools.count(1)
    for epoch in range(epochs):
        model.train()
        losses = []
        for xb, yb in minibatches(x_tr, y_tr, batch, rng):
            opt.zero_grad()
            loss = loss_fn(model(xb), yb)
            loss.backward()
            opt.step()
            losses.append(loss.item())
            next(counter)
        iou, acc = iou_and_pixel_accuracy(model, x_te, y_te)
        print(f"{epoch}: bce {np.mean(losses):.4f}  IoU {iou:.3f}  pixel acc {acc:.3f}")


main()
