"""Whether a file is still the one that was looked at in the beginning."""

from __future__ import annotations

import os
from pathlib import Path

from netwright.errors import DataError

Stamp = tuple[int, int]


def stamp_of(path: str | Path) -> Stamp:
    """Returns (bytes, nanoseconds of the last change) of a file; raises OSError where there is none."""
    seen = os.stat(path)
    return seen.st_size, seen.st_mtime_ns


def check_stamp(path: str | Path, expected: Stamp) -> None:
    """Raises DataError where a file is gone, or has another size or time of change than `expected`."""
    try:
        found = stamp_of(path)
    except OSError as error:
        raise DataError(
            f"{path}: it was there when the data was loaded, and cannot be reached now ({error.strerror}).\n{_GO_ON}"
        ) from None
    if found != expected:
        how = f"from {expected[0]:,} to {found[0]:,} bytes" if found[0] != expected[0] else "at the same size"
        raise DataError(f"{path}: it was changed ({how}) after the data was loaded.\n{_GO_ON}")


_GO_ON = "Put the file back as it was and go on with: netwright resume RUN; or start anew."
