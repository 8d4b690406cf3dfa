"""Checks of the options that several networks share."""

from __future__ import annotations

from typing import Any

from netwright.errors import NetworkError


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
