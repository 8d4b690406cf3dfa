"""Changed colours of training images, batch by batch: one matrix and one offset an image."""

from __future__ import annotations

import torch
from torch import Tensor


# `eject` prints this function with inspect.getsource: it may name nothing but torch and Tensor.
def recoloured(
    images: Tensor,
    draws: Tensor,
    *,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
    highest: float | None = 255.0,
) -> Tensor:
    """Returns images (N, C, H, W) float32, from 0 to `highest` (None: of any range), with other colours.

    `draws` (N, 4) in [0, 1) decide on four changes, each at most by its share up or down: `brightness` multiplies;
    `contrast` moves away from the mean grey of the image, `saturation` from the grey of the pixel (Pillow's
    ImageEnhance.Brightness, Contrast and Color, in this order, cut off at the end instead of after each); `hue`
    turns the colours by a share of the circle, at equal luma (in YIQ). Grey is that of ITU-R BT.601. The last two
    need three channels, and leave one as it is.
    """
    channels = images.shape[1]
    images = images.float()
    factors = draws * 2 - 1
    light, sharp = 1 + factors[:, 0] * brightness, 1 + factors[:, 1] * contrast
    luma = torch.tensor([[0.299, 0.587, 0.114]] if channels == 3 else [[1 / channels] * channels])
    luma = luma.to(images.device)
    # What contrast moves away from, seen after the brightness. Neither of the other two changes a grey.
    mean = (images.mean((2, 3)) * luma).sum(1) * light
    offset = ((1 - sharp) * mean)[:, None, None, None]
    matrix = (light * sharp)[:, None, None] * torch.eye(channels, device=images.device)
    if saturation and channels == 3:
        colour = (1 + factors[:, 2] * saturation)[:, None, None]
        matrix = (colour * torch.eye(3, device=images.device) + (1 - colour) * luma) @ matrix
    if hue and channels == 3:
        to_yiq = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
        angle = factors[:, 3] * (hue * 2 * 3.141592653589793)
        turn = torch.zeros(len(images), 3, 3, device=images.device)
        turn[:, 0, 0] = 1
        turn[:, 1, 1] = turn[:, 2, 2] = angle.cos()
        turn[:, 1, 2], turn[:, 2, 1] = -angle.sin(), angle.sin()
        back = torch.linalg.inv(to_yiq).to(images.device)
        matrix = back @ turn @ to_yiq.to(images.device) @ matrix
    if channels == 1 or not (saturation or hue):
        changed = images * matrix[:, :1, :1, None] + offset
    else:
        red, green, blue = images[:, :, None].unbind(1)
        columns = matrix[:, :, :, None, None].unbind(2)
        changed = columns[0] * red + columns[1] * green + columns[2] * blue + offset
    return changed if highest is None else changed.clamp(0, highest)
