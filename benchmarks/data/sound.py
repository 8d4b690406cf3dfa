"""Spoken digits: accuracy of `netwright fit FOLDER`, and what reading and preparing recordings takes beside the plain calls.

    NETWRIGHT_DATA=... python benchmarks/data/sound.py accuracy --seeds 3
    NETWRIGHT_DATA=... python benchmarks/data/sound.py speakers --seeds 1
    NETWRIGHT_DATA=... python benchmarks/data/sound.py throughput --rounds 5

`accuracy`: the official test set (takes 0 to 4 of each speaker); `speakers`: each speaker in turn held out wholly. Both run
`netwright fit` as a command with everything on; further words are passed on to it. `throughput`: 3,000 recordings to
waveforms, and one epoch of log-mel batches of 64, beside soundfile.read and torch.stft alone, in turns, in one process.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ARCHIVE = Path(os.environ.get("NETWRIGHT_DATA", ".")) / "fsdd/fsdd_recordings.tar.gz"
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")


def example():  # type: ignore[no-untyped-def]
    """The module examples/spoken_digits.py, which knows the archive."""
    path = Path(__file__).parents[2] / "examples" / "spoken_digits.py"
    spec = importlib.util.spec_from_file_location("spoken_digits", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fit(folder: Path, seed: int, words: list[str]) -> dict:
    """Runs `netwright fit FOLDER` and returns its JSON, and the seconds of the whole process."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "netwright", "fit", str(folder), "--seed", str(seed)]
        began = time.perf_counter()
        done = subprocess.run(
            [*command, "--out", f"{out}/run", "--json", "--quiet", *words], capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(done.stderr)
        return {**json.loads(done.stdout), "whole": time.perf_counter() - began}


def row(title: str, runs: list[dict]) -> str:
    accuracy = [run["test"]["accuracy"] for run in runs]
    seconds = statistics.fmean(run["seconds"] for run in runs)
    return (
        f"| {title} | {len(runs)} | {statistics.fmean(accuracy):.2%} | {min(accuracy):.2%} to {max(accuracy):.2%} | "
        f"{seconds:.0f} | {runs[0]['parameters']:,} |"
    )


def accuracy(folder: Path, options: argparse.Namespace) -> None:
    held_out = SPEAKERS if options.what == "speakers" else (None,)
    print(
        "| test set | seeds | accuracy, mean | least to most | seconds | parameters |\n|---|---|---|---|---|---|"
    )
    everything = []
    for speaker in held_out:
        data = folder / (speaker or "official")
        example().unpack(ARCHIVE, data, speaker=speaker)
        runs = []
        for seed in range(options.seeds):
            runs.append(fit(data, seed, options.words))
            found = runs[-1]
            print(
                f"{speaker or 'official'} seed {seed}: {found['test']['accuracy']:.2%}, {found['seconds']:.0f} s of "
                f"{found['whole']:.0f}, findings {[finding['code'] for finding in found['findings']]}",
                file=sys.stderr,
            )
        print(row(speaker or "takes 0 to 4 of each speaker", runs), flush=True)
        everything += runs
    if len(held_out) > 1:
        print(row("all six", everything))


def throughput(folder: Path, options: argparse.Namespace) -> None:
    import soundfile
    import torch

    import netwright as nw

    example().unpack(ARCHIVE, folder / "official")
    data = nw.load(folder / "official")
    files = sorted((folder / "official").rglob("*.wav"))
    window = torch.hann_window(data.preparation.window)
    times: dict[str, list[tuple[float, float]]] = {}

    def clock(title: str, work) -> None:  # type: ignore[no-untyped-def]
        began = time.perf_counter(), time.process_time()
        work()
        taken = time.perf_counter() - began[0], time.process_time() - began[1]
        times.setdefault(title, []).append(taken)

    def plain_read() -> None:
        for file in files:
            soundfile.read(file, dtype="float32")

    def plain_transform() -> None:
        for waves in data.train.inputs.split(64):
            power = (
                torch.stft(
                    waves,
                    data.preparation.fft,
                    data.preparation.hop,
                    len(window),
                    window,
                    return_complex=True,
                )
                .abs()
                .square()
            )
            torch.matmul(data.preparation.filters, power).clamp(min=1e-10).log10()

    def epoch() -> None:
        for _ in data.train.epoch(64, seed=0, epoch=0):
            pass

    for _ in range(options.rounds):
        clock("soundfile.read of each file", plain_read)
        clock(
            "netwright.load: header, reading, rules, hashes, statistics", lambda: nw.load(folder / "official")
        )
        clock("torch.stft and a matrix product over the training part", plain_transform)
        clock("an epoch of batches, gathered in random order and prepared", epoch)
    print(f"{len(files):,} recordings, {len(data.train):,} to train, {torch.get_num_threads()} threads")
    print("| work | seconds, median (least to most) | of a processor |\n|---|---|---|")
    for title, taken in times.items():
        whole, processor = zip(*taken, strict=True)
        print(
            f"| {title} | {statistics.median(whole):.2f} ({min(whole):.2f} to {max(whole):.2f}) | "
            f"{statistics.median(processor):.2f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("accuracy", "speakers", "throughput"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    options, options.words = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        (throughput if options.what == "throughput" else accuracy)(Path(folder), options)


if __name__ == "__main__":
    main()
