"""CIFAR-10 from its archives, read in memory: nothing is unpacked and nothing unpickled."""

from __future__ import annotations

import io
import os
import tarfile

import numpy as np


# `eject` prints this function with inspect.getsource: it may name nothing but np, io, os and tarfile.
def read_cifar10(path: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns {"train": (images, labels), "test": ...}: (N, 3, 32, 32) uint8 and (N,) int64.

    `path` is the authors' binary archive (`*.bin` files of records of a label's byte and 3,072 bytes of red, green
    and blue rows, https://www.cs.toronto.edu/~kriz/cifar.html) or an archive of pictures train/CLASS/NNNN.jpg and
    test/CLASS/NNNN.jpg, classes and pictures in the order of their names. In memory each image lies once. Raises ValueError naming what is wrong.
    """
    pixels = {"train": bytearray(), "test": bytearray()}  # 3,072 bytes an image, as the archive has them
    keys: dict[str, list[tuple[str, str, int]]] = {
        "train": [],
        "test": [],
    }  # by which they are ordered; labels
    kinds = set()
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                parts = [part for part in member.name.split("/") if part not in ("", ".")]
                file = archive.extractfile(member) if member.isfile() and member.size < 2**26 else None
                if file is None:
                    continue
                if parts[-1].endswith(".bin"):
                    part, content = "test" if "test" in parts[-1] else "train", file.read()
                    if len(content) % 3073:
                        raise ValueError(
                            f"{path}: {member.name} has {len(content):,} bytes, not a multiple of 3,073"
                        )
                    rows = np.frombuffer(content, np.uint8).reshape(-1, 3073)
                    kinds.add("records")
                    keys[part] += [(parts[-1], "", label) for label in rows[:, 0].tolist()]
                    pixels[part] += rows[:, 1:].tobytes()
                elif len(parts) >= 3 and parts[-3] in pixels and parts[-1].lower().endswith((".jpg", ".png")):
                    from PIL import Image

                    try:
                        picture = Image.open(io.BytesIO(file.read()), formats=("JPEG", "PNG")).convert("RGB")
                        if picture.size != (32, 32):
                            raise ValueError(
                                f"expected 32 x 32 pixels, came {picture.width} x {picture.height}"
                            )
                    except (OSError, ValueError) as error:
                        raise ValueError(f"{path}: {'/'.join(parts[-3:])}: {error}") from None
                    kinds.add("pictures")
                    keys[parts[-3]].append((parts[-2], parts[-1], 0))
                    pixels[parts[-3]] += np.asarray(picture).transpose(2, 0, 1).tobytes()
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and not os.path.isfile(path):
            raise
        raise ValueError(f"{path}: not a whole .tar.gz archive ({error})") from None
    found = {}
    names = sorted({name for name, _, _ in keys["train"]})
    for part in ("train", "test"):
        if not keys[part] or len(kinds) > 1:
            came = "both" if len(kinds) > 1 else "neither"
            raise ValueError(f"{path}: expected *.bin records or {part}/CLASS/*.jpg, came {came}")
        images = np.frombuffer(pixels.pop(part), np.uint8).reshape(-1, 3072)
        order = sorted(range(len(images)), key=lambda index: keys[part][index][:2])
        for channel in () if order == list(range(len(order))) else range(0, 3072, 192):
            images[:, channel : channel + 192] = images[order, channel : channel + 192]
        if kinds == {"pictures"}:
            for name, file_name, _ in keys[part]:
                if name not in names:
                    raise ValueError(f"{path}: {part}/{name}/{file_name}: no class {name!r} in train")
            labels = np.array([names.index(keys[part][index][0]) for index in order], np.int64)
        else:
            labels = np.array([keys[part][index][2] for index in order], np.int64)
        found[part] = (images.reshape(-1, 3, 32, 32), labels)
    return found
