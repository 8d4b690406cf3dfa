"""How far probabilities are off before and after calibration, and what a run's guard tells from its training data.

    NETWRIGHT_DATA=... python benchmarks/doubt.py calibration --seeds 3
    NETWRIGHT_DATA=... python benchmarks/doubt.py guard --seeds 3

`calibration`: expected calibration error (15 bins) and negative log-likelihood on the test part of mnist, fashion-mnist, digits, adult
and rt-polarity, at the temperature 1 and at that of the result, as mean (least to most) over the seeds 0, 1, …; and the seconds of
training. `guard`: for runs on mnist, fashion-mnist, cifar10, digits, adult and rt-polarity, the area under the ROC curve of the guard's score, the
run's test part against what it was not trained on, and the share that is flagged. Beside it the usual score of the
probabilities alone (1 - the largest: Hendrycks and Gimpel 2017) and the energy of the logits (Liu et al. 2020).

Training is cut short (`SETS`: fewer examples and epochs than the recipes have) so that all of it takes minutes on two cores. Every fit is
one of `netwright.fitting`, with everything on but the examiner. Prints tables in Markdown.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

import netwright as nw
from netwright.fitting import carry_out
from netwright.metrics import expected_calibration_error, negative_log_likelihood
from netwright.metrics.probabilities import tempered
from netwright.recipe import Recipe
from netwright.run import Run
from netwright.training.evaluation import evaluation_mode, outputs_of
from netwright.training.losses import to_probabilities

SHORT = {"data.limit": 10_000, "data.validation": 0.1}
SETS: dict[str, dict[str, Any]] = {
    "digits": {"data.source": "digits"},
    "mnist": {"data.source": "mnist", **SHORT, "train.epochs": 3},
    "fashion-mnist": {"data.source": "fashion-mnist", **SHORT, "train.epochs": 3},
    "cifar10": {"data.source": "cifar10", **SHORT, "train.epochs": 3},
    "adult": {"data.source": "adult/adult.data", "data.target": "column15", "train.epochs": 8},
    "rt-polarity": {"data.source": "rt-polarity"},
}
CALIBRATED = ("digits", "mnist", "fashion-mnist", "adult", "rt-polarity")
ASKED_AT_MOST = 1000


def fitted(name: str, seed: int, folder: Path, *, network: str | None = None) -> Run:
    """Fits a set as `SETS` has it, from the data folder, unless that has been done."""
    out = folder / f"{name}-{network or 'own'}-{seed}"
    if (out / "result.json").exists():
        return Run(out)
    entries = {**SETS[name], "train.seed": seed, **({"network.name": network} if network else {})}
    source = data_folder() / str(entries["data.source"])
    if source.exists() and name not in nw.datasets:
        entries["data.source"] = str(source)
    recipe = Recipe.build(entries)
    return carry_out(recipe, out=out, quiet=True, examine=False)


def data_folder() -> Path:
    import os

    return Path(os.environ.get("NETWRIGHT_DATA", "."))


def spread(values: list[float], shown: str = "{:.4f}") -> str:
    """Returns mean (least to most)."""
    low, high = shown.format(min(values)), shown.format(max(values))
    return f"{shown.format(statistics.fmean(values))} ({low} to {high})"


# ---- calibration ----


def calibration(seeds: int, folder: Path) -> None:
    print(
        "| test part of | temperature | ECE before, % | ECE after, % | NLL before | NLL after | accuracy, % |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in (name for name in CALIBRATED if name in SETS):
        rows = [calibrated(fitted(name, seed, folder)) for seed in range(seeds)]
        cells = [spread([row[key] for row in rows], shown) for key, shown in COLUMNS]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


COLUMNS = (
    ("temperature", "{:.2f}"),
    ("ece_before", "{:.2f}"),
    ("ece_after", "{:.2f}"),
    ("nll_before", "{:.4f}"),
    ("nll_after", "{:.4f}"),
    ("accuracy", "{:.2f}"),
)


def calibrated(run: Run) -> dict[str, float]:
    outputs, targets = outputs_of(run.network, run.data.test)
    shares = to_probabilities(outputs, run.loss())
    after = tempered(shares, run.temperature)
    return {
        "temperature": run.temperature,
        "ece_before": 100 * expected_calibration_error(shares, targets),
        "ece_after": 100 * expected_calibration_error(after, targets),
        "nll_before": negative_log_likelihood(shares, targets),
        "nll_after": negative_log_likelihood(after, targets),
        "accuracy": 100 * float((shares.argmax(1) == targets).float().mean()),
    }


# ---- guard ----


def guard(seeds: int, folder: Path) -> None:
    runs = [
        ("mnist", None),
        ("mnist", "mlp"),
        ("fashion-mnist", None),
        ("fashion-mnist", "mlp"),
        ("cifar10", None),
    ]
    for name, network in [*runs, ("digits", None), ("digits", "cnn"), ("adult", None), ("rt-polarity", None)]:
        if name not in SETS:
            continue
        found: dict[str, list[dict[str, float]]] = {}
        for seed in range(seeds):
            run = fitted(name, seed, folder, network=network)
            for asked, row in guarded(run, seed):
                found.setdefault(asked, []).append(row)
        print(f"\n{name}, {network or run.recipe.network.name}: {seeds} seeds\n", flush=True)
        print("| against | AUROC of the guard | flagged, % | AUROC of 1 - p | AUROC of the energy |")
        print("|---|---|---|---|---|")
        for asked, rows in found.items():
            cells = [spread([row["flagged"] for row in rows], "{:.1f}")]
            if "guard" in rows[0]:
                cells.insert(0, spread([row["guard"] for row in rows]))
                cells += [spread([row[key] for row in rows]) for key in ("sure", "energy")]
            else:
                cells = ["", *cells, "", ""]
            print(f"| {asked} | " + " | ".join(cells) + " |", flush=True)


def guarded(run: Run, seed: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Yields for the test part, and for each other set of raw inputs, what the guard and the usual scores say of it."""
    ordinary = scores(run, raw_of(run.data.test))
    yield "(its own test part)", {"flagged": 100 * float((ordinary["guard"] > 1).float().mean())}
    for name, raw in strangers(run, torch.Generator().manual_seed(seed)).items():
        strange = scores(run, raw)
        truth = np.r_[np.zeros(len(ordinary["guard"])), np.ones(len(strange["guard"]))]
        row = {
            key: float(
                roc_auc_score(truth, torch.cat([ordinary[key], strange[key]]).double().clamp(max=1e30))
            )
            for key in ordinary
        }
        yield name, {**row, "flagged": 100 * float((strange["guard"] > 1).float().mean())}


