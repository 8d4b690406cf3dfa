"""Checks of the options that several networks share."""

from __future__ import annotations

from typing import Any

from torch import nn

from netwright.errors import NetworkError, unknown_name

NORMS = ("batch", "group", "layer", "none")


def check_dropout(dropout: Any, option: str = "dropout") -> None:
    """Raises NetworkError unless this is a share from 0 up to, not including, 1."""
    if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
        raise NetworkError(f"`{option}` expects a share from 0 up to, not including, 1; got {dropout!r}")


def check_switch(value: Any, option: str) -> None:
    """Raises NetworkError unless this is true or false."""
    if not isinstance(value, bool):
        raise NetworkError(f"`{option}` expects true or false; got {value!r}")


def check_heads(width: int, heads: int) -> None:
    """Raises NetworkError unless each head of an attention has as much of the width."""
    if width % heads:
        raise NetworkError(
            f"`width` is a multiple of `heads`, so that each head has as much; got {width} and {heads}"
        )


def check_whole(value: Any, option: str, *, least: int = 1) -> int:
    """Returns a whole number; raises NetworkError unless it is one from `least` on."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise NetworkError(f"`{option}` expects a whole number from {least} on; got {value!r}")
    return value


def choose_norm(norm: Any, batch_norm: Any = False) -> str:
    """Returns which of NORMS is meant: `norm`, where it is said, else batch norm or none; raises UnknownNameError."""
    check_switch(batch_norm, "batch_norm")
    if norm is None:
        return "batch" if batch_norm else "none"
    if norm not in NORMS:
        raise unknown_name("norm", str(norm), NORMS)
    return str(norm)


def normed(size: int, norm: str, of_batch: type[nn.Module]) -> list[nn.Module]:
    """Returns the layer, if any, that normalises (N, size, ...): over the batch, over all of an example, or over 8, 4, 2 or 1 groups of it."""
    if norm == "none":
        return []
    if norm == "batch":
        return [of_batch(size)]
    groups = 1 if norm == "layer" else max(count for count in (1, 2, 4, 8) if size % count == 0)
    return [nn.GroupNorm(groups, size)]
