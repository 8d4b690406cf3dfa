"""Preparation of 100 MB of text: `netwright.load` beside the plain calls of the tokenizers library and of NumPy.

    NETWRIGHT_DATA=... python benchmarks/data/text_preparation.py --megabytes 100 --rounds 3

The text is tinyshakespeare's lines, drawn with replacement. Each contestant runs in a process of its own, in turn, from the file to token
ids in one array: "characters" and "bpe" (8,000 byte pairs trained on the text) as a corpus, "words" as a table of texts with classes. The plain calls
train the same tokenizer on the same lines and encode them in one `encode_batch_fast` of the library, or look each code point up with `np.unique`.
Peak memory is that of the process less what it had after importing everything; seconds of a processor are shown beside those of the wall.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import memory

WAYS = ("characters", "bpe", "words")


def write(folder: Path, megabytes: float) -> None:
    """Writes the lines as a text and as a table of texts with two classes."""
    import numpy as np

    source = Path(os.environ["NETWRIGHT_DATA"]) / "tinyshakespeare/input.txt"
    lines = [line for line in source.read_text().splitlines() if line.strip()]
    mean = sum(map(len, lines)) / len(lines) + 1
    drawn = np.random.default_rng(0).integers(0, len(lines), int(megabytes * 2**20 / mean))
    (folder / "text.txt").write_text("".join(f"{lines[one]}\n" for one in drawn))
    with open(folder / "texts.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["text", "said"])
        # A number, so that no two texts are the same: a set of copies would leak.
        table.writerows(
            (f"{lines[one]} {n}", "short" if len(lines[one]) < mean else "long")
            for n, one in enumerate(drawn)
        )


def ours(way: str, folder: Path) -> int:
    import netwright as nw

    whole: dict[str, Any] = {"validation": 0, "test_share": 0}
    if way == "words":
        data = nw.load(
            str(folder / "texts.csv"), text={"column": "text", "tokens": "words"}, target="said", **whole
        )
        return int((data.train.inputs != 0).sum()) if hasattr(data.train, "inputs") else len(data.train)
    data = nw.load(
        str(folder / "text.txt"),
        text={"tokens": way, **({"vocabulary": 8000} if way == "bpe" else {})},
        **whole,
    )
    return len(data.train.ids)


def theirs(way: str, folder: Path) -> int:
    import numpy as np

    if way == "characters":
        codes = np.frombuffer((folder / "text.txt").read_text().encode("utf-32-le"), np.uint32)
        return len(np.unique(codes, return_inverse=True)[1])
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    if way == "bpe":
        lines = (folder / "text.txt").read_text().splitlines(keepends=True)
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer: Any = trainers.BpeTrainer(vocab_size=8000, show_progress=False)
    else:
        from pyarrow import csv as table

        lines = table.read_csv(folder / "texts.csv").column("text").to_pylist()
        tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.Lowercase()
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        trainer = trainers.WordLevelTrainer(vocab_size=20_000, special_tokens=["[UNK]"], show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    encoded = tokenizer.encode_batch_fast(lines, add_special_tokens=False)
    return len(np.concatenate([np.array(one.ids, np.int32) for one in encoded]))


def measure(who: str, way: str, folder: str) -> dict[str, float]:
    import pyarrow.csv  # noqa: F401
    import tokenizers  # noqa: F401

    import netwright.data  # noqa: F401

    before = memory.begin()
    began, used = time.perf_counter(), time.process_time()
    tokens = {"netwright": ours, "plain calls": theirs}[who](way, Path(folder))
    peak = memory.peak_above(before)
    return {
        "seconds": time.perf_counter() - began,
        "of_processor": time.process_time() - used,
        "peak": peak,
        "tokens": tokens,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one)))
        return
    print("| text | | seconds | of a processor | MB a second | peak, MB |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), options.megabytes)
        for way in options.ways:
            file = "texts.csv" if way == "words" else "text.txt"
            size = (Path(folder) / file).stat().st_size / 2**20
            found: dict[str, list[dict[str, float]]] = {"netwright": [], "plain calls": []}
            for _ in range(options.rounds):
                for who, results in found.items():
                    command = [sys.executable, __file__, "--one", who, way, folder]
                    done = subprocess.run(command, capture_output=True, text=True)
                    if done.returncode:
                        raise SystemExit(done.stderr)
                    results.append(json.loads(done.stdout.splitlines()[-1]))
            for who, results in found.items():
                seconds, busy = ([one[key] for one in results] for key in ("seconds", "of_processor"))
                print(
                    f"| {way}, {size:.0f} MB | {who} | {statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f}) | "
                    f"{statistics.median(busy):.1f} | {size / statistics.median(seconds):.1f} | {max(one['peak'] for one in results):.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
