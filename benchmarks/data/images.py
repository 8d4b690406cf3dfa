"""Chest X-rays (PneumoniaMNIST): accuracy, ROC AUC and sensitivity at fixed specificity of `netwright fit`.

    NETWRIGHT_DATA=... python benchmarks/data/images.py pneumonia --seeds 3
    NETWRIGHT_DATA=... python benchmarks/data/images.py augmentation --rounds 7

`pneumonia`: each recipe below as a command with everything on, on the official parts; the class looked for is 1, pneumonia.
`augmentation`: milliseconds of a processor a batch of 128 images of 3 x 32 x 32, beside kornia's changes of the same kinds, in turns in one
process (`pip install kornia`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

XRAYS = Path(os.environ.get("NETWRIGHT_DATA", ".")) / "medmnist/pneumoniamnist.npz"
# In all: what is found (1), labels by the threshold of the best F1 in validation.
ALL = ["--set", "decision.positive=1", "--epochs", "15"]
AUGMENT = [
    "augment.shift=2",
    "augment.rotate=10",
    "augment.zoom=0.1",
    "augment.contrast=0.2",
    "augment.brightness=0.2",
]
SHORT = ["optimizer.name=adam", "optimizer.lr=0.003", "schedule.name=one-cycle", "checkpoint.keep=last"]
RECIPES = {
    "cnn": ["--network", "cnn"],
    "resnet": ["--network", "resnet"],
    "cnn, one-cycle, changed images": ["--network", "cnn", *[w for e in (*SHORT, *AUGMENT) for w in ("--set", e)]],
    "resnet, one-cycle, changed images": [
        "--network", "resnet", *[w for e in (*SHORT, *AUGMENT) for w in ("--set", e)],
    ],
}  # fmt: skip


def fit(words: list[str], seed: int) -> dict:
    """Runs `netwright fit` on the X-rays and returns its JSON with its last validation loss."""
    with tempfile.TemporaryDirectory() as out:
        command = [
            sys.executable,
            "-m",
            "netwright",
            "fit",
            str(XRAYS),
            "--seed",
            str(seed),
            "--out",
            f"{out}/run",
        ]
        done = subprocess.run([*command, "--json", "--quiet", *ALL, *words], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        lines = [json.loads(line) for line in (Path(out) / "run/metrics.jsonl").read_text().splitlines()]
        losses = [line["validation_loss"] for line in lines if line.get("validation_loss") is not None]
        return {**json.loads(done.stdout), "validation_loss": losses[-1]}


def pneumonia(options: argparse.Namespace) -> None:
    """Prints a row for each recipe: means over seeds, least to most in brackets."""
    print(
        "| recipe | seeds | parameters | seconds | validation loss, last | accuracy | ROC AUC | sensitivity at specificity 90 % |"
        "\n|---|---|---|---|---|---|---|---|"
    )
    for title, words in RECIPES.items():
        if options.only and options.only != title:
            continue
        runs = [fit([*words, *options.words], seed) for seed in range(options.seeds)]
        two = [run["test"]["two_classes"] for run in runs]
        columns = {
            "seconds": [run["seconds"] for run in runs],
            "loss": [run["validation_loss"] for run in runs],
            "accuracy": [run["test"]["accuracy"] for run in runs],
            "auc": [found["roc_auc"] for found in two],
            "sensitivity": [found["at_specificity"][0]["sensitivity"] for found in two],
        }
        shown = [
            f"{statistics.fmean(column):.3f} ({min(column):.3f} to {max(column):.3f})"
            for name, column in columns.items()
            if name != "seconds"
        ]
        seconds = f"{statistics.fmean(columns['seconds']):.0f}"
        print(
            f"| {title} | {len(runs)} | {runs[0]['parameters']:,} | {seconds} | {' | '.join(shown)} |",
            flush=True,
        )


def augmentation(options: argparse.Namespace) -> None:
    """Prints milliseconds a batch, ours and kornia's, and the ratio of each round."""
    import kornia.augmentation as K
    import torch

    from netwright.data.augmentation import Augmentation, augmentation_draws
    from netwright.data.mixing import mixed
    from netwright.data.preparation import ImagePreparation

    torch.set_num_threads(1)  # on a busy machine threads wait for one another, for minutes
    count, steps = 128, 20
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)
    prepare = ImagePreparation((3, 32, 32), scale=255.0)
    floats = images.float() / 255
    kinds = {
        "mirrored": ({"flip": True}, K.RandomHorizontalFlip(p=0.5)),
        "moved by up to 4 pixels": ({"shift": 4}, K.RandomCrop((32, 32), padding=4, p=1.0)),
        "turned and scaled": (
            {"rotate": 10, "zoom": 0.1},
            K.RandomAffine(degrees=10.0, scale=(0.9, 1.1), p=1.0),
        ),
        "cropped and resized": ({"crop": 0.3}, K.RandomResizedCrop((32, 32), scale=(0.3, 1.0), p=1.0)),
        "a hole": ({"cutout": 8}, K.RandomErasing(p=1.0)),
        "brightness, contrast, saturation, hue": (
            {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1},
            K.ColorJitter(0.3, 0.3, 0.3, 0.1, p=1.0),
        ),
        "RandAugment, 2 operations": ({"randaugment": 2}, K.auto.RandAugment(n=2, m=9)),
    }

    def ours(changes: Augmentation, epoch: int) -> None:
        draws = augmentation_draws(count, seed=0, epoch=epoch, columns=changes.columns)
        changes.prepared(images.clone(), draws, prepare)

    def milliseconds(step) -> float:  # type: ignore[no-untyped-def]
        step(0)
        began = time.process_time()
        for number in range(steps):
            step(number)
        return (time.process_time() - began) / steps * 1000

    print("| change | netwright, ms a batch | kornia, ms a batch | kornia / netwright |\n|---|---|---|---|")
    rows = {
        title: (partial(ours, Augmentation.build(entries)), lambda _, peer=peer: peer(floats))
        for title, (entries, peer) in kinds.items()
    }
    shares = torch.eye(10)[torch.randint(0, 10, (count,))]
    labels = shares.argmax(1)
    for title, alphas, peer in (
        ("mixup", {"mixup": 0.2}, K.RandomMixUpV2(p=1.0)),
        ("CutMix", {"cutmix": 1.0}, K.RandomCutMixV2(p=1.0)),
    ):
        rows[title] = (
            lambda number, a=alphas: mixed(floats, shares, (0, 0, number), **a),
            lambda number, p=peer: p(floats, labels),
        )
    for title, (own, other) in rows.items():
        pairs = [(milliseconds(own), milliseconds(other)) for _ in range(options.rounds)]
        ratios = sorted(their / our for our, their in pairs)
        mine, theirs = (statistics.median(column) for column in zip(*pairs))
        print(
            f"| {title} | {mine:.2f} | {theirs:.2f} | {statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f}) |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("pneumonia", "augmentation"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="one recipe by its title")
    options, options.words = parser.parse_known_args()
    {"pneumonia": pneumonia, "augmentation": augmentation}[options.what](options)


if __name__ == "__main__":
    main()
