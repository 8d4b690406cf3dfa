"""Several processes against one, each with one thread, at the same global batch; prints a Markdown table.

    python benchmarks/speed/processes.py                                        mnist, two networks, two batches
    python benchmarks/speed/processes.py --networks "mlp hidden=[512,512]" --batches 1024 --processes 2 --rounds 5

Runs take turns, one process and then several, so that a machine whose speed drifts slows both alike; ratios are taken
within a round. An epoch is what metrics.jsonl says of it, validation included and the first epoch left out; the whole
process includes imports, reading the data and the test. Nothing else may run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NETWORKS = ["mlp hidden=[512,512]", "cnn"]


def run(command: list[str], folder: Path) -> dict[str, float]:
    """Returns the seconds of an epoch after the first, and of the whole command."""
    began = time.perf_counter()
    done = subprocess.run(
        [*command, "--out", str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    whole = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    seconds = [record["seconds"] for record in records if "train_loss" in record]
    return {"epoch": statistics.mean(seconds[1:]), "whole": whole}


def spread(numbers: list[float]) -> str:
    return f"{statistics.median(numbers):.2f} ({min(numbers):.2f} to {max(numbers):.2f})"


def row(network: str, batch: int, options: argparse.Namespace) -> str:
    name, *settings = network.split()
    command = [
        sys.executable,
        "-m",
        "netwright",
        "fit",
        options.source,
        "--network",
        name,
        "--batch",
        str(batch),
    ]
    command += ["--epochs", str(options.epochs), "--device", "cpu", "--no-examine", "--quiet", "--json"]
    command += [word for setting in settings for word in ("--set", f"network.{setting}")]
    several = [
        "--processes",
        str(options.processes),
        *(["--set", "train.shard=true"] if options.shard else []),
    ]
    found: dict[str, list[dict[str, float]]] = {"one": [], "several": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            for kind, more in (("one", []), ("several", several)):
                found[kind].append(run([*command, *more], Path(folder) / f"{kind}-{number}"))
    ratios = {
        what: [one[what] / other[what] for one, other in zip(found["one"], found["several"], strict=True)]
        for what in ("epoch", "whole")
    }
    seconds = {kind: spread([one["epoch"] for one in runs]) for kind, runs in found.items()}
    return (
        f"| {network} | {batch} | {seconds['one']} | {seconds['several']} | {spread(ratios['epoch'])} "
        f"| {spread(ratios['whole'])} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", default="mnist", help="what netwright fit takes")
    parser.add_argument(
        "--networks", nargs="*", default=NETWORKS, help='a name and its options: "cnn channels=[8,16]"'
    )
    parser.add_argument("--batches", nargs="*", type=int, default=[64, 1024])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--shard", action="store_true", help="divide the weights among the processes (FSDP2)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3, help="at least 2: the first is not counted")
    options = parser.parse_args()
    if options.epochs < 2 or options.rounds < 1:
        parser.error("--epochs is at least 2 and --rounds at least 1")
    kind = "processes which share the weights" if options.shard else "processes"
    print(
        f"{platform.platform()}, {options.rounds} rounds of {options.epochs} epochs, median (least to most)\n"
    )
    print(
        f"| network | batch | one process, s an epoch | {options.processes} {kind}, s an epoch | times as fast | whole command |"
    )
    print("|---|---|---|---|---|---|")
    for network in options.networks:
        for batch in options.batches:
            print(row(network, batch, options), flush=True)


if __name__ == "__main__":
    main()
