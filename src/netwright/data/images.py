"""Picture files to pixels: which files are pictures, and how each becomes (C, H, W) uint8."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
)


# `eject` prints this function with inspect.getsource: it may name nothing but numpy and Any; Pillow is imported within.
def decode_image(file: Any, channels: int, height: int, width: int) -> np.ndarray:
    """Returns the (channels, height, width) uint8 pixels of one picture: a path, open file, bytes or PIL image.

    The EXIF orientation is applied; transparency lies on white; 16 bits become 8; of several frames the
    first is taken. Another size is brought to the smallest that covers height x width (bilinear, antialiased)
    and cut at its centre. Raises what Pillow raises for damaged files, ValueError for more than 89 million pixels.
    """
    import io

    from PIL import Image, ImageOps

    if isinstance(file, (bytes, bytearray)):
        file = io.BytesIO(file)
    kinds = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "PPM", "WEBP")  # no PostScript, no video
    opened = file if isinstance(file, Image.Image) else Image.open(file, formats=kinds)
    try:
        if opened.width * opened.height > 89_478_485:
            raise ValueError(f"{opened.width} x {opened.height} pixels, more than 89 million")
        image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow's own conversion would cut off at 255
            values = np.asarray(image, dtype=np.int64)
            if values.min() < 0 or values.max() > 65535:
                raise ValueError(f"grey values from {values.min()} to {values.max()}, expected 16 bits")
            image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
        elif image.mode == "F":
            raise ValueError("floating-point pixels, whose range is not known")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("L" if channels == 1 else "RGB")
        if image.size != (width, height):
            ratio = max(width / image.width, height / image.height)
            wide, high = max(width, round(image.width * ratio)), max(height, round(image.height * ratio))
            image = image.resize((wide, high), Image.Resampling.BILINEAR)
            left, top = (wide - width) // 2, (high - height) // 2
            image = image.crop((left, top, left + width, top + height))
        pixels = np.asarray(image, dtype=np.uint8)
    finally:
        if opened is not file:
            opened.close()
    return np.array(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1), order="C")


# `eject` prints this function with inspect.getsource: it may name nothing but re.
def natural_key(name: str) -> list:
    """Returns the key by which names sort as people count: 2 before 10, case aside.

    >>> sorted(["b10", "b9", "A1"], key=natural_key)
    ['A1', 'b9', 'b10']
    """
    parts = re.split(r"(\d+)", name)
    return [[int(part) if index % 2 else part.casefold() for index, part in enumerate(parts)], name]


# `eject` prints this function with inspect.getsource: it may name nothing but os and natural_key.
def walk_files(folder: str):  # type: ignore[no-untyped-def]
    """Yields (folder, names of its files) of a folder and all below it; what is hidden is left out.

    Links are followed, each real folder once.
    """
    seen = set()
    for where, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        if real in seen:
            folders[:] = []
            continue
        seen.add(real)
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural_key)
        yield where, [name for name in files if not name.startswith(".")]


def list_files(folder: str) -> list:
    """Returns the paths of all files that `walk_files` meets, in natural order."""
    return sorted(
        (os.path.join(where, name) for where, names in walk_files(folder) for name in names), key=natural_key
    )


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Silences Pillow's warnings: what matters of them is checked and raised by decode_image itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def explain_absent(source: Any, expected: str) -> str | None:
    """Returns, in a few words, why there is nothing to read at a path; None if there is something, or this is no path."""
    if not isinstance(source, (str, os.PathLike)):
        return None
    if not os.path.exists(source):
        return "no such file"
    if os.path.isdir(source):
        return f"expected a {expected}, came a folder"
    return f"expected a {expected}, came an empty file" if os.path.getsize(source) == 0 else None


def explain_unreadable(source: Any, error: Exception) -> str:
    """Returns, in a few words, why a picture could not be read."""
    absent = explain_absent(source, "picture")
    if absent is not None:
        return absent
    if type(error).__name__ == "UnidentifiedImageError":
        return "expected a picture (PNG, JPEG, BMP, GIF, WebP, TIFF), came something else or a damaged header"
    if isinstance(error, PermissionError):
        return "permission denied"
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"cannot be read as a picture ({text})"
