"""NumPy's .npz archives to arrays, never unpickled, checked for size before they are unfolded."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from netwright.data.folder import check_memory
from netwright.errors import DataError

# (inputs, targets) by part; in a part the first pair that is there is taken.
KEYS = {
    "train": (("x", "y"), ("inputs", "targets"), ("x_train", "y_train"), ("train_images", "train_labels")),
    "validation": (("x_val", "y_val"), ("x_validation", "y_validation"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}


def read_npz(path: Path) -> dict[str, tuple[Any, Any]]:
    """Returns {"train": (inputs, targets), …} of an archive; raises DataError naming the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            check_memory(sum(entry.file_size for entry in archive.infolist()), str(path))
        with np.load(path, allow_pickle=False) as archive:
            return _pairs(path, archive)
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise DataError(
            f"{path}: expected a NumPy .npz archive, came a damaged or other file ({error})"
        ) from None


def _pairs(path: Path, archive: Any) -> dict[str, tuple[Any, Any]]:
    found = {}
    for part, pairs in KEYS.items():
        for inputs, targets in pairs:
            if inputs in archive.files and targets in archive.files:
                found[part] = (_array(path, archive, inputs), _array(path, archive, targets))
                break
    if "train" not in found:
        expected = " or ".join(f"{inputs} and {targets}" for inputs, targets in KEYS["train"])
        raise DataError(
            f"{path}: expected arrays named {expected}; came {', '.join(archive.files) or 'none'}"
        )
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
