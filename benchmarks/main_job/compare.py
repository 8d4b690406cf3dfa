"""Runs the contestants in turn, A B C A B C ..., each in a process of its own, and prints a Markdown table.

    python benchmarks/main_job/compare.py --tutorial-python ../torchvision-env/bin/python

Ratios are taken within one round, so that a machine whose speed drifts slows all contestants of a round alike.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
TITLES = {
    "tutorial_loop": "tutorial loop (torchvision, DataLoader)",
    "whole_tensors": "whole-tensor loop, by hand",
    "netwright_fit": "netwright fit, everything on",
}


def measure(contestant: str, python: str, epochs: int, folder: str) -> dict[str, float]:
    """Returns seconds an epoch (the median), validation accuracy and peak memory of one run."""
    command = [python, str(HERE / f"{contestant}.py"), str(epochs), folder]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{contestant} failed:\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    return {**found, "seconds": statistics.median(found["seconds"])}


def spread(numbers: list[float], digits: int = 2) -> str:
    return f"{statistics.median(numbers):.{digits}f} ({min(numbers):.{digits}f} to {max(numbers):.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tutorial-python", help="the Python of an environment with torchvision")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    pythons = {"whole_tensors": sys.executable, "netwright_fit": sys.executable}
    if options.tutorial_python:
        pythons = {"tutorial_loop": options.tutorial_python, **pythons}
    results: dict[str, list[dict[str, float]]] = {name: [] for name in pythons}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for name, python in pythons.items():
                results[name].append(measure(name, python, options.epochs, folder))
    print("| | seconds an epoch | times the whole-tensor loop | validation accuracy | peak memory, MB |")
    print("|---|---|---|---|---|")
    for name, runs in results.items():
        ratios = [
            run["seconds"] / other["seconds"]
            for run, other in zip(runs, results["whole_tensors"], strict=True)
        ]
        print(
            f"| {TITLES[name]} | {spread([run['seconds'] for run in runs])} | {spread(ratios)} "
            f"| {spread([run['accuracy'] for run in runs], 4)} | {spread([run['peak_mb'] for run in runs], 0)} |"
        )
    if "tutorial_loop" in results:
        pairs = zip(results["tutorial_loop"], results["netwright_fit"], strict=True)
        print(
            f"\nThe tutorial loop takes {spread([a['seconds'] / b['seconds'] for a, b in pairs])} times as long as netwright fit."
        )
    print(f"\nMedian (smallest to largest) of {options.rounds} rounds of {options.epochs} epochs.")


if __name__ == "__main__":
    main()
