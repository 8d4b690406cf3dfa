"""NumPy's .npz archives to arrays, never unpickled, checked for size before they are unfolded."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netwright.data.memory import check_memory
from netwright.errors import DataError

# (inputs, targets) by part; in a part the first pair that is there is taken.
KEYS = {
    "train": (("x", "y"), ("inputs", "targets"), ("x_train", "y_train"), ("train_images", "train_labels")),
    "validation": (("x_val", "y_val"), ("x_validation", "y_validation"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}

ADVICE = (
    "An archive cannot be read in pieces. Save its arrays as files of their own in a folder, np.save('set/x.npy', x) and "
    "np.save('set/y.npy', y), and give the folder: it is streamed."
)


def read_npz(path: Path) -> dict[str, tuple[Any, Any]]:
    """Returns {"train": (inputs, targets), …} of an archive; raises DataError naming the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            needed = sum(entry.file_size for entry in archive.infolist())
            check_memory(needed, str(path), advice=ADVICE)
        with np.load(path, allow_pickle=False) as archive:
            return _pairs(path, archive)
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise DataError(
            f"{path}: expected a NumPy .npz archive, came a damaged or other file ({error})"
        ) from None


def _pairs(path: Path, archive: Any) -> dict[str, tuple[Any, Any]]:
    pairs = choose_pairs(str(path), archive.files, what="arrays")
    return {
        part: (_array(path, archive, inputs), _array(path, archive, targets))
        for part, (inputs, targets) in pairs.items()
    }


def choose_pairs(where: str, names: Sequence[str], *, what: str) -> dict[str, tuple[str, str]]:
    """Returns {"train": (inputs, targets), …} by the names that are there; raises DataError naming what is not.

    >>> choose_pairs("set", ["x", "y", "x_test", "y_test"], what="arrays")
    {'train': ('x', 'y'), 'test': ('x_test', 'y_test')}
    """
    found = {}
    for part, pairs in KEYS.items():
        pair = next((pair for pair in pairs if pair[0] in names and pair[1] in names), None)
        if pair is not None:
            found[part] = pair
    if "train" not in found:
        expected = " or ".join(f"{inputs} and {targets}" for inputs, targets in KEYS["train"])
        raise DataError(f"{where}: expected {what} named {expected}; came {', '.join(names) or 'none'}")
    return found


def _array(path: Path, archive: Any, key: str) -> np.ndarray:
    try:
        return archive[key]
    except ValueError as error:
        if "pickle" not in str(error).lower():
            raise DataError(f"{path}: array {key!r} is damaged ({error})") from None
        raise DataError(
            f"{path}: expected numbers or strings in {key!r}, came pickled objects, which are never loaded.\n"
            "Save it with a dtype of its own, as np.asarray(values, dtype=float) or dtype=str."
        ) from None
