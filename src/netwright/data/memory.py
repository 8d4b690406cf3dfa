"""How much memory is free, and whether a set is held there or read from disk as it goes."""

from __future__ import annotations

from typing import Literal

from netwright.errors import DataError

Stream = bool | Literal["auto"]


def free_memory() -> int | None:
    """Returns the bytes of memory that are free for use, or None where /proc/meminfo does not say."""
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None


def check_memory(needed: int, where: str, *, advice: str) -> None:
    """Raises DataError where a set would not fit into the memory that is free (where the system tells it)."""
    free = free_memory()
    if free is not None and needed > 0.9 * free:
        raise DataError(
            f"{where}: unfolded, the set takes {size_in_words(needed)}, and {size_in_words(free)} of memory are "
            f"free.\n{advice}"
        )


def choose_stream(stream: Stream, needed: int, where: str, *, advice: str = "") -> tuple[bool, str]:
    """Returns whether a set of `needed` bytes is streamed, and the sentence that says why.

    `stream` as in the recipe: true, false, or "auto", which streams what takes more than half of the free
    memory. Raises DataError where it is to be held and cannot.
    """
    takes = f"in memory the inputs would take {size_in_words(needed)}"
    if stream is True:
        return True, f"streamed from disk, as asked ({takes})"
    if stream is False:
        check_memory(needed, where, advice=advice or "Stream it from disk: --set data.stream=true")
        return False, f"held in memory, as asked ({size_in_words(needed)})"
    if stream != "auto":
        raise DataError(f"stream: expected true, false or 'auto', came {stream!r}")
    free = free_memory()
    if free is None or needed < free / 2:
        return False, ""
    return True, f"streamed from disk: {takes}, more than half of the {size_in_words(free)} that are free"


def size_in_words(count: int) -> str:
    """Returns a number of bytes as people read it.

    >>> size_in_words(1_500_000), size_in_words(42)
    ('1.5 MB', '42 bytes')
    """
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:,.1f} {name}"
    return f"{count} bytes"
