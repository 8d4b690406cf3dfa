"""NW106: softmax or cross-entropy over a dimension of size 1."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Observation, Op
from netwright.examine.rules import evidence
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW106",
    slug="single-class-softmax",
    level="error",
    by="forward",
    title="softmax over a single number is always 1",
    what="A softmax, log-softmax or cross-entropy runs over a dimension of size 1.",
    why="Its result does not depend on the input: the loss is constant (0 for cross-entropy), the attention weights are all 1, "
    "and no gradient flows through it.",
    fix="For two classes with one output use BCEWithLogitsLoss (float targets of the output's shape) or two outputs with "
    "cross-entropy; for attention take the softmax over the positions, not over the scores' last dimension of size 1.",
    example="nn.CrossEntropyLoss()(nn.Linear(8, 1)(x), y)                          # wrong\n"
    "nn.BCEWithLogitsLoss()(nn.Linear(8, 1)(x).squeeze(1), y.float())      # right",
    limits="Reports only where a layer has a single output in that dimension; a sequence of length 1 is no fault.",
    explains=frozenset({"NW204", "NW502", "NW503", "NW512", "NW605", "NW302"}),
)
_MAPS = ("linear", "matmul", "addmm", "conv1d", "conv2d")


def check(observation: Observation) -> Iterator[Evidence]:
    for loss in observation.losses:
        if loss.function == "cross_entropy" and loss.classes == 1 and len(loss.prediction_shape) > 1:
            if loss.target_dtype.startswith("float") and loss.target_shape != loss.prediction_shape:
                continue
            op = observation.ops[loss.op] if loss.op >= 0 else None
            source = observation.source(op.inputs[0]) if op is not None and op.inputs else None
            yield evidence(
                observation,
                loss.place,
                seen={"classes": 1, "loss": loss.value},
                expected={"classes": "2 or more"},
                layer=source.module if source is not None else -1,
                step=loss.step,
                title="cross-entropy over a single output is constantly 0",
            )
    for op in observation.ops:
        if op.name in ("softmax", "log_softmax") and _alone(observation, op):
            yield evidence(
                observation,
                op,
                seen={"shape": op.shape, "dim": op.options.get("dim"), "size": 1},
                expected={"size": "2 or more"},
            )


def _alone(observation: Observation, op: Op) -> bool:
    dim = op.options.get("dim")
    if not isinstance(dim, int) or not -len(op.shape) <= dim < len(op.shape) or op.shape[dim] != 1:
        return False
    maker = observation.source(op.inputs[0]) if op.inputs else None
    if (
        maker is None
        or maker.name not in _MAPS
        or dim % len(op.shape) != (1 if "conv" in maker.name else len(op.shape) - 1)
    ):
        return False
    weight = observation.operand(maker, "weight", "other", "mat2")
    if weight is None or weight.source != "parameter" or not weight.shape:
        return False
    return maker.shape[1 if "conv" in maker.name else -1] == 1


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
network = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, {classes}))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss()
for step in range(6):
    optimizer.zero_grad()
    loss = criterion(network(inputs), {labels})
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{classes}", "1").replace("{labels}", "labels * 0")
good = _PROGRAM.replace("{classes}", "4").replace("{labels}", "labels")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))


class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(20, 4, batch_first=True)
        self.score, self.out = nn.Linear(20, 20), nn.Linear(20, 4)

    def forward(self, x):
        x = x.unsqueeze(1)  # a sequence of one
        x, _ = self.attention(x, x, x)
        weights = torch.softmax(self.score(x) @ x.transpose(1, 2), dim=-1)
        return self.out((weights @ x).squeeze(1))


network = Attentive()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(6):
    optimizer.zero_grad()
    loss = F.cross_entropy(network(inputs), labels)
    loss.backward()
    optimizer.step()
"""
