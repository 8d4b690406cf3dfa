"""Small pictures inside the page."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np

from netwright.errors import NetwrightError

# 24 pictures of noise of this size are 1.2 MB of text: the page stays under its 3 MB.
SIDE_AT_MOST = 112
# A photograph of this side takes three times as much as a PNG, and as a JPEG looks the same.
PNG_BYTES_AT_MOST = 12_000


def data_uri(image: Any, *, side: int = SIDE_AT_MOST) -> str:
    """Returns a picture as the `data:` address of a PNG, of a JPEG where that would be large, made smaller if a side exceeds `side`.

    `image`: (H, W), (H, W, 1) or (H, W, 3) uint8. Raises NetwrightError for anything else.

    >>> data_uri(np.zeros((8, 8), dtype=np.uint8))[:22]
    'data:image/png;base64,'
    """
    from PIL import Image

    pixels = np.asarray(image)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if (
        pixels.dtype != np.uint8
        or pixels.ndim not in (2, 3)
        or pixels.shape[2:] not in ((), (3,))
        or not pixels.size
    ):
        raise NetwrightError(
            f"a picture in the report must be uint8 of shape (H, W) or (H, W, 3), not {pixels.dtype} {pixels.shape}"
        )
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((side, side))
    buffer = io.BytesIO()
    kind = "png"
    picture.save(buffer, "PNG", optimize=True)
    if buffer.tell() > PNG_BYTES_AT_MOST:
        kind, buffer = "jpeg", io.BytesIO()
        picture.save(buffer, "JPEG", quality=85)
    return f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
