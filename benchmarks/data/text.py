"""Texts: `netwright fit` beside TF-IDF and logistic regression of scikit-learn, on the same split, over some seeds.

    NETWRIGHT_DATA=... python benchmarks/data/text.py [seeds] [network ...]

Prints a table in Markdown: accuracy on the test part as mean (least to most) over the seeds 0, 1, …, and the seconds of
training. The linear model sees the training part alone, as the network does; of words, with scikit-learn's defaults, and of words
and pairs of words with C = 10 and sublinear counts, which were not chosen by these scores.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from netwright.data import load
from netwright.fitting import carry_out
from netwright.recipe import Recipe

SETS: dict[str, dict[str, Any]] = {
    "rt-polarity": {"data.source": "rt-polarity"},
    "sms-spam": {
        "data.source": "sms-spam/SMSSpamCollection",
        "text.column": "column2",
        "data.target": "column1",
    },
}
LINEAR: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "TF-IDF, logistic regression": ({}, {"max_iter": 1000}),
    "the same with pairs of words": (
        {"ngram_range": (1, 2), "sublinear_tf": True},
        {"C": 10, "max_iter": 1000},
    ),
}


def fitted(entries: dict[str, Any], network: str | None, seed: int) -> tuple[float, float]:
    """Returns accuracy and seconds of a fit."""
    layers = {**entries, "train.seed": seed} | ({} if network is None else {"network.name": network})
    with tempfile.TemporaryDirectory() as folder:
        run = carry_out(Recipe.build(layers), out=Path(folder) / "run", quiet=True)
        assert run.result is not None
        return run.result["test"]["accuracy"], run.result["seconds"]


def linear(entries: dict[str, Any], kind: str, seed: int) -> tuple[float, float]:
    """Returns the same of a linear model."""
    data = load(
        entries["data.source"],
        text=entries.get("text.column"),
        target=entries.get("data.target"),
        seed=seed,
    )
    features, options = LINEAR[kind]
    began = time.perf_counter()
    vectors = TfidfVectorizer(**features)
    model = LogisticRegression(**options).fit(vectors.fit_transform(data.train.texts), data.train.targets)
    seconds = time.perf_counter() - began
    return float(model.score(vectors.transform(data.test.texts), data.test.targets)), seconds


def main() -> None:
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    networks = sys.argv[2:] or [None]
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    root = Path(os.environ["NETWRIGHT_DATA"])
    print("| set | | test accuracy | seconds |\n|---|---|---|---|")
    for name, entries in SETS.items():
        entries = {**entries, "data.source": str(root / entries["data.source"])}
        rows = {f"netwright fit{f' --network {one}' if one else ''}": (fitted, one) for one in networks}
        rows |= {kind: (linear, kind) for kind in LINEAR}
        for called, (measure, option) in rows.items():
            scores, times = zip(*(measure(entries, option, seed) for seed in seeds))  # type: ignore[operator]
            spread = f"{min(scores):.4f} to {max(scores):.4f}"
            print(
                f"| {name} | {called} | {statistics.mean(scores):.4f} ({spread}) | {statistics.median(times):.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
