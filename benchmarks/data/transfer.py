"""Transfer beside training from scratch: 50 labelled examples a class, 1,000 to test on, over some seeds.

    NETWRIGHT_DATA=... python benchmarks/data/transfer.py [seeds] [set ...]

Prints a table in Markdown: accuracy on the test part as mean and 95 % interval (Student's t over the seeds) with the least and
the most, and the median seconds of training. A seed draws the 50 examples, those that validate among them (a tenth), and decides the
training; all contestants of a seed see the same examples. Networks from scratch get the recipes below, with more epochs than
`netwright fit` would take of its own, because there are so few steps in one; what is pretrained gets what `netwright finetune`
does if nothing more is said, or what its line says. cifar-resnet20 knows CIFAR-10 from its own training, so it is asked for other sets.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import t as student
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

import netwright as nw

PER_CLASS, TESTED = 50, 1000
ROOT = Path(os.environ["NETWRIGHT_DATA"])
FROM_SCRATCH = {
    "optimizer.name": "adam",
    "schedule.name": "one-cycle",
    "train.epochs": 60,
    "data.batch": 32,
    "checkpoint.keep": "last",
}
FLIPS = {"augment.flip": True, "augment.shift": 2}
CNN = {
    **FROM_SCRATCH,
    "network.name": "cnn",
    "network.channels": [32, 64, 128],
    "network.dropout": 0.2,
    "optimizer.lr": 0.005,
    **FLIPS,
}
LITE = {"transfer.source": "efficientnet-lite0", "data.size": 128}
TWENTY = {"transfer.source": "cifar-resnet20", "train.epochs": 30}
GRADUAL = {"transfer.freeze": "gradual"}
BAG = {
    "network.name": "embedding-bag",
    "optimizer.lr": 0.003,
    "data.batch": 32,
    "train.epochs": 60,
    "checkpoint.keep": "last",
}
MINILM = {"transfer.source": "minilm-l6", "train.epochs": 30, "data.batch": 32}
IMAGES = {"from scratch: cnn": CNN}
TEXTS: dict[str, dict[str, Any] | None] = {
    "from scratch: embedding-bag": BAG,
    "from scratch: TF-IDF, logistic regression": None,
    "minilm-l6, frozen": MINILM,
    "minilm-l6, gradually unfrozen": {**MINILM, **GRADUAL, "train.epochs": 10},
}
SETS: dict[str, dict[str, dict[str, Any] | None]] = {
    "cifar10": {
        **IMAGES,
        "efficientnet-lite0 at 128 x 128, frozen": LITE,
        "efficientnet-lite0 at 128 x 128, gradually unfrozen": {**LITE, **GRADUAL},
    },
    "fashion-mnist": {
        **IMAGES,
        "cifar-resnet20, frozen": TWENTY,
        "cifar-resnet20, gradually unfrozen": {**TWENTY, **GRADUAL},
    },
    "pneumonia-mnist": {
        **IMAGES,
        "cifar-resnet20, frozen": TWENTY,
        "cifar-resnet20, gradually unfrozen": {**TWENTY, **GRADUAL},
    },
    "rt-polarity": TEXTS,
    "sms-spam": TEXTS,
}
Parts = dict[str, tuple[Any, np.ndarray]]


def images(name: str) -> Parts:
    """Returns raw images and class ids of the official parts, before any are drawn."""
    if name == "pneumonia-mnist":
        with np.load(ROOT / "medmnist" / "pneumoniamnist.npz") as file:
            return {
                part: (file[f"{part}_images"], file[f"{part}_labels"].reshape(-1))
                for part in ("train", "test")
            }
    data = nw.load(name, validation=0)
    return {
        part: (split.inputs.numpy(), split.targets.numpy())
        for part, split in (("train", data.train), ("test", data.test))
    }


def texts(name: str) -> Parts:
    """Returns the texts of a set in one part, from which both are drawn."""
    if name == "sms-spam":
        rows = (ROOT / name / "SMSSpamCollection").read_text(encoding="utf-8").splitlines()
        pairs = [(text, int(kind == "spam")) for kind, _, text in (row.partition("\t") for row in rows)]
    else:
        pairs = [
            (line.strip(), index)
            for index, kind in enumerate(("neg", "pos"))
            for line in (ROOT / name / f"rt-polarity.{kind}").read_text(encoding="latin-1").split("\n")
            if line.strip()
        ]
    pairs = list(dict.fromkeys(pairs))  # no text on both sides
    return {"train": ([text for text, _ in pairs], np.array([index for _, index in pairs]))}


def drawn(parts: Parts, seed: int) -> Parts:
    """Returns PER_CLASS training examples a class and TESTED test examples, the classes as even as the set allows."""
    numbers = np.random.default_rng(seed)
    inputs, targets = parts["train"]
    shuffled = numbers.permutation(len(targets))
    chosen = np.concatenate([shuffled[targets[shuffled] == one][:PER_CLASS] for one in np.unique(targets)])
    if "test" in parts:
        others, rest = parts["test"], numbers.permutation(len(parts["test"][1]))[:TESTED]
    else:
        others, rest = parts["train"], np.setdiff1d(shuffled, chosen)
        rest = numbers.permutation(rest)[:TESTED]
    return {
        "train": (_rows(inputs, chosen), targets[chosen]),
        "test": (_rows(others[0], rest), others[1][rest]),
    }


def _rows(inputs: Any, rows: np.ndarray) -> Any:
    return [inputs[row] for row in rows] if isinstance(inputs, list) else inputs[rows]


def fitted(recipe: dict[str, Any], parts: Parts, seed: int) -> tuple[float, float]:
    """Returns accuracy and seconds of a run of netwright."""
    with tempfile.TemporaryDirectory() as folder:
        run = nw.fit(
            None,
            parts,
            out=Path(folder) / "run",
            quiet=True,
            examine=False,
            recipe={**recipe, "train.seed": seed},
        )
        assert run.result is not None
        return run.result["test"]["accuracy"], run.result["seconds"]


def linear(parts: Parts) -> tuple[float, float]:
    """Returns the same of a linear model of words."""
    vectors = TfidfVectorizer()
    model = LogisticRegression(max_iter=1000).fit(vectors.fit_transform(parts["train"][0]), parts["train"][1])
    return float(model.score(vectors.transform(parts["test"][0]), parts["test"][1])), 0.0


def row(name: str, called: str, scores: list[float], seconds: list[float]) -> str:
    count = len(scores)
    half = (
        float(student.ppf(0.975, count - 1)) * statistics.stdev(scores) / math.sqrt(count)
        if count > 1
        else math.nan
    )
    mean = statistics.mean(scores)
    return (
        f"| {name} | {called} | {100 * mean:.1f} ± {100 * half:.1f} | {100 * min(scores):.1f} to {100 * max(scores):.1f} "
        f"| {statistics.median(seconds):.0f} |"
    )


def main() -> None:
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    print("| set | network | test accuracy % | least to most | seconds |\n|---|---|---|---|---|")
    for name in sys.argv[2:] or SETS:
        read: Callable[[str], Parts] = texts if SETS[name] is TEXTS else images
        parts = read(name)
        samples = [drawn(parts, seed) for seed in seeds]
        for called, recipe in SETS[name].items():
            found = [
                linear(sample) if recipe is None else fitted(recipe, sample, seed)
                for seed, sample in zip(seeds, samples)
            ]
            scores, seconds = (list(one) for one in zip(*found))
            print(row(name, called, scores, seconds), flush=True)


if __name__ == "__main__":
    main()
