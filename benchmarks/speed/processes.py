"""Several processes against one, each with one thread, at the same global batch; prints a Markdown table.

    python benchmarks/speed/processes.py                                        mnist, two networks, two batches
    python benchmarks/speed/processes.py --networks "mlp hidden=[512,512]" --batches 1024 --processes 2 --rounds 5

Runs take turns, one process, then several, then as many runs of one process at the same time, so that a machine whose speed
drifts slows all alike; ratios are taken within a round. The third says what the machine itself has to give: N runs that know nothing of
one another, share no gradient and wait for nobody do N times the work, and are N times as fast as one only where the cores share nothing. An epoch is what metrics.jsonl says of it, validation included and the first epoch left out; the whole
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


def run(command: list[str], folder: Path, copies: int = 1) -> dict[str, float]:
    """Returns the seconds of an epoch after the first, and of the whole command; of several copies at once their mean."""
    began = time.perf_counter()
    folders = [folder / str(number) for number in range(copies)]
    running = [
        subprocess.Popen(
            [*command, "--out", str(one)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for one in folders
    ]
    said = [one.communicate()[1] for one in running]
    whole = time.perf_counter() - began
    for one, errors in zip(running, said, strict=True):
        if one.returncode:
            sys.exit(f"{' '.join(command)} ended with {one.returncode}:\n{errors}")
    seconds: list[float] = []
    for one in folders:
        records = [json.loads(line) for line in (one / "metrics.jsonl").read_text().splitlines()]
        seconds += [record["seconds"] for record in records if "train_loss" in record][1:]
    return {"epoch": statistics.mean(seconds), "whole": whole}


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
    found: dict[str, list[dict[str, float]]] = {"one": [], "several": [], "copies": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            for kind, more, copies in (
                ("one", [], 1),
                ("several", several, 1),
                ("copies", [], options.processes),
            ):
                found[kind].append(run([*command, *more], Path(folder) / f"{kind}-{number}", copies))
    ratios = {
        what: [one[what] / other[what] for one, other in zip(found["one"], found["several"], strict=True)]
        for what in ("epoch", "whole")
    }
    most = [
        options.processes * one["epoch"] / other["epoch"]
        for one, other in zip(found["one"], found["copies"], strict=True)
    ]
    seconds = {kind: spread([one["epoch"] for one in runs]) for kind, runs in found.items()}
    return (
        f"| {network} | {batch} | {seconds['one']} | {seconds['several']} | {spread(ratios['epoch'])} "
        f"| {spread(most)} | {spread(ratios['whole'])} |"
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
        f"| network | batch | one process, s an epoch | {options.processes} {kind}, s an epoch | times as fast "
        f"| {options.processes} runs at once do | whole command |"
    )
    print("|---|---|---|---|---|---|---|")
    for network in options.networks:
        for batch in options.batches:
            print(row(network, batch, options), flush=True)


if __name__ == "__main__":
    main()
