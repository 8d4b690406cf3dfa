"""NW304: examples of one batch influence each other."""

from __future__ import annotations

import linecache
import math
import re
from collections.abc import Iterator

from netwright.examine.observation import Observation, Op, Place
from netwright.examine.rules import NotObserved, evidence, rewrite
from netwright.examine.rules.layout import RECURRENT, Batch, Broken, Entry, batch_first, entries
from netwright.examine.rules.written import softmax_dim
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW304",
    slug="batch-mixed",
    level="error",
    by="step",
    title="examples of one batch influence each other",
    what="The dimension that counts the examples of a batch is read as something else: a recurrent or attention layer takes it "
    "for the sequence (batch_first), a softmax inside the network normalises over it, or a reshape cuts across it where a "
    "transpose was meant.",
    why="The answer for one example depends on which others happen to be in its batch. The loss may still fall, but what is "
    "learned does not hold for another batch size, another order or a single example.",
    fix="Give the layer the layout that it expects (batch_first=True for (batch, sequence, features)), and move dimensions with "
    "transpose or permute: view and reshape only regroup numbers in the order in which they lie.",
    example="nn.LSTM(8, 32)(x)                       # wrong for x of (batch, time, 8): reads (time, batch, 8)\n"
    "nn.LSTM(8, 32, batch_first=True)(x)     # right\n"
    "x.view(time, batch, 8)                  # wrong\nx.transpose(0, 1)                       # right",
    limits="Follows the batch from a data loader with PyTorch's own collate function, from a random choice of examples, or where "
    "there is one target for each example and sizes tell the dimensions apart; silent where none of this is certain (time and "
    "batch of the same size). Does not judge batch norm, contrastive losses, matrix products over the batch (graphs, bags), "
    "weights of the examples (one number for each), or attention over sequences of length 1. Attention over a batch that the "
    "program itself moved there is a warning.",
    explains=frozenset({"NW205", "NW512", "NW502"}),
)


def check(observation: Observation) -> Iterator[Evidence]:
    if not observation.backwards:
        raise NotObserved("no backward was seen")
    if not any(
        op.name in (*RECURRENT, "multi_head_attention_forward", "softmax") or _cuts(op)
        for op in observation.ops
    ):
        return
    told = False
    for entry in entries(observation):
        told = True
        for op in entry.layouts.follow():
            found = _read_as_sequence(observation, entry, op) or _normalised(observation, entry, op)
            if found is not None:
                yield found
                return
        for broken in entry.layouts.broken:
            if _matters(observation, entry, broken):
                yield _reshape(observation, entry, broken)
                return
    if not told:
        raise NotObserved("which dimension counts the examples is not certain in this program")


def _cuts(op: Op) -> bool:
    return op.name in ("view", "reshape") and (op.grad or op.module >= 0 or len(op.shape) > 2)


def _read_as_sequence(observation: Observation, entry: Entry, op: Op) -> Evidence | None:
    attention = op.name == "multi_head_attention_forward"
    if not (attention or op.name in RECURRENT) or not op.grad or not op.inputs:
        return None
    operand, layout = op.inputs[0], entry.layouts.of(op.inputs[0])
    first = not attention and batch_first(observation, op)
    sequence = 1 if first else 0
    if layout is None or len(operand.shape) != 3 or layout.dim != sequence:
        return None
    sequences = operand.shape[1 - sequence]
    if sequences == 1 and (attention or not entry.shuffled):
        return None  # one sequence, perhaps meant as such
    return _misread(observation, entry, op, layout, sequences)


def _normalised(observation: Observation, entry: Entry, op: Op) -> Evidence | None:
    """Returns what is to be said of a softmax over the examples of the batch: attention weights, most of all."""
    dim = softmax_dim(observation, op) if op.name == "softmax" and op.module >= 0 and op.inputs else None
    layout = entry.layouts.of(op.inputs[0]) if dim is not None else None
    if dim is None or layout is None or layout.dim != dim or op.shape[dim] != entry.examples:
        return None
    others = [size for number, size in enumerate(op.shape) if number != dim]
    if math.prod(others) < 2 or entry.examples in others:
        return None  # weights of the examples, or examples compared with examples
    return evidence(
        observation,
        op,
        seen={"softmax_dim": dim, "shape": list(op.shape), "examples_in_dimension": dim},
        expected={"softmax_dim": "another one: that over which each example's weights sum to 1"},
        title=f"the softmax over dimension {dim} of {tuple(op.shape)} makes the {entry.examples} examples of the batch share one "
        "sum: each one's weights depend on the others",
        fix="Take the softmax over the dimension of the positions (or heads, or classes) of each example, not over the examples.",
    )


