"""What the examiner costs: whole runs with and without it, in turns, each in a process of its own.

    python benchmarks/examiner/overhead.py                      the three networks, 2,000 steps, three rounds
    python benchmarks/examiner/overhead.py mlp --rounds 7
    python benchmarks/examiner/overhead.py mlp --pairs 10       both loops in one process, ten times in turn: less noise
    python benchmarks/examiner/overhead.py --within             what the examiner's own work takes, by its own clock

Printed for each network, as medians (least to most) over the rounds: milliseconds of a step without the examiner; time of
the whole loop with it over without it, by the clock and by the processor (which other programs disturb less); the same for
the second half of the steps, when only what is not watched closely is left; peak memory of the process with it over without
it. And by how many seconds `netwright examine` begins an empty program that imports torch later than `python`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NETWORKS = ("mlp", "cnn", "transformer")


def build(name: str):
    """Returns the network, a batch of inputs and the labels."""
    import torch
    from torch import nn

    if name == "mlp":
        network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        return network, torch.randn(64, 64), torch.randint(0, 10, (64,))
    if name == "cnn":
        network = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(2048, 10),
        )  # fmt: skip
        return network, torch.randn(32, 3, 32, 32), torch.randint(0, 10, (32,))

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(128, 4, 512, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = nn.Linear(128, 10)

        def forward(self, x):
            return self.head(self.encoder(x).mean(1))

    return Classifier(), torch.randn(16, 64, 128), torch.randint(0, 10, (16,))


def loop(name: str, examined: bool, steps: int) -> dict:
    """Returns what a loop of so many steps took, and what was found."""
    import torch
    from torch import nn

    import netwright

    torch.manual_seed(0)
    with netwright.examine() if examined else contextlib.nullcontext() as findings:
        network, inputs, labels = build(name)
        optimizer, criterion = torch.optim.Adam(network.parameters(), lr=1e-4), nn.CrossEntropyLoss()
        began = time.perf_counter()
        middle, busy = began, time.process_time()
        for step in range(steps):
            if step == steps // 2:
                middle = time.perf_counter()
            optimizer.zero_grad()
            loss = criterion(network(inputs + 0.1 * torch.randn_like(inputs)), labels)
            loss.backward()
            optimizer.step()
        ended, busy = time.perf_counter(), time.process_time() - busy
    told = [finding.code for finding in findings] if findings is not None else []
    return {
        "all": ended - began, "late": ended - middle, "busy": busy, "found": told,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }  # fmt: skip


def pairs(name: str, count: int, steps: int) -> str:
    """Returns the ratios of `count` pairs of loops in this process, examined over plain, after one pair that is not counted."""
    import torch

    torch.set_num_threads(1)
    ratios, plain = [], []
    for number in range(count + 1):
        took = {how: loop(name, how, steps)["all"] for how in ((False, True), (True, False))[number % 2]}
        ratios.append(took[True] / took[False])
        plain.append(1000 * took[False] / steps)
    return f"| {name} | {spread(plain[1:], '.2f')} | {spread(ratios[1:])} |"


def within(name: str, steps: int) -> str:
    """Returns the milliseconds that the examiner's own calls take in a loop, in all and in its first twenty steps."""
    import torch

    from netwright.examine.observer import SAMPLED_STEPS, Observer

    torch.set_num_threads(1)
    spent: dict[str, float] = {}
    new_lap, finish = Observer._new_lap, Observer.finish

    def lap(self: Observer, count: int) -> None:
        new_lap(self, count)
        if count >= SAMPLED_STEPS and "early" not in spent:
            spent["early"] = self._spent

    def finished(self: Observer, *given: object) -> object:
        spent["all"] = self._spent
        return finish(self, *given)

    Observer._new_lap, Observer.finish = lap, finished
    took = loop(name, True, steps)["all"]
    share = 100 * spent["all"] / (took - spent["all"])
    return f"| {name} | {steps} | {1000 * spent['early']:.0f} | {1000 * spent['all']:.0f} | {share:.2f} % |"


def run(name: str, examined: bool, steps: int) -> dict:
    command = [sys.executable, __file__, name, "--child", "--steps", str(steps), *(["--examined"] * examined)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def spread(values: list[float], form: str = ".3f") -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def startup(rounds: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "empty.py"
        script.write_text("import torch, time\nprint(time.time())\n")
        ways = {
            "plain": [sys.executable, str(script)],
            "examined": [sys.executable, "-m", "netwright", "examine", str(script)],
        }
        took: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, command in ways.items():
                began = time.time()
                out = subprocess.run(command, capture_output=True, text=True).stdout
                took[way].append(float(out.split()[0]) - began)
    return spread([one - other for one, other in zip(took["examined"], took["plain"])], ".2f")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument(
        "--pairs", type=int, default=0, help="so many pairs in one process, in place of rounds"
    )
    parser.add_argument(
        "--within", action="store_true", help="by the examiner's own clock, in place of rounds"
    )
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--examined", action="store_true", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.child:
        import torch

        torch.set_num_threads(1)
        print(json.dumps(loop(told.networks[0], told.examined, told.steps)))
        return
    if told.within:
        print(
            "| by its own clock | steps | ms in the first 20 | ms in all | over the rest of the loop |\n|---|---|---|---|---|"
        )
        for name in told.networks or NETWORKS:
            print(within(name, told.steps), flush=True)
        return
    if told.pairs:
        print("| in one process | ms a step without | whole loop |\n|---|---|---|")
        for name in told.networks or NETWORKS:
            print(pairs(name, told.pairs, told.steps), flush=True)
        return
    print("| | ms a step without | whole loop | its processor time | second half | peak memory |")
    print("|---|---|---|---|---|---|")
    for name in told.networks or NETWORKS:
        without, watched = [], []
        for number in range(told.rounds):
            for examined in (False, True) if number % 2 == 0 else (True, False):
                (watched if examined else without).append(run(name, examined, told.steps))
        turns = list(zip(watched, without))
        print(
            f"| {name} | {spread([1000 * entry['all'] / told.steps for entry in without], '.2f')} | "
            + " | ".join(spread([one[key] / other[key] for one, other in turns]) for key in ("all", "busy", "late", "memory"))
            + " |",
            flush=True,
        )  # fmt: skip
        if any(entry["found"] for entry in watched):
            print("found:", [entry["found"] for entry in watched])
    print("seconds until the program begins, more than without:", startup(told.rounds))


if __name__ == "__main__":
    main()
