"""Keeps what the converters print, warn and log from a person's screen: what matters of it comes as an exception."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Silences both streams, warnings, the root logger and those named, and gives their levels back at the end."""
    silenced = [logging.getLogger(), *map(logging.getLogger, loggers)]
    levels = [one.level for one in silenced]
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            for one in silenced:
                one.setLevel(logging.CRITICAL)
            yield
    finally:
        for one, level in zip(silenced, levels, strict=True):
            one.setLevel(level)
