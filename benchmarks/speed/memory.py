"""Peak memory of `netwright fit` beside that of its data: what is held more than the tensors; prints a Markdown table.

    NETWRIGHT_DATA=... python benchmarks/speed/memory.py
    NETWRIGHT_DATA=... python benchmarks/speed/memory.py --sources mnist --rounds 5

The same network is fitted for one epoch to the digits of scikit-learn, 1,797 images of 8 x 8, which weigh nothing: what that takes is
Python, PyTorch and netwright themselves. What a larger set takes more is compared with its tensors as they are kept, images in bytes
and labels in 64 bits. Peaks are those of the whole process (ru_maxrss): reading, training, test, guard and report included.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

MB = 1e6
# Images and the bytes of one with its label.
TENSORS = {
    "digits": 1_797 * (64 + 8),
    "mnist": 70_000 * (784 + 8),
    "fashion-mnist": 70_000 * (784 + 8),
    "cifar10": 60_000 * (3_072 + 8),
}


def peak(source: str, network: str) -> float:
    """Returns the most bytes that `netwright fit` had in memory."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "netwright", "fit", source, "--network", network, "--epochs", "1"]
        command += ["--device", "cpu", "--quiet", "--json", "--out", f"{folder}/run"]
        with open(f"{folder}/said", "w+") as said:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
            _, status, used = os.wait4(process.pid, 0)
            if status:
                said.seek(0)
                sys.exit(
                    f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}:\n{said.read()}"
                )
    return used.ru_maxrss * 1024


def spread(numbers: list[float]) -> str:
    return f"{statistics.median(numbers):.0f} ({min(numbers):.0f} to {max(numbers):.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sources", nargs="*", choices=TENSORS, default=["mnist", "fashion-mnist", "cifar10"]
    )
    parser.add_argument("--network", default="mlp")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    names = ["digits", *options.sources]
    peaks: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            peaks[name].append(peak(name, options.network))
    print(f"{options.network}, {options.rounds} rounds, MB, median (least to most)\n")
    print("| | peak | more than digits | tensors | more than them |")
    print("|---|---|---|---|---|")
    for name in names:
        more = [(one - none) / MB for one, none in zip(peaks[name], peaks["digits"], strict=True)]
        tensors = (TENSORS[name] - TENSORS["digits"]) / MB
        print(
            f"| {name} | {spread([one / MB for one in peaks[name]])} | {spread(more)} | {tensors:.0f} "
            f"| {spread([one - tensors for one in more])} |"
        )


if __name__ == "__main__":
    main()
