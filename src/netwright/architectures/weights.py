"""Weights as a number: how many there are, and their checksum."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from netwright.errors import NetworkError


def count_parameters(module: nn.Module) -> int:
    """Returns how many numbers the parameters hold, frozen ones too, shared ones once, buffers not.

    >>> count_parameters(nn.Linear(3, 2))
    8
    """
    return sum(parameter.numel() for parameter in module.parameters())


def weights_sha256(state_dict: Mapping[str, Any]) -> str:
    """Returns the SHA-256, in hex, of a state dict: for each key in sorted order, key and bytes.

    The key is hashed in UTF-8, then the tensor's contiguous little-endian bytes (CONTRACT.md, Commands). Raises
    NetworkError for an entry that is not a dense tensor.

    >>> weights_sha256({"a": torch.zeros(2)}) == hashlib.sha256(b"a" + bytes(8)).hexdigest()
    True
    """
    digest = hashlib.sha256()
    for key in sorted(state_dict):
        tensor = state_dict[key]
        if not isinstance(tensor, torch.Tensor) or tensor.layout is not torch.strided:
            raise NetworkError(
                f"the state dict's entry {key!r} should be a dense tensor, but it is {type(tensor).__name__}"
            )
        digest.update(key.encode("utf-8"))
        digest.update(_little_endian(tensor))
    return digest.hexdigest()


def _little_endian(tensor: torch.Tensor) -> Any:
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    octets = plain.view(torch.uint8)
    if sys.byteorder == "big":
        width = plain.element_size() // (2 if plain.is_complex() else 1)
        octets = octets.view(-1, width).flip(1).reshape(-1)
    return octets.numpy()
