"""What the hot path could do otherwise, measured: memory format, torch.compile, fused optimizers, the order of pooling.

    python benchmarks/speed/choices.py --rounds 7 --threads 2

Each choice is a training step of the same network and batch beside the plain one, in turn; printed are the time of the first two steps
(compiling is in them), the median step, and the median ratio to the plain step with its spread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

import netwright as nw


def step_of(
    network: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, called: Callable | None = None
) -> Callable[[], None]:
    called = called or network
    y = torch.arange(len(x)) % 10

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(called(x), y).backward()
        optimizer.step()

    return step


def choices(kind: str, batch: int) -> dict[str, Callable[[], Callable[[], None]]]:
    x = torch.randn(batch, 1, 28, 28)
    options: dict = {"hidden": [128]} if kind == "mlp" else {"channels": [24, 48, 96], "pools": [2, 2, 1]}

    def network(**more: object) -> nn.Module:
        torch.manual_seed(0)
        return nw.network(kind, input_shape=(1, 28, 28), num_outputs=10, **{**options, **more})

    def adam(built: nn.Module, **how: bool) -> torch.optim.Optimizer:
        return torch.optim.Adam(built.parameters(), **(how or {"fused": True}))

    def plain() -> Callable[[], None]:
        built = network()
        return step_of(built, adam(built), x)

    def compiled() -> Callable[[], None]:
        built = network()
        return step_of(built, adam(built), x, torch.compile(built))

    def unfused() -> Callable[[], None]:
        built = network()
        return step_of(built, adam(built, foreach=True), x)

    def fused_sgd() -> Callable[[], None]:
        built = network()
        return step_of(built, torch.optim.SGD(built.parameters(), lr=0.01, fused=True), x)

    def sgd() -> Callable[[], None]:
        built = network()
        return step_of(built, torch.optim.SGD(built.parameters(), lr=0.01), x)

    def channels_first() -> Callable[[], None]:
        built = network().to(memory_format=torch.contiguous_format)
        return step_of(built, adam(built), x)

    def pool_first() -> Callable[[], None]:
        built = network(pool_first=True)
        return step_of(built, adam(built), x)

    every = {"plain (Adam, fused)": plain, "torch.compile": compiled, "Adam, foreach": unfused}
    every |= {"SGD": sgd, "SGD, fused": fused_sgd}
    if kind == "cnn":
        every |= {"channels first": channels_first, "pooling before the norm": pool_first}
    return every


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--networks", nargs="+", choices=("mlp", "cnn"), default=["mlp", "cnn"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for kind, batch, repeats in (("mlp", 64, 100), ("mlp", 1024, 30), ("cnn", 128, 5)):
        if kind not in options.networks:
            continue
        steps, first = {}, {}
        for name, make in choices(kind, batch).items():
            step = make()
            began = time.perf_counter()
            step()
            step()
            steps[name], first[name] = step, time.perf_counter() - began
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(options.rounds):
            for name, step in steps.items():
                began = time.perf_counter()
                for _ in range(repeats):
                    step()
                seconds[name].append((time.perf_counter() - began) / repeats)
        print(
            f"\n{kind}, batch {batch}, {options.threads} threads\n\n| | first two steps, s | step, ms | times the plain step |\n|---|---|---|---|"
        )
        base = seconds["plain (Adam, fused)"]
        for name, taken in seconds.items():
            ratios = [one / other for one, other in zip(taken, base, strict=True)]
            ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            print(
                f"| {name} | {first[name]:.1f} | {statistics.median(taken) * 1e3:.2f} | {ratio} |", flush=True
            )


if __name__ == "__main__":
    main()