def _misread(observation: Observation, entry: Entry, op: Op, layout: Batch, sequences: int) -> Evidence:
    shape = op.inputs[0].shape
    attention = op.name == "multi_head_attention_forward"
    module = observation.modules[op.module] if op.module >= 0 else None
    kind = {"lstm": "LSTM", "gru": "GRU"}.get(op.name, "attention" if attention else "RNN")
    first = bool(module is not None and module.config.get("batch_first"))
    place = _written(observation, op)
    alone = sequences == 1 and _unsqueezed_by_layer(observation, op)
    verb = "attends over" if attention else "steps through"
    diff = "" if first or alone else rewrite(place, lambda line: _with_batch_first(line, kind))
    if alone:
        fix = "Give it three dimensions, (batch, 1, features) with batch_first=True; two are read as one sequence."
    elif first:
        fix = (
            "Leave out the transpose before it: with batch_first=True it expects (batch, sequence, features)."
        )
    else:
        fix = "Say batch_first=True: the input is (batch, sequence, features)."
    return evidence(
        observation,
        op.place if alone else place,
        seen={"sequence_length": shape[layout.dim], "sequences": sequences, "batch": entry.examples},
        expected={"sequence_length": sequences, "sequences": entry.examples},
        layer=op.module,
        step=op.step,
        title=f"the {kind} {verb} the {entry.examples} examples of the batch as if they were one sequence"
        f" (it gets {tuple(shape)} with batch_first={first})",
        fix=fix,
        diff=diff,
        level="warning" if attention and layout.turned and first else "",
    )


def _unsqueezed_by_layer(observation: Observation, op: Op) -> bool:
    made = observation.made(op.inputs[0])
    return made is not None and made.name == "unsqueeze" and made.module == op.module >= 0


_LAYERS = re.compile(r"\bTransformer(En|De)coderLayer\(|\bMultiheadAttention\(")


def _written(observation: Observation, op: Op) -> Place | None:
    """Returns the line that constructs the layer: for the copies that nn.TransformerEncoder makes, the original's."""
    if op.module < 0:
        return op.place
    module = observation.modules[op.module]
    owners = [module]
    while "." in owners[-1].name:
        above = owners[-1].name.rpartition(".")[0]
        owner = next((m for m in observation.modules if m.root == module.root and m.name == above), None)
        if owner is None:
            break
        owners.append(owner)
    placed = next((m for m in owners if m.place is not None and m.torch), None)
    if placed is None or placed.place is None:
        return observation.where(op)
    place = placed.place
    if placed.cls in ("TransformerEncoder", "TransformerDecoder"):
        lines = linecache.getlines(place.file)
        for number in range(min(place.line, len(lines)), 0, -1):
            if _LAYERS.search(lines[number - 1]):
                return Place(place.file, number, place.function)
    return place


_CONSTRUCTORS = {
    "attention": r"(?:MultiheadAttention|Transformer\w*)",
    "LSTM": "LSTM",
    "GRU": "GRU",
    "RNN": "RNN",
}


def _with_batch_first(line: str, kind: str) -> str | None:
    found = re.search(rf"\b{_CONSTRUCTORS[kind]}\(", line)
    if found is None:
        return None
    if "batch_first" in line:
        return line.replace("batch_first=False", "batch_first=True")
    depth = 0
    for index in range(found.end() - 1, len(line)):
        depth += (line[index] in "([{") - (line[index] in ")]}")
        if depth == 0:
            comma = "" if line[index - 1] == "(" else ", "
            return f"{line[:index].rstrip(', ')}{comma}batch_first=True{line[index:]}"
    return None


def _matters(observation: Observation, entry: Entry, broken: Broken) -> bool:
    """Returns whether what was cut reaches the loss, and counts examples there again."""
    loss = observation.ops[entry.loss.op]
    shape = entry.loss.prediction_shape
    return (
        bool(shape)
        and shape[0] % entry.examples == 0
        and any(op.index == broken.op.index for op in observation.ancestors(loss))
    )


def _reshape(observation: Observation, entry: Entry, broken: Broken) -> Evidence:
    op, before = broken.op, broken.op.inputs[0].shape
    again = broken.shape.index(entry.examples)
    return evidence(
        observation,
        op.place,
        seen={"from": list(before), "to": list(broken.shape), "examples_in_dimension": again},
        expected={"examples_in_dimension": f"{broken.before.dim}, moved by transpose or permute"},
        layer=op.module if op.module >= 0 else "",
        step=op.step,
        title=f"{op.name} from {tuple(before)} to {tuple(broken.shape)} mixes the {entry.examples} examples of the batch: dimension "
        f"{again} has their number, but each of its entries holds pieces of several",
        fix=f"Move dimension {broken.before.dim}, which counts the examples, with transpose or permute first; then reshape what is "
        "left of each example.",
    )


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs = torch.randn(96, 12, 6)
labels = (inputs.mean((1, 2)) > 0).long()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(6, 16{option})
        self.head = nn.Linear(16, 2)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.head(out[:, -1])


network = Net()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for epoch in range(2):
    for start in range(0, 96, 32):
        loss = F.cross_entropy(network(inputs[start : start + 32]), labels[start : start + 32])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""
bad = _PROGRAM.replace("{option}", "")
good = _PROGRAM.replace("{option}", ", batch_first=True")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
series, values = torch.randn(40, 8, 6), torch.randn(8)  # (time, batch, features), one value for each series
patients, ages = torch.randn(8, 6), torch.rand(8)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(6, 16, bidirectional=True)
        self.norm = nn.BatchNorm1d(32)
        self.among = nn.MultiheadAttention(6, 2)  # patients attend to each other: the batch is the set
        self.head = nn.Linear(38, 1)

    def forward(self, series, patients):
        _, last = self.gru(series)
        own = self.norm(last.transpose(0, 1).reshape(series.shape[1], -1))
        others = self.among(patients.unsqueeze(1), patients.unsqueeze(1), patients.unsqueeze(1))[0]
        return self.head(torch.cat([own, others.squeeze(1)], 1)).squeeze(1)


network = Net()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for step in range(4):
    loss = F.mse_loss(network(series, patients), values + ages)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
