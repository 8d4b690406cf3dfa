"""What a run cost: memory, speed, and the energy that codecarbon estimates."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch


def memory_used(device: torch.device, weights: Path) -> dict[str, int | None]:
    """Returns {`process`, `device`, `weights`} in bytes: the most that this process held, that its tensors took on a GPU, and the file of weights.

    None where the system, or the device, does not say.
    """
    taken = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    size = weights.stat().st_size if weights.exists() else None
    return {"process": _peak(), "device": taken, "weights": size}


def _peak() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (
        peak if sys.platform == "darwin" else 1024 * peak
    )  # bytes there, kilobytes elsewhere (getrusage(2))


@contextlib.contextmanager
def energy_measured(*, asked: bool) -> Iterator[dict[str, Any]]:
    """Gives a dictionary that after the block holds {`kwh`, `cpu_kwh`, `gpu_kwh`, `ram_kwh`, `how`}, or {`reason`}; empty where not `asked`.

    codecarbon's offline tracker: it writes no file and asks no server. `how` is its own statement of what it read.
    """
    found: dict[str, Any] = {}
    tracker = None
    if asked:
        try:
            tracker = _tracker()
            tracker.start()
        except Exception as error:  # whatever it cannot read here, the training goes on
            found["reason"] = " ".join(str(error).split())[:200] or type(error).__name__
            print(f"energy is not measured: {found['reason']}", file=sys.stderr)
    try:
        yield found
    finally:
        if tracker is not None and "reason" not in found:
            with contextlib.suppress(Exception):
                tracker.stop()
                found |= _read(tracker)


def _tracker() -> Any:
    from codecarbon import OfflineEmissionsTracker

    # It says that it begins before it heeds its own log_level.
    logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
    # The country decides only the emissions, of which nothing is reported.
    return OfflineEmissionsTracker(
        country_iso_code="FRA",
        save_to_file=False,
        save_to_api=False,
        log_level="critical",
        allow_multiple_runs=True,
    )


def _read(tracker: Any) -> dict[str, Any]:
    data = tracker.final_emissions_data
    read = ", ".join(" ".join(str(part).split()) for part in getattr(tracker, "_hardware", []))
    watts = f"{data.cpu_power:.3g} W by {data.cpu_model}, {data.ram_power:.3g} W by memory"
    how = f"{read}; tracking the {data.tracking_mode}; {watts} at the end"
    return {
        "kwh": float(data.energy_consumed),
        "cpu_kwh": float(data.cpu_energy),
        "gpu_kwh": float(data.gpu_energy),
        "ram_kwh": float(data.ram_energy),
        "how": f"codecarbon {data.codecarbon_version}: {how}",
    }
