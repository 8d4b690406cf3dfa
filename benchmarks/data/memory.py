"""The most memory that a process holds from now on, as Linux counts it."""

from __future__ import annotations

from pathlib import Path


def begin() -> float:
    """Forgets the peak so far, which a process inherits from the one that started it, and returns the MB held now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _megabytes("VmRSS")


def peak_above(begun: float) -> float:
    """Returns how many MB more than `begun` were held at most since."""
    return _megabytes("VmHWM") - begun


def _megabytes(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))
