"""ETTh1 with the split, the horizons and the scores of the papers: `netwright fit` beside what these print, and plain forecasts.

    NETWRIGHT_DATA=... python benchmarks/data/series.py --horizons 96 336 --seeds 3
    NETWRIGHT_DATA=... python benchmarks/data/series.py --horizons 96 --seeds 3 --network series-transformer -- --epochs 10

All seven columns in and out, 336 rows to look back on, 12, 4 and 4 months of 30 days to train, to validate and to test; squared and absolute
errors of the columns over their standard deviation in training, the mean over rows ahead and columns. What stands behind `--` is passed on to `netwright fit`.

The papers' figures: DLinear from Zeng et al. (arXiv:2205.13504, table 2), PatchTST/42 from Nie et al. (arXiv:2211.14730, table 3), Repeat
(each row as the last one) from the former. Their test part leaves out its last incomplete batch, ours leaves out nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TABLE = Path(os.environ.get("NETWRIGHT_DATA", ".")) / "ett/ETTh1.csv"
SPLIT = {
    "series.rows": 14400,
    "data.validation": 2880,
    "data.test_share": 2880,
    "series.window": 336,
    "data.time": "date",
}
# {horizon: (squared, absolute error)}
PUBLISHED = {
    "DLinear (Zeng et al.)": {
        96: (0.375, 0.399),
        192: (0.405, 0.416),
        336: (0.439, 0.443),
        720: (0.472, 0.490),
    },
    "PatchTST/42 (Nie et al.)": {
        96: (0.375, 0.399),
        192: (0.414, 0.421),
        336: (0.431, 0.436),
        720: (0.449, 0.466),
    },
    "Repeat (Zeng et al.)": {96: (1.295, 0.713), 192: (1.325, 0.733)},
}


def fit(horizon: int, network: str | None, seed: int, words: list[str]) -> dict[str, Any]:
    """Runs `netwright fit` as a command and returns its JSON."""
    chosen = [] if network is None else ["--network", network]
    settings = [word for key, value in SPLIT.items() for word in ("--set", f"{key}={value}")]
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "netwright", "fit", str(TABLE), "--horizon", str(horizon)]
        done = subprocess.run(
            [
                *command,
                *settings,
                *chosen,
                "--seed",
                str(seed),
                "--out",
                f"{out}/run",
                "--json",
                "--quiet",
                *words,
            ],
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def row(horizon: int, title: str, squared: list[float], absolute: list[float], seconds: str = "") -> str:
    def shown(values: list[float]) -> str:
        spread = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
        return f"{statistics.fmean(values):.3f}{spread}"

    return f"| {horizon} | {title} | {shown(squared)} | {shown(absolute)} | {seconds} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--horizons", type=int, nargs="+", default=[96, 192, 336, 720])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--network")
    parser.add_argument("words", nargs="*", help="behind --: passed on to netwright fit")
    options = parser.parse_args()
    title = "netwright fit" + (f" --network {options.network}" if options.network else "")
    print("| rows ahead | forecast | MSE | MAE | seconds |\n|---|---|---|---|---|")
    for horizon in options.horizons:
        runs = [fit(horizon, options.network, seed, options.words) for seed in range(options.seeds)]
        tests = [run["test"] for run in runs]
        seconds = f"{statistics.median(run['seconds'] for run in runs):.0f}"
        scores = ([test[key] for test in tests] for key in ("scaled_mse", "scaled_mae"))
        print(row(horizon, title, *scores, seconds), flush=True)
        for name, plain in tests[0]["beside"].items():
            print(row(horizon, name, [plain["scaled_mse"]], [plain["scaled_mae"]]), flush=True)
        for name, figures in PUBLISHED.items():
            if horizon in figures:
                print(row(horizon, name, *([value] for value in figures[horizon])), flush=True)


if __name__ == "__main__":
    main()
