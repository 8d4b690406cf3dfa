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
    images = images.float().clone()
    share = magnitude / 30
    kept = 2.0 ** round(4 * share)  # of the steps of brightness, as many are told apart
    width = (highest + 1) / 256 * kept
    for step in range(operations):
        choice = (draws[:, 2 * step] * 14).long()
        sign = torch.where(draws[:, 2 * step + 1] < 0.5, -1.0, 1.0)
        # A change at a time and its images alone: most are cheap, and none is computed for an image that has another.
        for first, last in ((0, 5), (5, 6), (6, 7), (7, 8), (8, 9), (9, 10), (10, 11), (11, 12), (12, 13)):
            rows = ((choice >= first) & (choice < last)).nonzero()[:, 0]
            if not len(rows):
                continue
            some, amount = images[rows], sign[rows] * share
            if first == 0:
                some = warped(some, choice[rows], amount)
            elif first < 9:
                some = blended(some, first - 5, amount, highest)
            elif first < 11:
                some = stretched(some, highest) if first == 9 else equalized(some, highest)
            elif first == 11:
                some = (some / width).floor() * width if width > 1 else some
            else:
                some = torch.where(some >= highest * (1 - share), highest - some, some)
            images[rows] = some
    return images


def warped(images: Tensor, kind: Tensor, amount: Tensor) -> Tensor:
    """Returns images turned (kind 0), sheared in x (1) or y (2), moved in x (3) or y (4) by `amount` (N,) from -1 to 1."""
    height, width = images.shape[2:]
    zero = torch.zeros_like(amount)
    angle = torch.where(kind == 0, amount, zero) * (3.141592653589793 / 6)
    shear_x, shear_y = torch.where(kind == 1, amount, zero) * 0.3, torch.where(kind == 2, amount, zero) * 0.3
    move_x, move_y = (torch.where(kind == axis, amount, zero) * (150 / 331 * 2) for axis in (3, 4))
    ratio = height / width
    # The grid of F.affine_grid, without its matrix products, which take longer than the sampling.
    x = ((2 * torch.arange(width, device=images.device) + 1) / width - 1)[None, None]
    y = ((2 * torch.arange(height, device=images.device) + 1) / height - 1)[None, :, None]
    cos, sin, shear_x, shear_y, move_x, move_y = (
        one[:, None, None] for one in (angle.cos(), angle.sin(), shear_x, shear_y, move_x, move_y)
    )
    across = cos * x + (shear_x - sin) * ratio * y + move_x
    down = (shear_y + sin) / ratio * x + cos * y + move_y
    return F.grid_sample(images, torch.stack([across, down], 3), mode="nearest", align_corners=False)


def blended(images: Tensor, kind: int, amount: Tensor, highest: float) -> Tensor:
    """Returns images moved away from black (kind 0), their mean grey (1), their greys (2) or their blur (3).

    `amount` (N,) from -1 to 1: nine tenths of it are added to 1, and the difference taken that often.
    """
    channels = images.shape[1]
    factor = (1 + 0.9 * amount)[:, None, None, None]
    if kind == 0:
        return (factor * images).clamp_(0, highest).round_()
    if kind == 3:
        base = blurred(images)
    else:
        weights = [0.299, 0.587, 0.114] if channels == 3 else [1 / channels] * channels
        base = (images * torch.tensor(weights, device=images.device)[:, None, None]).sum(1, keepdim=True)
        base = base.round().mean((1, 2, 3), keepdim=True) if kind == 1 else base
    return (base + factor * (images - base)).clamp_(0, highest).round_()


def blurred(images: Tensor) -> Tensor:
    """Returns images whose inner pixels are means of the nine around them, the middle one five times as heavy."""
    if min(images.shape[2:]) < 3:
        return images
    soft = images.clone()
    kernel = torch.ones(3, 3, device=images.device)
    kernel[1, 1] = 5
    planes = images.flatten(0, 1).unsqueeze(1)
    soft[:, :, 1:-1, 1:-1] = F.conv2d(planes, (kernel / kernel.sum())[None, None]).view_as(
        soft[:, :, 1:-1, 1:-1]
    )
    return soft


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
