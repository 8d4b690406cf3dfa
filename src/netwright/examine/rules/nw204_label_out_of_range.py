"""NW204: class ids that the network has no output for."""

from __future__ import annotations

import re
from collections.abc import Iterator

from netwright.examine.observation import Observation
from netwright.examine.rules import evidence
from netwright.examine.rules.written import PLAIN, Uses, chosen
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW204",
    slug="label-out-of-range",
    level="error",
    by="forward",
    title="a class id lies outside of the network's outputs",
    what="A label is negative, or not below the number of outputs.",
    why="There is no output for this class. On a CPU the loss fails; on a GPU the program dies later with a device-side assert "
    "that names no line.",
    fix='Make the labels 0 ... C-1 (often they start at 1, or hold -1 for "unknown"), or give the last layer enough outputs.',
    example="F.cross_entropy(nn.Linear(8, 3)(x), torch.tensor([1, 2, 3]))       # wrong: 3 outputs know 0, 1, 2\n"
    "F.cross_entropy(nn.Linear(8, 3)(x), torch.tensor([1, 2, 3]) - 1)   # right",
    limits="Targets equal to ignore_index are left out.",
)


def check(observation: Observation) -> Iterator[Evidence]:
    for loss in observation.losses:
        if loss.label_min is None or loss.label_max is None or loss.classes < 1:
            continue
        if loss.label_min >= 0 and loss.label_max < loss.classes:
            continue
        op = observation.ops[loss.op] if loss.op >= 0 else None
        source = observation.source(op.inputs[0]) if op is not None and op.inputs else None
        yield evidence(
            observation,
            loss.place,
            seen={"smallest_label": loss.label_min, "largest_label": loss.label_max, "outputs": loss.classes},
            expected={"smallest_label": 0, "largest_label": f"at most {loss.classes - 1}"},
            layer=source.module if source is not None else -1,
            step=loss.step,
            title=f"labels run from {loss.label_min} to {loss.label_max}, but there are {loss.classes} outputs",
            harm="measured",
        )
    yield from _counted_from_the_end(observation)
    yield from _crashed(observation)


def _counted_from_the_end(observation: Observation) -> Iterator[Evidence]:
    """Negative ids in a loss written by hand: x[arange(n), ids] then takes the score of another class, without a word."""
    found = [
        (op, pair) for op in observation.ops if op.grad and (pair := chosen(observation, op)) is not None
    ]
    uses = Uses(observation) if found else None
    for op, (scores, ids) in found:
        source = observation.source(scores)
        if source is None or source.name != "log_softmax" or ids.stats is None or ids.stats.min >= 0:
            continue
        if uses is None or not uses.ends_in_loss(op, PLAIN):
            continue  # masked afterwards
        low, high, outputs = int(ids.stats.min), int(ids.stats.max), scores.shape[1]
        yield evidence(
            observation,
            op.place,
            seen={"smallest_label": low, "largest_label": high, "outputs": outputs},
            expected={"smallest_label": 0, "largest_label": f"at most {outputs - 1}"},
            layer=source.module,
            step=op.step,
            title=f"labels run from {low} to {high}: {low} takes the score of the last of the {outputs} outputs, counted from the end",
            harm="measured",
        )


_OUTSIDE = re.compile(r"index (-?\d+) is out of bounds for dimension (\d+) with size (\d+)")


def _crashed(observation: Observation) -> Iterator[Evidence]:
    """What a loss written by hand says of such an id: one_hot by name, a choice of the true class by the size of its row."""
    crash = observation.crash
    if crash is None or crash.module >= 0:
        return
    found = _OUTSIDE.search(crash.message)
    last = [op for op in observation.ops if op.name == "log_softmax" and op.grad and len(op.shape) == 2][-1:]
    if crash.message.startswith(("Class values must be smaller", "Class values must be non-negative")):
        low = "smaller" not in crash.message
        title = "one_hot gets " + (
            "a negative class id" if low else "a class id that is not below num_classes"
        )
        seen, expected = {"class_id": crash.message}, {"class_id": "0 to num_classes - 1"}
    elif found is not None and last and (found[2], int(found[3])) == ("1", last[0].shape[1]):
        title = f"a label is {found[1]}, but there are {found[3]} outputs"
        seen = {"label": found[1], "outputs": found[3]}
        expected = {"label": f"0 to {int(found[3]) - 1}"}
    else:
        return
    yield evidence(
        observation,
        crash.place,
        seen=seen,
        expected=expected,
        step=observation.step_count,
        title=title,
        harm="measured",
    )


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
network = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(6):
    optimizer.zero_grad()
    loss = F.cross_entropy(network(inputs), {labels})
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{labels}", "labels + 1")
good = _PROGRAM.replace("{labels}", "labels")
near_miss = _PROGRAM.replace("{labels}", "labels.masked_fill(labels == 3, -100)")
