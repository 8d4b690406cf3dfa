"""NW906: the processes of a DistributedDataParallel program train different networks."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Observation, Wrapper
from netwright.examine.rules import NotObserved, evidence
from netwright.finding import Evidence, Rule

NEEDS = "several processes"
RULE = Rule(
    code="NW906",
    slug="ddp-drift",
    level="error",
    by="2",
    title="the processes of a distributed training have different parameters",
    what="The network is wrapped in DistributedDataParallel, which averages the gradients of all processes in its forward and "
    "backward. Training goes past the wrapper (the bare model is called), or the parameters were changed in one process only.",
    why="Each process then trains its own network on its own share of the data. What process 0 saves has seen a fraction of them, "
    "and nothing of what the other processes have learned.",
    fix="Call the wrapper (ddp(x)), not the model inside (ddp.module(x)) nor the variable from before the wrapping. Load weights "
    "before wrapping, and change parameters in all processes alike.",
    example="ddp = DistributedDataParallel(net)\nloss = f(net(x), y)     # wrong: gradients stay in this process\n"
    "loss = f(ddp(x), y)     # right",
    limits="Compares the sums of the first 64 parameters after two steps through the process group's own store, if all processes are "
    "examined; otherwise it sees only that the wrapper is bypassed. Silent with one process, on sharded models (FSDP, tensor "
    "parallelism), on local SGD, and on calls past the wrapper that train nothing.",
    explains=frozenset({"NW907"}),
)
_LOCAL = ("PostLocalSGDOptimizer", "HierarchicalModelAverager")


def check(observation: Observation) -> Iterator[Evidence]:
    wrappers = [wrapper for wrapper in observation.wrappers if wrapper.processes > 1]
    if not wrappers:
        raise NotObserved("no DistributedDataParallel of several processes was seen")
    if any(optimizer.cls in _LOCAL for optimizer in observation.optimizers):
        return
    for wrapper in wrappers:
        if wrapper.bypassed and not wrapper.forwards:
            yield _bypassed(observation, wrapper)
        elif wrapper.drift:
            yield _drifted(observation, wrapper)
    if not any(wrapper.compared or wrapper.bypassed for wrapper in wrappers):
        raise NotObserved("the other processes were not examined, or not as far as this one")


def _bypassed(observation: Observation, wrapper: Wrapper) -> Evidence:
    seen: dict[str, object] = {
        "forwards_past_the_wrapper": wrapper.bypassed,
        "forwards_through_it": wrapper.forwards,
    }
    if wrapper.drift:
        seen["largest_relative_difference"] = max(wrapper.drift.values())
    return evidence(
        observation,
        wrapper.bypass or wrapper.place,
        seen=seen,
        expected={"forwards_past_the_wrapper": 0},
        step=0,
        title=f"training goes past DistributedDataParallel: each of {wrapper.processes} processes trains a network of its own",
        harm="measured" if wrapper.drift else "likely",
    )


def _drifted(observation: Observation, wrapper: Wrapper) -> Evidence:
    name, difference = max(wrapper.drift.items(), key=lambda entry: entry[1])
    return evidence(
        observation,
        wrapper.place,
        seen={
            "parameters_that_differ": len(wrapper.drift),
            "largest_relative_difference": difference,
            "in": name,
        },
        expected={"parameters_that_differ": 0},
        step=2,
        title=f"after 2 steps {len(wrapper.drift)} parameter(s) differ between the processes, {name} by {difference:.2g} of its sum",
        harm="measured",
    )


_PROGRAM = """
import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(0)
network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
wrapped = DistributedDataParallel(network)
optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.1)
torch.manual_seed(rank)
inputs, labels = torch.randn(64, 8), torch.randint(0, 3, (64,))
for step in range(6):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy({called}(inputs), labels)
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        right = (network(inputs).argmax(1) == labels).float().mean()
dist.barrier()
dist.destroy_process_group()
"""
bad = _PROGRAM.replace("{called}", "network")
good = _PROGRAM.replace("{called}", "wrapped")
near_miss = good.replace(
    "optimizer.zero_grad()\n",
    "optimizer.zero_grad()\n    optimizer.param_groups[0]['lr'] = 0.1 / (step + 1)\n",
)
