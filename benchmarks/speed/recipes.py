"""Accuracy against seconds: `netwright fit NAME`, no further options, beside the recipes of the field's tutorials.

    NETWRIGHT_DATA=... python benchmarks/speed/recipes.py mnist --seeds 5 --seconds 120

The tutorials' networks, batches and optimizers run as the plain PyTorch loop over a DataLoader of tensors, a tenth of whose training examples are for
validation, until the seconds are over or their epochs are done; `netwright fit` runs as a command, with everything on and the share for validation
that its recipe says. Accuracies in the curve are those on validation examples, the seconds those of training with validation. The test set is opened once by each run, at its end.
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

MARKS = (5, 10, 20, 30, 45, 60, 90, 120, 180, 240, 300)


def pytorch_example():  # type: ignore[no-untyped-def]
    """pytorch/examples, mnist/main.py: Adadelta at 1.0, times 0.7 after each epoch, batch 64, 14 epochs."""
    import torch
    from torch import nn

    network = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25),
        nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adadelta(network.parameters(), lr=1.0)
    return network, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.7), 64, 14


def keras_example():  # type: ignore[no-untyped-def]
    """keras.io, "Simple MNIST convnet": Adam at 0.001, batch 128, 15 epochs; for colour the last map is 6 x 6."""
    import torch
    from torch import nn

    def network(channels: int, side: int) -> nn.Module:
        last = ((side - 2) // 2 - 2) // 2
        return nn.Sequential(
            nn.Conv2d(channels, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(),
            nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(64 * last * last, 10),
        )  # fmt: skip

    built = network(*SHAPE)
    return built, torch.optim.Adam(built.parameters(), lr=1e-3), None, 128, 15


def pytorch_quickstart():  # type: ignore[no-untyped-def]
    """docs.pytorch.org, "Quickstart": two hidden layers of 512, SGD at 0.001, batch 64, 5 epochs."""
    import torch
    from torch import nn

    network = nn.Sequential(
        nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )
    return network, torch.optim.SGD(network.parameters(), lr=1e-3), None, 64, 5


def pytorch_classifier():  # type: ignore[no-untyped-def]
    """docs.pytorch.org, "Training a Classifier": SGD at 0.001 with momentum 0.9, batch 4, 2 epochs."""
    import torch
    from torch import nn

    network = nn.Sequential(
        nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip
    return network, torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9), None, 4, 2


SHAPE = (1, 28)
TUTORIALS = {
    "mnist": {"pytorch/examples": pytorch_example, "keras.io convnet": keras_example},
    "fashion-mnist": {"PyTorch's quickstart": pytorch_quickstart, "keras.io convnet": keras_example},
    "cifar10": {"PyTorch's classifier": pytorch_classifier, "keras.io convnet": keras_example},
}


def tutorial(name: str, title: str, seed: int, seconds: float) -> dict:
    """Runs one tutorial's recipe in this process; returns its curve and its accuracy on the test set."""
    global SHAPE
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    import netwright as nw

    data = nw.load(name, seed=seed)
    SHAPE = data.input_shape[:2]
    parts = {
        part: TensorDataset(*getattr(data, part).prepared(slice(None)))
        for part in ("train", "validation", "test")
    }
    torch.manual_seed(seed)
    network, optimizer, schedule, batch, epochs = TUTORIALS[name][title]()
    loader = DataLoader(parts["train"], batch, shuffle=True)

    def accuracy(part: str) -> float:
        network.eval()
        with torch.no_grad():
            right = sum((network(x).argmax(1) == y).sum().item() for x, y in DataLoader(parts[part], 1000))
        network.train()
        return right / len(parts[part])

    curve = []
    began = time.perf_counter()
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x), y).backward()
            optimizer.step()
        if schedule is not None:
            schedule.step()
        curve.append((accuracy("validation"), time.perf_counter() - began))
        if curve[-1][1] > seconds:
            break
    return {
        "curve": curve,
        "seconds": curve[-1][1],
        "epochs": len(curve),
        "of": epochs,
        "test": accuracy("test"),
    }


