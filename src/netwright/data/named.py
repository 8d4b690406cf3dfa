"""The data sets known by name."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from netwright.data.cifar import read_cifar10
from netwright.data.idx import read_idx
from netwright.data.source import AnyPart, Part, Source
from netwright.errors import DataError
from netwright.registry import Registry

datasets: Registry[Callable[[], Any]] = Registry("data set")
"""Functions without arguments that return what `load` takes; add your own."""

IDX_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def digits() -> Source:
    """1,797 real handwritten digits, 8 x 8, values 0 to 16, bundled with scikit-learn; no test part of its own.

    E. Alpaydin, C. Kaynak, "Optical recognition of handwritten digits", UCI repository, 1998.
    """
    rows = torch.from_numpy(_digits_rows())
    part = Part(rows[:, :-1].to(torch.uint8).reshape(-1, 1, 8, 8), rows[:, -1].clone(), owned=True)
    return Source("digits", "digits", {"train": part}, tuple("0123456789"), image=True, highest=16)


def _digits_rows() -> np.ndarray:
    """Returns (1797, 65) int64: 64 pixels and the digit.

    scikit-learn's own file is read where it lies: importing `sklearn.datasets`, and SciPy with it, takes longer than training does.
    """
    found = importlib.util.find_spec("sklearn")
    for folder in (found.submodule_search_locations or ()) if found else ():
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            return np.loadtxt(file, delimiter=",", dtype=np.int64)
    from sklearn.datasets import load_digits

    digits = load_digits()
    return np.column_stack([digits.data, digits.target]).astype(np.int64)


def mnist() -> Source:
    """60,000 + 10,000 handwritten digits, 28 x 28. LeCun, Bottou, Bengio, Haffner, Proc. IEEE 86(11), 1998."""
    return _idx_set("mnist", tuple("0123456789"))


def fashion_mnist() -> Source:
    """60,000 + 10,000 pictures of clothes, 28 x 28. Xiao, Rasul, Vollgraf, arXiv:1708.07747, 2017."""
    names = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    return _idx_set("fashion-mnist", names)


CIFAR10_BINARY = "cifar-10-binary.tar.gz"
CIFAR10_FILES = (f"cifar10/{CIFAR10_BINARY}", "cifar10-jpeg/cifar10_jpeg.tar.gz")


def cifar10() -> Source:
    """50,000 + 10,000 small photographs, 32 x 32 in colour. A. Krizhevsky, "Learning Multiple Layers of Features", 2009.

    In $NETWRIGHT_DATA an archive of JPEG copies, cifar10-jpeg/cifar10_jpeg.tar.gz, is taken too: scores on it are
    not those of the original pixels, and a note says so.
    """
    names = (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    )
    path = _cifar10_archive()
    try:
        found = read_cifar10(str(path))
    except ValueError as error:
        raise DataError(
            f"{error}\nReplace the file by a good copy, or remove it to have it fetched."
        ) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    parts: dict[str, AnyPart] = {}
    for part, (images, labels) in found.items():
        wrong = np.flatnonzero(labels >= len(names))
        if len(wrong):
            raise DataError(
                f"{path}: expected labels from 0 to 9, came {labels[wrong[0]]} at index {wrong[0]} of {part}"
            )
        parts[part] = Part(torch.from_numpy(images), torch.from_numpy(labels), owned=True)
    source = Source("cifar10", "cifar10", parts, names, image=True, highest=255, paths=(str(path),))
    if path.name != CIFAR10_BINARY:
        source.notes.append(f"the pictures are the JPEG copies in {path.name}, not the original pixels")
    return source


def _cifar10_archive() -> Path:
    given = os.environ.get("NETWRIGHT_DATA")
    for file in CIFAR10_FILES if given else ():
        path = Path(str(given)).expanduser() / file
        if path.is_file():
            return path
    from netwright.data.mirrors import fetch

    return fetch("cifar10", CIFAR10_BINARY)


datasets.update({"digits": digits, "mnist": mnist, "fashion-mnist": fashion_mnist, "cifar10": cifar10})


def _idx_set(name: str, classes: tuple[str, ...]) -> Source:
    paths = find_idx_files(name)
    parts = {
        "train": read_idx_part(paths[0], paths[1], classes),
        "test": read_idx_part(paths[2], paths[3], classes),
    }
    return Source(name, "idx", dict(parts), classes, image=True, highest=255, paths=tuple(map(str, paths)))


def find_idx_files(name: str) -> tuple[Path, ...]:
    """Returns the four files: of $NETWRIGHT_DATA/<name>, else of the cache, where they are fetched if missing."""
    given = os.environ.get("NETWRIGHT_DATA")
    if given:
        folder = Path(given).expanduser() / name
        found = [_with_or_without_gz(folder / file) for file in IDX_FILES]
        missing = [file for file, path in zip(IDX_FILES, found, strict=True) if path is None]
        if len(missing) < len(IDX_FILES):
            if missing:
                raise DataError(
                    f"{folder}: expected the four IDX files of {name}, missing {', '.join(missing)}"
                )
            return tuple(path for path in found if path is not None)
    from netwright.data.mirrors import fetch

    return tuple(fetch(name, file) for file in IDX_FILES)


def _with_or_without_gz(path: Path) -> Path | None:
    return next((entry for entry in (path, path.with_suffix("")) if entry.is_file()), None)


def read_idx_part(images_path: Path, labels_path: Path, classes: tuple[str, ...]) -> Part:
    """Returns images (N, 1, H, W) uint8 with their labels, from two IDX files; raises DataError."""
    images, labels = (_read(path, ndim) for path, ndim in ((images_path, 3), (labels_path, 1)))
    if len(images) != len(labels):
        raise DataError(
            f"{labels_path}: expected a label for each of the {len(images):,} images in {images_path.name}, "
            f"came {len(labels):,}"
        )
    wrong = np.flatnonzero(labels >= len(classes))
    if len(wrong):
        raise DataError(
            f"{labels_path}: expected labels from 0 to {len(classes) - 1}, "
            f"came {labels[wrong[0]]} at index {wrong[0]} ({len(wrong):,} out of range)"
        )
    return Part(torch.from_numpy(images)[:, None], torch.from_numpy(labels.astype(np.int64)), owned=True)


def _read(path: Path, ndim: int) -> np.ndarray:
    try:
        values = read_idx(str(path))
    except ValueError as error:
        raise DataError(
            f"{error}\nReplace the file by a good copy, or remove it to have it fetched."
        ) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    if values.ndim != ndim or values.dtype != np.uint8 or not len(values):
        raise DataError(
            f"{path}: expected uint8 values in {ndim} dimension{'s' if ndim > 1 else ''}, "
            f"came {values.dtype} of shape {values.shape}"
        )
    return values
