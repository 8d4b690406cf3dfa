"""Preparation of 1,000,000 rows of a table: `netwright.load` and its preparation beside scikit-learn's calls on what pyarrow reads.

    python benchmarks/data/preparation.py --rows 1000000 --rounds 3

Each runs in a process of its own, in turn: from the file to float32 on which a network can be trained. Peak memory is that of the process less
what it had after importing everything; "the data" is the file and, beside it, the prepared rows as float32.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import memory

COLUMNS = 10


def write(path: Path, rows: int) -> None:
    """Writes a table of six numbers with gaps, three categories, a date and a target."""
    import numpy as np
    import pyarrow
    from pyarrow import csv

    draw = np.random.default_rng(0)
    columns = {f"number{n}": np.round(draw.normal(50, 10, rows), 3) for n in range(6)}
    columns = {name: pyarrow.array(v, mask=draw.random(rows) < 0.05) for name, v in columns.items()}
    for name, count in (("town", 30), ("job", 12), ("plan", 4)):
        columns[name] = pyarrow.array([f"{name} {n}" for n in range(count)]).take(
            pyarrow.array(draw.integers(0, count, rows))
        )
    days = draw.integers(0, 5000, rows).astype("datetime64[D]")
    columns["since"] = pyarrow.array(days)
    columns["left"] = pyarrow.array(draw.integers(0, 2, rows))
    csv.write_csv(pyarrow.table(columns), path)


def ours(path: str) -> object:
    import torch

    import netwright as nw

    data = nw.load(path, target="left", validation=0, test_share=0)
    prepared = torch.empty(len(data.train), *data.input_shape)
    for rows in torch.arange(len(prepared)).split(4096):
        prepared[rows] = data.train.prepared(rows)[0]
    return prepared


def theirs(path: str) -> object:
    import numpy as np
    import torch
    from pyarrow import csv
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    table = csv.read_csv(path)
    numbers = np.stack([table.column(f"number{n}").to_numpy() for n in range(6)], axis=1)
    days = table.column("since").cast("int32").to_numpy()[:, None]
    words = np.stack([table.column(name).to_numpy() for name in ("town", "job", "plan")], axis=1)
    rows = np.concatenate([numbers, days, words], axis=1, dtype=object)
    prepare = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), list(range(7))),
            ("words", OneHotEncoder(sparse_output=False), [7, 8, 9]),
        ]
    )
    return torch.from_numpy(prepare.fit_transform(rows).astype(np.float32))


def measure(who: str, path: str) -> dict:
    import sklearn.compose
    import sklearn.tree  # noqa: F401
    import torch  # noqa: F401

    before = memory.begin()
    began, used = time.perf_counter(), time.process_time()
    prepared = {"netwright": ours, "scikit-learn": theirs}[who](path)
    seconds, busy = time.perf_counter() - began, time.process_time() - used
    peak = memory.peak_above(before)
    return {
        "seconds": seconds,
        "of_processor": busy,
        "peak": peak,
        "prepared": prepared.numel() * 4 / 2**20,
        "width": prepared.shape[1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one)))
        return
    found: dict[str, list[dict]] = {"netwright": [], "scikit-learn": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        write(path, options.rows)
        size = path.stat().st_size / 2**20
        for _ in range(options.rounds):
            for who, results in found.items():
                done = subprocess.run(
                    [sys.executable, __file__, "--one", who, str(path)], capture_output=True, text=True
                )
                if done.returncode:
                    raise SystemExit(done.stderr)
                results.append(json.loads(done.stdout.splitlines()[-1]))
    print(
        f"{options.rows:,} rows, {size:.0f} MB of CSV\n\n| | seconds | of a processor | rows a second | peak, MB | prepared, MB |\n|---|---|---|---|---|---|"
    )
    for who, results in found.items():
        seconds = [one["seconds"] for one in results]
        print(
            f"| {who} | {statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f}) | "
            f"{statistics.median(one['of_processor'] for one in results):.2f} | {options.rows / statistics.median(seconds):,.0f} | {max(one['peak'] for one in results):.0f} | "
            f"{results[0]['prepared']:.0f} ({results[0]['width']} columns) |"
        )
    ratios = [
        a["of_processor"] / b["of_processor"] for a, b in zip(found["netwright"], found["scikit-learn"])
    ]
    print(
        f"\nnetwright over scikit-learn, seconds of a processor: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
