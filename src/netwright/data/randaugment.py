"""RandAugment on batches: of each image some random changes, one after the other, all of one magnitude."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MAGNITUDES = 30


# `eject` prints these functions with inspect.getsource: they may name nothing but torch, F, Tensor and each other.
def randaugmented(
    images: Tensor, draws: Tensor, *, operations: int, magnitude: float, highest: float = 255.0
) -> Tensor:
    """Returns images (N, C, H, W) float32 of whole numbers from 0 to `highest`, each changed `operations` times.

    `draws` (N, 2 * operations) in [0, 1) choose each change among 14 and its direction: none, auto-contrast, equalize,
    rotate, solarize, colour, posterize, contrast, brightness, sharpness, shear and translate in x and y (RandAugment:
    Cubuk et al. 2019, arXiv:1909.13719, section 3). `magnitude` from 0 to 30 sets their strength, in the ranges
    that torchvision's RandAugment has: at 30 turned by 30 degrees, sheared by 0.3, moved by 45 % of a side, blended
    by 0.9, 4 bits kept, all solarized. Beyond the edge is black.
    """
    images = images.float()
    share = magnitude / 30
    for step in range(operations):
        choice = (draws[:, 2 * step] * 14).long()
        sign = torch.where(draws[:, 2 * step + 1] < 0.5, -1.0, 1.0)
        images = images.clone()
        for first, last, change in ((0, 5, warped), (5, 9, blended)):
            rows = ((choice >= first) & (choice < last)).nonzero()[:, 0]
            if len(rows):
                images[rows] = change(images[rows], choice[rows] - first, sign[rows] * share, highest)
        for number, rewritten in ((9, stretched), (10, equalized)):
            rows = (choice == number).nonzero()[:, 0]
            if len(rows):
                images[rows] = rewritten(images[rows], highest)
        kept = 2.0 ** round(4 * share)  # of the steps of brightness, as many are told apart
        width = (highest + 1) / 256 * kept
        coarse = (choice == 11)[:, None, None, None]
        images = torch.where(coarse & (width > 1), (images / width).floor() * width, images)
        bright = (choice == 12)[:, None, None, None] & (images >= highest * (1 - share))
        images = torch.where(bright, highest - images, images)
    return images


def warped(images: Tensor, kind: Tensor, amount: Tensor, highest: float) -> Tensor:
    """Returns images turned (kind 0), sheared in x (1) or y (2), moved in x (3) or y (4) by `amount` (N,) from -1 to 1."""
    height, width = images.shape[2:]
    zero = torch.zeros_like(amount)
    angle = torch.where(kind == 0, amount, zero) * (3.141592653589793 / 6)
    shear_x, shear_y = torch.where(kind == 1, amount, zero) * 0.3, torch.where(kind == 2, amount, zero) * 0.3
    move_x, move_y = (torch.where(kind == axis, amount, zero) * (150 / 331 * 2) for axis in (3, 4))
    ratio = height / width
    across = torch.stack([angle.cos(), (shear_x - angle.sin()) * ratio, move_x], 1)
    down = torch.stack([(shear_y + angle.sin()) / ratio, angle.cos(), move_y], 1)
    grid = F.affine_grid(torch.stack([across, down], 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="nearest", align_corners=False)


def blended(images: Tensor, kind: Tensor, amount: Tensor, highest: float) -> Tensor:
    """Returns images moved away from black (kind 0), their mean grey (1), their greys (2) or their blur (3).

    `amount` (N,) from -1 to 1: nine tenths of it are added to 1, and the difference taken that often.
    """
    count, channels = images.shape[:2]
    weights = [0.299, 0.587, 0.114] if channels == 3 else [1 / channels] * channels
    grey = (images * torch.tensor(weights, device=images.device)[:, None, None]).sum(1, keepdim=True)
    base = torch.where((kind == 2)[:, None, None, None], grey, torch.zeros_like(images))
    base = torch.where((kind == 1)[:, None, None, None], grey.round().mean((1, 2, 3), keepdim=True), base)
    soft = images.clone()
    if min(images.shape[2:]) > 2:
        kernel = torch.ones(3, 3, device=images.device)
        kernel[1, 1] = 5
        planes = images.flatten(0, 1).unsqueeze(1)
        smooth = F.conv2d(planes, (kernel / kernel.sum())[None, None]).view(
            count, channels, *soft[:, 0, 1:-1, 1:-1].shape[1:]
        )
        soft[:, :, 1:-1, 1:-1] = smooth
    base = torch.where((kind == 3)[:, None, None, None], soft, base)
    factor = (1 + 0.9 * amount)[:, None, None, None]
    return (base + factor * (images - base)).clamp(0, highest).round()


def stretched(images: Tensor, highest: float) -> Tensor:
    """Returns images whose channels each reach from 0 to `highest` (auto-contrast); one of a single value stays."""
    least, most = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    scale = highest / (most - least)
    return torch.where(most > least, (images - least) * scale, images).floor().clamp(0, highest)


def equalized(images: Tensor, highest: float) -> Tensor:
    """Returns images whose channels each have about as many pixels of every value, as Pillow's ImageOps.equalize."""
    values = int(highest) + 1
    flat = images.flatten(2).long()
    counts = torch.zeros(*flat.shape[:2], values, dtype=torch.int64, device=images.device)
    counts.scatter_add_(2, flat, torch.ones_like(flat))
    last = counts.gather(2, flat.amax(2, keepdim=True))
    step = (flat.shape[2] - last) // (values - 1)
    before = counts.cumsum(2) - counts
    table = ((before + step // 2) // step.clamp(min=1)).clamp(max=values - 1)
    table = torch.where(step == 0, torch.arange(values, device=images.device), table)
    return table.gather(2, flat).view(images.shape).float()