def netwright(name: str, seed: int) -> dict:
    """Runs `netwright fit NAME` in a folder of its own; returns its curve and its accuracy on the test set."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [
            sys.executable,
            "-m",
            "netwright",
            "fit",
            name,
            "--seed",
            str(seed),
            "--out",
            str(out),
            "--json",
        ]
        began = time.perf_counter()
        done = subprocess.run([*command, "--quiet"], capture_output=True, text=True)
        whole = time.perf_counter() - began
        if done.returncode:
            raise SystemExit(done.stderr)
        result = json.loads(done.stdout)
        records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    epochs = [record for record in records if "validation_accuracy" in record]
    curve, seconds = [], 0.0
    for record in epochs:
        seconds += record["seconds"]
        curve.append((record["validation_accuracy"], seconds))
    return {
        "curve": curve,
        "seconds": result["seconds"],
        "epochs": len(epochs),
        "of": len(epochs),
        "test": result["test"]["accuracy"],
        "whole": whole,
        "findings": [finding["code"] for finding in result["findings"]],
    }


def best_until(curve: list, seconds: float) -> float | None:
    reached = [accuracy for accuracy, at in curve if at <= seconds]
    return max(reached) if reached else None


def cell(runs: list[dict], mark: float) -> str:
    reached = [best_until(run["curve"], mark) for run in runs]
    known = [value for value in reached if value is not None]
    return f"{statistics.median(known):.2%}" if len(known) == len(runs) else "–"


def spread(numbers: list[float], form: str) -> str:
    middle, least, most = statistics.fmean(numbers), min(numbers), max(numbers)
    return f"{middle:{form}} ({least:{form}} to {most:{form}})" if len(numbers) > 1 else f"{middle:{form}}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=TUTORIALS)
    parser.add_argument("--seeds", type=int, default=5, help="runs of netwright")
    parser.add_argument("--tutorial-seeds", type=int, default=1, help="runs of each tutorial's recipe")
    parser.add_argument(
        "--seconds",
        type=float,
        default=120,
        help="a tutorial's recipe is stopped after the epoch that passes these",
    )
    parser.add_argument("--one", nargs=2, metavar=("TITLE", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(tutorial(options.name, options.one[0], int(options.one[1]), options.seconds)))
        return
    results: dict[str, list[dict]] = {"netwright fit": []}
    for seed in range(max(options.seeds, options.tutorial_seeds)):
        if seed < options.seeds:
            results["netwright fit"].append(netwright(options.name, seed))
            found = results["netwright fit"][-1]
            print(
                f"seed {seed}: test {found['test']:.2%} in {found['seconds']:.1f} s, findings {found['findings']}",
                file=sys.stderr,
            )
        for title in TUTORIALS[options.name] if seed < options.tutorial_seeds else ():
            command = [
                sys.executable,
                __file__,
                options.name,
                "--seconds",
                str(options.seconds),
                "--one",
                title,
                str(seed),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            results.setdefault(title, []).append(json.loads(done.stdout.splitlines()[-1]))
            print(f"{title}: {results[title][-1]['curve']}", file=sys.stderr)
    last = max(run["seconds"] for runs in results.values() for run in runs)
    marks = [mark for mark in MARKS if mark <= last]
    print(
        f"| {options.name} | "
        + " | ".join(f"{mark} s" for mark in marks)
        + " | seconds | epochs | test accuracy |"
    )
    print("|---" * (len(marks) + 4) + "|")
    for title, runs in results.items():
        cells = [cell(runs, mark) for mark in marks]
        epochs = f"{runs[0]['epochs']}" + (
            f" of {runs[0]['of']}" if runs[0]["epochs"] < runs[0]["of"] else ""
        )
        seconds, test = (
            spread([run[key] for run in runs], form) for key, form in (("seconds", ".1f"), ("test", ".2%"))
        )
        print(
            f"| {title}, {len(runs)} seed{'s' if len(runs) > 1 else ''} | "
            + " | ".join(cells)
            + f" | {seconds} | {epochs} | {test} |"
        )


if __name__ == "__main__":
    main()
