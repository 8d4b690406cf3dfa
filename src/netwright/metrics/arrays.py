"""Tensors or arrays in, checked float64 and int64 NumPy arrays out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from netwright.errors import NetwrightError


def as_array(values: Any) -> np.ndarray:
    """Returns the values as a NumPy array on the host; floats become float64, which also holds bfloat16.

    >>> as_array(torch.tensor([0.5, 1.0], dtype=torch.bfloat16))
    array([0.5, 1. ])
    """
    if isinstance(values, torch.Tensor):
        values = values.detach()
        if values.is_floating_point():
            values = values.double()
        return values.cpu().numpy()
    array = np.asarray(values)
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def require_finite(array: np.ndarray, *, what: str, advice: str) -> None:
    """Raises NetwrightError with the count and the first row when a row holds NaN or infinity."""
    bad = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
    if bad.any():
        raise NetwrightError(
            f"{what} must be finite numbers: {int(bad.sum())} of {len(array)} rows hold NaN or infinity, "
            f"the first is row {int(bad.argmax())}.\n{advice}"
        )
