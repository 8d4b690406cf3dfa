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
    test/CLASS/NNNN.jpg, classes and pictures in the order of their names. Raises ValueError naming what is wrong.
    """
    records: dict[str, list[tuple[str, bytes]]] = {"train": [], "test": []}
    pictures: dict[str, list[tuple[str, str, bytes]]] = {"train": [], "test": []}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                parts = [part for part in member.name.split("/") if part not in ("", ".")]
                file = archive.extractfile(member) if member.isfile() and member.size < 2**26 else None
                if file is None:
                    continue
                if parts[-1].endswith(".bin"):
                    records["test" if "test" in parts[-1] else "train"].append((parts[-1], file.read()))
                elif (
                    len(parts) >= 3 and parts[-3] in pictures and parts[-1].lower().endswith((".jpg", ".png"))
                ):
                    pictures[parts[-3]].append((parts[-2], parts[-1], file.read()))
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and not os.path.isfile(path):
            raise
        raise ValueError(f"{path}: not a whole .tar.gz archive ({error})") from None
    found = {}
    names = sorted({name for name, _, _ in pictures["train"]})
    for part in ("train", "test"):
        if records[part]:
            content = b"".join(data for _, data in sorted(records[part]))
            if len(content) % 3073:
                raise ValueError(f"{path}: {part} has {len(content):,} bytes, not a multiple of 3,073")
            rows = np.frombuffer(content, np.uint8).reshape(-1, 3073)
            found[part] = (rows[:, 1:].reshape(-1, 3, 32, 32).copy(), rows[:, 0].astype(np.int64))
        elif pictures[part]:
            from PIL import Image

            images = np.empty((len(pictures[part]), 3, 32, 32), np.uint8)
            labels = np.empty(len(images), np.int64)
            for index, (name, file_name, data) in enumerate(sorted(pictures[part])):
                try:
                    picture = Image.open(io.BytesIO(data), formats=("JPEG", "PNG")).convert("RGB")
                    images[index] = np.asarray(picture).transpose(2, 0, 1)
                    labels[index] = names.index(name)
                except (OSError, ValueError) as error:
                    raise ValueError(f"{path}: {part}/{name}/{file_name}: {error}") from None
            found[part] = (images, labels)
        else:
            raise ValueError(f"{path}: expected *.bin records or {part}/CLASS/*.jpg, came neither")
    return found
