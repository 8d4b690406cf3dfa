"""NW903: an accelerator is there, and the model stays on the CPU."""

from __future__ import annotations

import linecache
from collections.abc import Iterator
from math import prod

from netwright.examine.observation import Observation, Place
from netwright.examine.rules import NotObserved, evidence
from netwright.finding import Evidence, Rule

NEEDS = "an accelerator"
RULE = Rule(
    code="NW903",
    slug="idle-accelerator",
    level="advice",
    by="step",
    title="an accelerator is there, and the network trains on the CPU",
    what="The machine has a GPU that this program could use, and all parameters that are trained are on the CPU.",
    why="A GPU trains all but very small networks many times faster. PyTorch uses it only for what is moved there.",
    fix="Move the model and each batch: device = 'cuda' if torch.cuda.is_available() else 'cpu'; model.to(device); x.to(device). "
    "The optimizer is made after the model was moved.",
    example="model = Net()                         # wrong where a GPU is there\n"
    "model = Net().to(device)              # right; and inputs.to(device) in the loop",
    limits="Silent where the CPU is asked for (a device named cpu in the script and no other, --device cpu, CUDA_VISIBLE_DEVICES="
    "''), and on networks with less than 100,000 parameters, which a CPU trains as fast.",
)
_SMALL = 100_000


def check(observation: Observation) -> Iterator[Evidence]:
    if not observation.accelerator:
        raise NotObserved("there is no accelerator, or the CPU was asked for")
    optimized = observation.optimized()
    if not observation.step_count or not optimized:
        raise NotObserved("no optimizer step was seen")
    trained = [observation.parameters[uid] for uid in optimized]
    count = sum(prod(parameter.shape) for parameter in trained)
    if any(parameter.device != "cpu" for parameter in trained) or count < _SMALL:
        return
    root = next(
        (module for module in observation.modules if module.root == module.uid and module.place is not None),
        None,
    )
    place: Place | None = root.place if root is not None else observation.optimizers[0].place
    if _asked_for(place):
        return
    yield evidence(
        observation,
        place,
        seen={"accelerator": observation.accelerator, "device": "cpu", "parameters": count},
        expected={"device": observation.accelerator},
        step=0,
        title=f"{count:,} parameters train on the CPU, and a {observation.accelerator} accelerator is idle",
        harm="likely",
    )


def _asked_for(place: Place | None) -> bool:
    """Returns whether the user's file names the CPU and no other device."""
    text = "".join(linecache.getlines(place.file)) if place is not None else ""
    names_cpu = any(word in text for word in ('"cpu"', "'cpu'"))
    return names_cpu and not any(word in text for word in ("cuda", "mps", "accelerator", "xpu"))


_PROGRAM = """
import torch
from torch import nn

torch.manual_seed(0)
{device}
inputs, labels = torch.randn(64, 200{on}), torch.randint(0, 4, (64,){on})
network = nn.Sequential(nn.Linear(200, 600), nn.ReLU(), nn.Linear(600, 4)){moved}
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(3):
    optimizer.zero_grad()
    nn.functional.cross_entropy(network(inputs), labels).backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{device}", "").replace("{on}", "").replace("{moved}", "")
good = (
    _PROGRAM.replace("{device}", 'device = "cuda" if torch.cuda.is_available() else "cpu"')
    .replace("{on}", ", device=device")
    .replace("{moved}", ".to(device)")
)
near_miss = (
    _PROGRAM.replace("{device}", 'device = torch.device("cpu")  # the others use the big one')
    .replace("{on}", ", device=device")
    .replace("{moved}", ".to(device)")
)
