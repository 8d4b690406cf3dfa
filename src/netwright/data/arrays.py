"""Tensors and arrays from Python, checked and brought to raw uint8 or float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from netwright.data.labels import as_array, check_finite
from netwright.errors import DataError

CHANNELS = (1, 3, 4)


def read_inputs(inputs: Any, *, where: str) -> tuple[Tensor, bool, bool, list[str]]:
    """Returns (raw inputs, are they images, is the memory ours, notes).

    (N, D) are rows of features; (N, H, W), (N, C, H, W) and (N, H, W, C) are images, channels last where
    the last dimension is 1, 3 or 4 and the first after N is not. uint8 stays; whole numbers from 0 to 255 in
    images become uint8; everything else becomes float32. Raises DataError.
    """
    values = as_array(inputs, where=where)
    if values.dtype.kind not in "buif":
        kind = "objects" if values.dtype.kind == "O" else str(values.dtype)
        raise DataError(f"{where}: expected an array of numbers, came {kind}, shape {values.shape}")
    if values.ndim not in (2, 3, 4) or 0 in values.shape:
        raise DataError(
            f"{where}: expected (N, D) features or (N, H, W), (N, C, H, W), (N, H, W, C) images with N > 0, "
            f"came {values.shape}"
        )
    if values.dtype.kind == "f":
        check_finite(values, where=where)
    image = values.ndim > 2
    notes: list[str] = []
    shaped = _channels_first(values, notes) if image else values
    typed = _typed(shaped, image, notes)
    owned = not np.may_share_memory(typed, values)
    if not typed.flags.c_contiguous or not typed.flags.writeable:
        typed, owned = typed.copy(order="C"), True  # torch cannot wrap memory that must not be written
    if typed.dtype == np.float32 and values.dtype != np.float32:
        check_finite(typed, where=f"{where}, as float32")
    return torch.from_numpy(typed), image, owned, notes


def _channels_first(values: np.ndarray, notes: list[str]) -> np.ndarray:
    if values.ndim == 3:
        return values[:, None]
    if values.shape[3] in CHANNELS and values.shape[1] not in CHANNELS:
        notes.append(
            f"the images came with their channels last, {values.shape[1:]}, and are held channels first"
        )
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2))
    return values


def _typed(values: np.ndarray, image: bool, notes: list[str]) -> np.ndarray:
    if values.dtype == np.uint8 or values.dtype == np.float32:
        return values
    if image and values.dtype.kind in "bui" and values.min() >= 0 and values.max() <= 255:
        notes.append(f"the {values.dtype} images hold whole numbers from 0 to 255 and became uint8")
        return values.astype(np.uint8)
    notes.append(f"the {values.dtype} inputs became float32")
    with np.errstate(over="ignore"):  # what overflows is found and named by the caller
        return values.astype(np.float32)