def scores(run: Run, raw: Tensor) -> dict[str, Tensor]:
    """Returns three scores (N,) of a raw batch, larger for what is stranger."""
    with evaluation_mode(run.network):
        parts = [run.answering.forward(some) for some in raw.split(500)]
        energies = [-run.network(run.preparation(some)).logsumexp(1) for some in raw.split(500)]
    return {
        "guard": torch.cat([strangeness for _, strangeness in parts]),
        "sure": torch.cat([1 - shares.amax(1) for shares, _ in parts]),
        "energy": torch.cat(energies),
    }


def raw_of(part: Any) -> Tensor:
    """Returns raw examples of a part, evenly spread."""
    places = torch.linspace(0, len(part) - 1, min(len(part), ASKED_AT_MOST)).round().long()
    return part.inputs[places] if hasattr(part, "inputs") else part.raw(places)


def strangers(run: Run, generator: torch.Generator) -> dict[str, Tensor]:
    kinds: dict[str, Callable[[Run, torch.Generator], dict[str, Tensor]]] = {
        "image": strange_images,
        "table": strange_rows,
        "text": strange_texts,
    }
    return kinds[run.preparation.kind](run, generator)


def strange_images(run: Run, generator: torch.Generator) -> dict[str, Tensor]:
    own = raw_of(run.data.test)
    high = int(run.preparation.highest)  # type: ignore[arg-type]
    channels, height, width = own.shape[1:]
    order = torch.randperm(height * width, generator=generator)
    normal = torch.randn(own.shape, generator=generator) * high
    found = {
        "uniform noise": torch.randint(0, high + 1, own.shape, generator=generator),
        "normal noise": (normal * 0.2 + high / 2).clamp(0, high),
        "blank (each grey)": torch.arange(high + 1).view(-1, 1, 1, 1).expand(-1, channels, height, width),
        "inverted": high - own.int(),
        "pixels shuffled": own.flatten(2)[:, :, order].view(own.shape),
        "15 % noise added": (own.float() + 0.15 * normal).clamp(0, high),
        "turned by 90°": own.rot90(1, (2, 3)),
        "half as bright": own.float() / 2,
    }
    for name in ("mnist", "fashion-mnist", "cifar10", "digits"):
        if name != run.meaning["name"]:
            found[name] = resized(name, (channels, height, width), high)
    return {name: images.float().round().to(torch.uint8) for name, images in found.items()}


