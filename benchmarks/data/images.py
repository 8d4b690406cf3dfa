"""Chest X-rays (PneumoniaMNIST): accuracy, ROC AUC and sensitivity at fixed specificity of `netwright fit`.

    NETWRIGHT_DATA=... python benchmarks/data/images.py pneumonia --seeds 3
    NETWRIGHT_DATA=... python benchmarks/data/images.py augmentation --rounds 7

`pneumonia`: each recipe below as a command with everything on, on the official parts; the class looked for is 1, pneumonia.
`augmentation`: milliseconds of a processor a batch of 128 images of 3 x 32 x 32, beside kornia's and torchvision's (transforms.v2) changes of the same kinds, in turns in
one process, as far as they are installed (`pip install kornia`; torchvision beside the ordinary CUDA build of torch).
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
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

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


def kornia_changes(images: Any, shares: Any) -> dict[str, Callable[[], Any]]:
    """Returns a change of the whole batch, each image with draws of its own, by title."""
    import kornia.augmentation as K

    floats, labels = images.float() / 255, shares.argmax(1)
    changes = {
        "mirrored": K.RandomHorizontalFlip(p=0.5),
        "moved by up to 4 pixels": K.RandomCrop((32, 32), padding=4, p=1.0),
        "turned and scaled": K.RandomAffine(degrees=10.0, scale=(0.9, 1.1), p=1.0),
        "cropped and resized": K.RandomResizedCrop((32, 32), scale=(0.3, 1.0), p=1.0),
        "a hole": K.RandomErasing(p=1.0),
        "brightness, contrast, saturation, hue": K.ColorJitter(0.3, 0.3, 0.3, 0.1, p=1.0),
        "RandAugment, 2 operations": K.auto.RandAugment(n=2, m=9),
    }
    mixed = {"mixup": K.RandomMixUpV2(p=1.0), "CutMix": K.RandomCutMixV2(p=1.0)}
    return {title: partial(change, floats) for title, change in changes.items()} | {
        title: partial(change, floats, labels) for title, change in mixed.items()
    }


def torchvision_changes(images: Any, shares: Any) -> dict[str, Callable[[], Any]]:
    """Returns the same of torchvision's transforms.v2: image by image, as a data set applies them, for a batch has one draw."""
    import torch
    from torchvision.transforms import v2

    changes = {
        "mirrored": v2.RandomHorizontalFlip(p=0.5),
        "moved by up to 4 pixels": v2.RandomCrop(32, padding=4),
        "turned and scaled": v2.RandomAffine(degrees=10, scale=(0.9, 1.1)),
        "cropped and resized": v2.RandomResizedCrop(32, scale=(0.3, 1.0)),
        "a hole": v2.RandomErasing(p=1.0),
        "brightness, contrast, saturation, hue": v2.ColorJitter(0.3, 0.3, 0.3, 0.1),
        "RandAugment, 2 operations": v2.RandAugment(2, 9),
    }
    mixed = {"mixup": v2.MixUp(num_classes=10), "CutMix": v2.CutMix(num_classes=10)}
    to_float = v2.ToDtype(torch.float32, scale=True)

    def one_by_one(change: Any) -> Any:
        return torch.stack([to_float(change(image)) for image in images])

    floats, labels = to_float(images), shares.argmax(1)
    return {title: partial(one_by_one, change) for title, change in changes.items()} | {
        title: partial(change, floats, labels) for title, change in mixed.items()
    }


def our_changes(images: Any, shares: Any) -> dict[str, Callable[[], Any]]:
    from netwright.data.augmentation import Augmentation, augmentation_draws
    from netwright.data.mixing import mixed
    from netwright.data.preparation import ImagePreparation

    prepare = ImagePreparation((3, 32, 32), scale=255.0)
    floats, epochs = images.float() / 255, count()
    entries: dict[str, dict[str, Any]] = {
        "mirrored": {"flip": True},
        "moved by up to 4 pixels": {"shift": 4},
        "turned and scaled": {"rotate": 10, "zoom": 0.1},
        "cropped and resized": {"crop": 0.3},
        "a hole": {"cutout": 8},
        "brightness, contrast, saturation, hue": {
            "brightness": 0.3,
            "contrast": 0.3,
            "saturation": 0.3,
            "hue": 0.1,
        },
        "RandAugment, 2 operations": {"randaugment": 2},
    }

    def changed(changes: Augmentation) -> Any:
        draws = augmentation_draws(len(images), seed=0, epoch=next(epochs), columns=changes.columns)
        return changes.prepared(images.clone(), draws, prepare)

    steps = {title: partial(changed, Augmentation.build(one)) for title, one in entries.items()}
    return steps | {
        "mixup": lambda: mixed(floats, shares, (0, 0, next(epochs)), mixup=0.2),
        "CutMix": lambda: mixed(floats, shares, (0, 0, next(epochs)), cutmix=1.0),
    }


def augmentation(options: argparse.Namespace) -> None:
    """Prints milliseconds a batch, ours and those of the peers that are installed, and the ratios of each round."""
    import torch

    torch.set_num_threads(1)  # on a busy machine threads wait for one another, for minutes
    images = torch.randint(0, 256, (128, 3, 32, 32), dtype=torch.uint8)
    shares = torch.eye(10)[torch.randint(0, 10, (128,))]
    contestants = {"netwright": our_changes, "kornia": kornia_changes, "torchvision": torchvision_changes}
    found = {}
    for name, changes in contestants.items():
        try:
            found[name] = changes(images, shares)
        except (ImportError, RuntimeError) as error:  # a torchvision beside another build of torch
            print(f"{name} is left out: {error}", file=sys.stderr)
    peers = [name for name in found if name != "netwright"]
    head = ["change", *(f"{name}, ms a batch" for name in found), *(f"{name} / netwright" for name in peers)]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for title in found["netwright"]:
        rounds = [{name: milliseconds(found[name][title]) for name in found} for _ in range(options.rounds)]
        cells = [f"{statistics.median(one[name] for one in rounds):.2f}" for name in found]
        for name in peers:
            ratios = sorted(one[name] / one["netwright"] for one in rounds)
            cells.append(f"{statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})")
        print(f"| {title} | {' | '.join(cells)} |", flush=True)


def milliseconds(step: Callable[[], Any], *, steps: int = 10) -> float:
    """Returns milliseconds of a processor."""
    step()
    began = time.process_time()
    for _ in range(steps):
        step()
    return (time.process_time() - began) / steps * 1000


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
