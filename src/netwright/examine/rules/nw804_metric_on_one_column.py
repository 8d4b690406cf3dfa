"""NW804: argmax over a single output column."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from netwright.examine.observation import PASSIVE, Observation, Op, Operand
from netwright.examine.rules import NotObserved, evidence, rewrite
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW804",
    slug="metric-on-one-column",
    level="error",
    by="epoch",
    title="argmax over a single output column always answers 0",
    what="The predicted class is taken by argmax (or max) over a dimension of size 1 of the network's output.",
    why="Among one column the largest is always the first, so that every prediction is class 0. The accuracy is the share of "
    "class 0 among the labels, whatever the network has learned.",
    fix="With one output, compare it with a threshold: output > 0 for logits, output > 0.5 for probabilities. Or give the network "
    "one output for each class and use cross-entropy.",
    example="predicted = network(x).argmax(1)             # wrong: shape (N, 1)\n"
    "predicted = (network(x).squeeze(1) > 0)      # right, for logits",
    limits="Needs the trace of the first evaluations. Silent where the result is compared with nothing and does not leave torch.",
)
_NAMES = ("argmax", "max", "topk")
_TURNS = frozenset({"bool", "long", "int", "gt", "ge", "lt", "le"})
_USES = ("eq", "ne", "numpy", "tolist", "item", "equal", "and", "or", "logical_and", "logical_or")


def check(observation: Observation) -> Iterator[Evidence]:
    if not observation.ops:
        raise NotObserved("no traced step was seen")
    for op in observation.ops:
        if op.name not in _NAMES or op.module >= 0 or not op.inputs or not _single(op):
            continue
        source = observation.source(op.inputs[0])
        output = _from_network(observation, op)
        if output is None or not _used(observation, op):
            continue
        change = partial(
            _thresholded, threshold="0.5" if source is not None and source.name == "sigmoid" else "0"
        )
        yield evidence(
            observation,
            op.place,
            seen={"output_shape": list(op.inputs[0].shape), "classes_compared": 1, "predictions": "always 0"},
            expected={"classes_compared": "2 or more, or a threshold"},
            step=op.step,
            layer=output.module,
            title=f"{op.name} over an output of shape {tuple(op.inputs[0].shape)}: every prediction is class 0",
            diff=rewrite(op.place, change),
            harm="measured",
        )


def _single(op: Op) -> bool:
    """Returns whether the dimension that is searched has size 1, and there are several examples beside it."""
    shape = op.inputs[0].shape
    dim = op.options.get("dim", -1 if op.name == "topk" else None)
    if (
        not isinstance(dim, int)
        or isinstance(dim, bool)
        or not -len(shape) <= dim < len(shape)
        or len(shape) < 2
    ):
        return False
    return shape[dim] == 1 and shape[0] > 1 and dim % len(shape) != 0


def _from_network(observation: Observation, op: Op) -> Op | None:
    """Returns the layer's operation behind an operand, outside of which only passive ones and activations stand."""
    made = observation.source(op.inputs[0])
    for _ in range(6):
        if made is None or (made.module >= 0 and observation.modules[made.module].parameters):
            return made
        if any(entry.parameter >= 0 for entry in made.inputs):
            return made
        made = observation.source(made.inputs[0]) if made.inputs else None
    return None


def _used(observation: Observation, op: Op) -> bool:
    """Returns whether the predicted class is compared, or leaves torch; the largest value itself may be."""
    for later in observation.ops[op.index + 1 :]:
        for entry in later.inputs if later.name in _USES else ():
            operand, made = entry, observation.source(entry)
            while made is not None and made.name in _TURNS and made.inputs:
                operand = made.inputs[0]
                made = observation.source(operand)
            if made is not None and made.index == op.index:
                return _result(observation, operand).dtype == "int64"
    return False


def _result(observation: Observation, operand: Operand) -> Operand:
    """Returns what an operand was before views and copies."""
    made = observation.made(operand)
    while made is not None and made.name in PASSIVE and made.inputs:
        operand = made.inputs[0]
        made = observation.made(operand)
    return operand


def _thresholded(line: str, threshold: str) -> str | None:
    changed = re.sub(
        r"(\w+(?:\([^()]*\))?)\.argmax\((?:dim=)?-?1\)", rf"(\1.squeeze(1) > {threshold}).long()", line
    )
    if changed == line:
        changed = re.sub(
            r"torch\.argmax\((\w+(?:\([^()]*\))?), (?:dim=)?-?1\)",
            rf"(\1.squeeze(1) > {threshold}).long()",
            line,
        )
    return changed if changed != line else None


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs = torch.randn(300, 10)
labels = (inputs[:, 0] + 0.1 * torch.randn(300) > 0.3).long()
network = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 1))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for epoch in range(5):
    for part in torch.randperm(200).split(40):
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(network(inputs[part]).squeeze(1), labels[part].float())
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        predicted = {predicted}
        print(epoch, (predicted == labels[200:]).float().mean().item())
"""
bad = _PROGRAM.replace("{predicted}", "network(inputs[200:]).argmax(1)")
good = _PROGRAM.replace("{predicted}", "(network(inputs[200:]).squeeze(1) > 0).long()")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
states = torch.randn(300, 10)
labels = (states[:, :3]).argmax(1)
network = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 3))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for epoch in range(5):
    for part in torch.randperm(200).split(40):
        optimizer.zero_grad()
        F.cross_entropy(network(states[part]), labels[part]).backward()
        optimizer.step()
    with torch.no_grad():
        best = network(states[200:]).topk(1, dim=1).indices.squeeze(1)  # a single winner of three
        one = network(states[200:201]).argmax(1)
        print(epoch, (best == labels[200:]).float().mean().item(), (one == labels[200]).item())
"""
