"""How long the processor waits for the next batch, for each kind of data with the recipe that it gets by default.

    NETWRIGHT_DATA=... python benchmarks/data/waiting.py --steps 150

Each kind runs in a process of its own: `netwright.train` over the training part, the seconds inside the iterator of batches
(gathering, augmentation, preparation, waiting for a reader) over the seconds of all steps but the first five.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("NETWRIGHT_DATA", "."))
WARM = 5


class Timed:
    """A training part whose epochs add up the seconds that its batches take."""

    def __init__(self, part: Any, clock: Callable[[], float]) -> None:
        self.part, self.seconds = part, 0.0
        self.clock = clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self.part, name)

    def __len__(self) -> int:
        return len(self.part)

    def epoch(self, *words: Any, **options: Any) -> Iterator[Any]:
        batches = iter(self.part.epoch(*words, **options))
        while True:
            began = self.clock()
            batch = next(batches, None)
            self.seconds += self.clock() - began
            if batch is None:
                return
            yield batch


def entries(kind: str, folder: Path) -> dict[str, Any]:
    """Returns the recipe's entries of a kind of data, having laid out its files where they are packed."""
    if kind == "table":
        return {
            "data.source": str(DATA / "california-housing/housing.csv"),
            "data.target": "median_house_value",
        }
    if kind == "text":
        lines = (DATA / "sms-spam/SMSSpamCollection").read_text(encoding="utf-8")
        (folder / "sms.tsv").write_text("label\ttext\n" + lines, encoding="utf-8")
        source = {"data.source": str(folder / "sms.tsv"), "data.target": "label", "text.column": "text"}
        return {**source, "table.header": True}
    if kind == "corpus":
        return {"data.source": str(DATA / "tinyshakespeare/input.txt")}
    if kind == "recordings":
        sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
        from spoken_digits import unpack

        unpack(DATA / "fsdd/fsdd_recordings.tar.gz", folder / "sounds", speaker=None)
        return {"data.source": str(folder / "sounds")}
    if kind in ("photos, streamed", "photos, in memory"):
        import tarfile

        with tarfile.open(DATA / "cifar10-jpeg/cifar10_jpeg.tar.gz") as archive:
            archive.extractall(folder, filter="data")
        (inside,) = [path.parent for path in folder.rglob("train") if path.is_dir()]
        changes = {"augment.flip": True, "augment.shift": 2, "network.name": "cnn", "data.batch": 128}
        return {"data.source": str(inside), "data.stream": kind.endswith("streamed"), **changes}
    if kind == "images, RandAugment and mixup":
        changes = {"augment.randaugment": 2, "augment.mixup": 0.2}
        return {"data.source": "cifar10", "network.name": "cnn", "data.batch": 128, **changes}
    return {"data.source": kind}


KINDS = (
    "mnist",
    "cifar10",
    "images, RandAugment and mixup",
    "photos, in memory",
    "photos, streamed",
    "table",
    "text",
    "corpus",
    "recordings",
)


def measure(kind: str, steps: int) -> dict[str, float]:
    """Returns seconds in the iterator, seconds in all and steps."""
    import netwright as nw
    from netwright.recipe import Recipe
    from netwright.run import load_data

    with tempfile.TemporaryDirectory() as folder:
        recipe = Recipe.build(entries(kind, Path(folder)))
        data = load_data(recipe).with_augmentation(recipe.augment.model_dump(exclude_defaults=True))
        network = nw.network(recipe.network.name, data, **recipe.network.options())
        # Of a processor, so that other work on the machine counts for nothing; a reader may work while the step waits.
        clock = time.perf_counter if kind.endswith("streamed") else time.process_time
        part = Timed(data.train, clock)
        chosen = nw.train(
            network, part, batch=recipe.data.batch, epochs=100, optimizer="adam", lr=1e-3, loss="auto"
        )
        for _ in islice(chosen, WARM):
            pass
        part.seconds, began, count = 0.0, clock(), 0
        for _ in islice(chosen, steps):
            count += 1
        return {"waited": part.seconds, "seconds": clock() - began, "steps": count}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--kind", choices=KINDS)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(measure(options.kind, options.steps)))
        return
    print("| data | milliseconds a step | of which for the batch | share |\n|---|---|---|---|")
    for kind in [options.kind] if options.kind else KINDS:
        command = [sys.executable, __file__, "--inside", "--kind", kind, "--steps", str(options.steps)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"| {kind} | failed: {done.stderr.splitlines()[-1]} |")
            continue
        found = json.loads(done.stdout)
        step, waited = (found[key] / found["steps"] * 1000 for key in ("seconds", "waited"))
        print(f"| {kind} | {step:.2f} | {waited:.2f} | {waited / step:.1%} |", flush=True)


if __name__ == "__main__":
    main()
