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


def ceiling(python: str, network: str, batch: int) -> tuple[float, float, float]:
    """Returns the operations of an epoch, the machine's a second in matrix products, and an epoch's seconds of bare steps."""
    code = (
        f"import work; print(work.operations({network!r}, {batch}), work.products_a_second(), "
        f"work.steps_alone({network!r}, {batch}))"
    )
    out = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, cwd=HERE).stdout
    operations, rate, alone = (float(number) for number in out.split())
    return operations, rate, alone


def spread(numbers: list[float], digits: int = 2) -> str:
    return f"{statistics.median(numbers):.{digits}f} ({min(numbers):.{digits}f} to {max(numbers):.{digits}f})"


def table(
    network: str, batch: int, results: dict[str, list[dict]], best: list[tuple[float, float, float]]
) -> str:
    base = [found["epoch"] for found in results["whole_tensors"]]
    lines = [
        f"### {network}, batch {batch}",
        "",
        "| | seconds an epoch | times the whole-tensor loop | whole process, s | test accuracy | peak memory, MB |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in results.items():
        ratios = [found["epoch"] / other for found, other in zip(runs, base, strict=True)]
        lines.append(
            f"| {TITLES[name]} | {spread([found['epoch'] for found in runs])} | {spread(ratios)} "
            f"| {spread([found['whole'] for found in runs], 1)} | {spread([found['accuracy'] for found in runs], 4)} "
            f"| {spread([found['peak'] for found in runs], 0)} |"
        )
    needed = [count / rate for count, rate, _ in best]
    shares = [
        f"{TITLES[name]} {spread([other / found['epoch'] for found, other in zip(results[name], needed, strict=True)])}"
        for name in ("whole_tensors", "netwright_loop", "netwright")
        if name in results
    ]
    lines += [
        "",
        f"An epoch has {best[0][0] / 1e9:.0f}e9 operations in matrix products and convolutions; at the {spread([rate / 1e9 for _, rate, _ in best], 0)}e9 "
        f"a second that products of 2,048 x 2,048 matrices reach here, they would take {spread(needed)} s. The steps alone, always on "
        f"one batch that is at hand, take {spread([alone for _, _, alone in best])} s: {spread([one / alone for one, (_, _, alone) in zip(needed, best, strict=True)])} "
        f"of that rate. Reached of it: {'; '.join(shares)}.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", default=sys.executable, help="the Python of an environment with the peers")
    parser.add_argument("--networks", nargs="*", default=["mlp", "cnn"], choices=("mlp", "cnn"))
    parser.add_argument("--batches", nargs="*", type=int, default=[64, 1024])
    parser.add_argument("--only", nargs="*", choices=TITLES, default=list(TITLES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    names = [name for name in TITLES if name in {*options.only, "whole_tensors"}]
    print(
        f"{platform.platform()}, {options.rounds} rounds of {options.epochs} epochs, median (least to most)\n"
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