def resized(name: str, shape: tuple[int, ...], high: int) -> Tensor:
    """Returns images of another set in this shape and range."""
    images, highest = others(name)
    images = images.float() * high / highest
    if images.shape[1] != shape[0]:
        images = images.mean(1, keepdim=True).expand(-1, shape[0], -1, -1)
    return torch.nn.functional.interpolate(
        images, shape[1:], mode="area" if shape[1] < images.shape[2] else "bilinear"
    )


@functools.cache
def others(name: str) -> tuple[Tensor, int]:
    """Returns raw test images of a set, and its highest value."""
    data = nw.load(name, limit=ASKED_AT_MOST)
    return raw_of(data.test), data.preparation.highest  # type: ignore[return-value]


def strange_rows(run: Run, generator: torch.Generator) -> dict[str, Tensor]:
    own = raw_of(run.data.test)
    numeric = run.preparation.numeric  # type: ignore[attr-defined]

    def changed(how: Callable[[Tensor], Tensor]) -> Tensor:
        rows = own.clone()
        rows[:, :numeric] = how(rows[:, :numeric])
        return rows

    order = torch.roll(torch.arange(numeric), 1)
    apart = [own[torch.randperm(len(own), generator=generator), column] for column in range(own.shape[1])]
    first = own.clone()
    first[:, 0] *= 1000
    return {
        f"{run.preparation.inputs[0]} times 1,000": first,
        "all numbers times 1,000": changed(lambda numbers: numbers * 1000),
        "numbers in each other's columns": changed(lambda numbers: numbers[:, order]),
        "numbers missing": changed(lambda numbers: torch.full_like(numbers, torch.nan)),
        "columns drawn apart from each other": torch.stack(apart, dim=1),
    }


def strange_texts(run: Run, generator: torch.Generator) -> dict[str, Tensor]:
    def drawn(most: int) -> int:
        return int(torch.randint(0, most, (1,), generator=generator))

    letters = "abcdefghijklmnopqrstuvwxyz     "
    gibberish = ["".join(letters[drawn(31)] for _ in range(40 + drawn(100))) for _ in range(300)]
    german = [
        "der",
        "die",
        "und",
        "in",
        "den",
        "von",
        "zu",
        "das",
        "mit",
        "sich",
        "des",
        "auf",
        "für",
        "ist",
        "im",
        "dem",
        "nicht",
        "ein",
        "eine",
        "als",
        "auch",
        "es",
        "an",
        "werden",
        "aus",
        "er",
        "hat",
        "dass",
        "sie",
        "nach",
        "wird",
        "bei",
    ]
    other = (data_folder() / "sms-spam/SMSSpamCollection").read_text("utf-8").splitlines()[:500]
    play = (data_folder() / "tinyshakespeare/input.txt").read_text("utf-8").split("\n\n")[:500]
    texts = {
        "random letters": gibberish,
        "German words": [
            " ".join(german[drawn(len(german))] for _ in range(8 + drawn(20))) for _ in range(300)
        ],
        "Python": [line for line in Path(__file__).read_text("utf-8").splitlines() if len(line) > 30],
        "sms-spam": [line.split("\t")[-1] for line in other],
        "Shakespeare": [" ".join(speech.split()) for speech in play],
    }
    prepared = run.preparation
    return {name: prepared.together([prepared.read(text) for text in some]) for name, some in texts.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("calibration", "guard"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", help="the sets, divided by commas")
    parser.add_argument("--runs", type=Path, help="where runs are kept, and taken from where they are there")
    asked = parser.parse_args()
    if asked.only:
        for name in [name for name in SETS if name not in asked.only.split(",")]:
            del SETS[name]
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        measure = {"calibration": calibration, "guard": guard}[asked.what]
        measure(asked.seeds, asked.runs or Path(folder))
    print(f"\n{json.dumps({'seconds': round(time.perf_counter() - began)})}")


if __name__ == "__main__":
    main()
