"""Runs the contestants in turn, A B C A B C ..., each in a process of its own, and prints Markdown tables.

    python benchmarks/speed/compare.py --peers PEERS_ENV/bin/python                       everything, about two hours
    python benchmarks/speed/compare.py --networks mlp --batches 64 --only loader netwright --rounds 3

`--peers` is the Python of an environment made from `environment.txt`; what it cannot import is left out and named. Ratios are
taken within one round, so that a machine whose speed drifts slows all contestants of a round alike.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
TITLES = {
    "tutorial": "tutorial loop (torchvision, DataLoader)",
    "loader": "plain loop, DataLoader over tensors",
    "whole_tensors": "whole-tensor loop, by hand",
    "ignite": "Ignite",
    "fabric": "Fabric",
    "accelerate": "Accelerate",
    "skorch": "skorch",
    "fastai": "fastai",
    "lightning": "Lightning",
    "keras": "Keras (torch)",
    "netwright_loop": "netwright.train, a loop",
    "netwright": "netwright fit, everything on",
    "netwright_auto": "netwright fit --precision auto",
}


def run(python: str, contestant: str, network: str, batch: int, epochs: int, folder: str) -> dict | str:
    """Returns what a contestant measured and its seconds as a whole process, or the last line of its error."""
    command = [python, str(HERE / "contestants.py"), contestant, network, str(batch), str(epochs), folder]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    whole = time.perf_counter() - began
    if done.returncode:
        return (done.stderr.strip() or "no output").splitlines()[-1]
    return {**json.loads(done.stdout.splitlines()[-1]), "whole": whole}


@dataclass(frozen=True)
class Ceiling:
    """Of an epoch: its operations and least bytes; what the device does of both a second; its bare steps' seconds."""

    operations: float
    products: float  # operations a second, in matrix products
    bytes: float
    copied: float  # bytes a second, in copies
    alone: float

    @property
    def needed(self) -> float:
        return self.operations / self.products

    @property
    def moved(self) -> float:
        return self.bytes / self.copied


def ceiling(python: str, network: str, batch: int) -> Ceiling:
    of_all = f"({network!r}, {batch})"
    code = (
        f"import work; print(work.operations{of_all}, work.products_a_second(), work.least_bytes{of_all}, "
        f"work.bytes_a_second(), work.steps_alone{of_all})"
    )
    out = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, cwd=HERE).stdout
    return Ceiling(*(float(number) for number in out.split()))


def device(python: str) -> str:
    """Returns the name of the CUDA device that the contestants compute on, or "" where they use the processor."""
    code = "import work, torch; print(torch.cuda.get_device_name() if work.DEVICE.type == 'cuda' else '')"
    return subprocess.run(
        [python, "-c", code], capture_output=True, text=True, check=True, cwd=HERE
    ).stdout.strip()


def spread(numbers: list[float], digits: int = 2) -> str:
    return f"{statistics.median(numbers):.{digits}f} ({min(numbers):.{digits}f} to {max(numbers):.{digits}f})"


def table(network: str, batch: int, results: dict[str, list[dict]], best: list[Ceiling]) -> str:
    base = [found["epoch"] for found in results["whole_tensors"]]
    on_device = "device_peak" in results["whole_tensors"][0]
    lines = [
        f"### {network}, batch {batch}",
        "",
        "| | seconds an epoch | times the whole-tensor loop | whole process, s | test accuracy | peak memory, MB |"
        + (" of the device |" if on_device else ""),
        "|---" * (7 if on_device else 6) + "|",
    ]
    for name, runs in results.items():
        ratios = [found["epoch"] / other for found, other in zip(runs, base, strict=True)]
        lines.append(
            f"| {TITLES[name]} | {spread([found['epoch'] for found in runs])} | {spread(ratios)} "
            f"| {spread([found['whole'] for found in runs], 1)} | {spread([found['accuracy'] for found in runs], 4)} "
            f"| {spread([found['peak'] for found in runs], 0)} |"
            + (f" {spread([found['device_peak'] for found in runs], 0)} |" if on_device else "")
        )
    needed = [one.needed for one in best]
    shares = [
        f"{TITLES[name]} {spread([other / found['epoch'] for found, other in zip(results[name], needed, strict=True)])}"
        for name in ("whole_tensors", "netwright_loop", "netwright")
        if name in results
    ]
    lines += [
        "",
        f"An epoch has {best[0].operations / 1e9:.0f}e9 operations in matrix products and convolutions; at the {spread([one.products / 1e9 for one in best], 0)}e9 "
        f"a second that products of 2,048 x 2,048 matrices reach here, they would take {spread(needed)} s. It moves {best[0].bytes / 1e9:.1f}e9 bytes at the "
        f"least; at the {spread([one.copied / 1e9 for one in best], 0)}e9 a second of a copy, {spread([one.moved for one in best])} s. The steps alone, always on "
        f"one batch that is at hand, take {spread([one.alone for one in best])} s: {spread([one.needed / one.alone for one in best])} "
        f"of the rate of products. Reached of it: {'; '.join(shares)}.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", default=sys.executable, help="the Python of an environment with the peers")
    parser.add_argument(
        "--networks", nargs="*", default=["mlp", "cnn"], choices=("mlp", "cnn", "transformer")
    )
    parser.add_argument("--batches", nargs="*", type=int, default=[64, 1024])
    parser.add_argument("--only", nargs="*", choices=TITLES, default=list(TITLES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    names = [name for name in TITLES if name in {*options.only, "whole_tensors"}]
    print(
        f"{device(options.peers) or platform.platform()}, {options.rounds} rounds of {options.epochs} epochs, median (least to most)\n"
    )
    for network in options.networks:
        for batch in options.batches:
            results: dict[str, list[dict]] = {name: [] for name in names}
            best = []
            with tempfile.TemporaryDirectory() as folder:
                for _ in range(options.rounds):
                    best.append(ceiling(options.peers, network, batch))
                    for name in list(results):
                        found = run(options.peers, name, network, batch, options.epochs, folder)
                        if isinstance(found, str):
                            print(f"{TITLES[name]} is left out: {found}", file=sys.stderr)
                            del results[name]
                        else:
                            results[name].append(found)
            print(table(network, batch, results, best), flush=True)


if __name__ == "__main__":
    main()
