"""NW104: a ReLU is the last operation before a loss that wants logits."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from netwright.examine.observation import Loss, Observation, Op
from netwright.examine.rules import evidence, percent, rewrite, without_call
from netwright.examine.rules.written import written
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW104",
    slug="relu-on-logits",
    level="error",
    by="backward",
    title="a ReLU on the output clips the logits",
    what="The last operation before cross-entropy (or BCE with logits) is a ReLU or another one-sided clamp. Such a loss "
    "expects logits, which may take any value.",
    why="Where the clamp holds a logit at its floor, no gradient passes: for these examples the network cannot learn that "
    'the class is right. The loss also cannot express "surely not this class", so it stays well above what the same '
    "network reaches without the clamp, and units that are clipped for every example never recover.",
    fix="Remove the activation after the last layer; cross-entropy and BCE-with-logits do their own normalising.",
    example="nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10), nn.ReLU())   # wrong: the last one\n"
    "nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))              # right",
    limits="Looks through views, casts and dropout, not through arithmetic or pooling (a ReLU before global average "
    "pooling, as in SqueezeNet, is a design). Silent on LeakyReLU, GELU and clamps on both sides.",
    explains=frozenset({"NW403", "NW402", "NW503", "NW512", "NW208", "NW502"}),
)
_LOSSES = ("cross_entropy", "binary_cross_entropy_with_logits", "multilabel_soft_margin_loss")


def check(observation: Observation) -> Iterator[Evidence]:
    for loss, op in observation.loss_ops():
        if loss.function not in _LOSSES or not loss.prediction_grad:
            continue
        clamp = observation.source(op.inputs[0])
        floor = _floor(clamp)
        if clamp is None or floor is None or loss.prediction is None or loss.prediction.min > floor:
            continue
        yield _evidence(observation, loss, clamp, floor)
    for place in written(observation):
        clamp = observation.source(place.operand)
        floor = _floor(clamp)
        if clamp is None or floor is None or clamp.stats is None or clamp.stats.min > floor:
            continue
        yield evidence(
            observation,
            clamp,
            seen={"smallest_logit": clamp.stats.min, "clipped_logit_share": clamp.stats.zero},
            expected={"smallest_logit": f"below {floor:g}"},
            also=[place.op.place],
            title=f"{_spelling(clamp)} on the output clips the logits at {floor:g}, before {place.name}",
            diff=rewrite(observation.where(clamp), partial(_without, clamp=clamp)),
        )


def _floor(op: Op | None) -> float | None:
    """Returns the value below which an operation lets nothing through, None if it is no one-sided clamp."""
    if op is None or not op.grad:
        return None
    if op.name in ("relu", "relu6"):
        return 0.0
    if op.name == "hardtanh" and op.options.get("min_val") == 0:  # as nn.ReLU6 calls it
        return 0.0
    low, high = op.options.get("min"), op.options.get("max")
    if op.name in ("clamp", "clamp_min") and isinstance(low, (int, float)) and high is None and low >= -1:
        return float(low)
    if op.name == "threshold" and op.options.get("value") == op.options.get("threshold"):
        return float(op.options["value"])
    return None


def _evidence(observation: Observation, loss: Loss, clamp: Op, floor: float) -> Evidence:
    assert loss.prediction is not None
    seen = {
        "smallest_logit": loss.prediction.min,
        "clipped_logit_share": loss.floor_share or loss.prediction.zero,
    }
    title = f"{_spelling(clamp)} on the output clips the logits at {floor:g}"
    if loss.true_floor_share is not None:
        seen["clipped_true_logit_share"] = round(loss.true_floor_share, 4)
        title += f": {percent(loss.true_floor_share)} of the examples have their own class clipped"
    return evidence(
        observation,
        clamp,
        seen=seen,
        expected={"smallest_logit": f"below {floor:g}", "clipped_true_logit_share": 0.0},
        also=[loss.place],
        step=loss.step,
        title=title,
        diff=rewrite(observation.where(clamp), lambda line: _without(line, clamp)),
        harm="measured" if loss.true_floor_share else "likely",
    )


def _without(line: str, clamp: Op) -> str | None:
    """Returns the line without the clamp, written as a layer (`nn.ReLU()`) or as a call (`torch.relu(x)`)."""
    for word in (_spelling(clamp), clamp.name):
        changed = without_call(line, word)
        if changed is not None:
            return changed
    return None


def _spelling(clamp: Op) -> str:
    return (
        {"relu": "ReLU", "relu6": "ReLU6", "hardtanh": "ReLU6"}.get(clamp.name, clamp.name)
        if clamp.module >= 0
        else clamp.name
    )


_PROGRAM = """
import torch
from torch import nn

torch.manual_seed(0)
inputs, labels = torch.randn(256, 784), torch.randint(0, 10, (256,))
network = nn.Sequential(
    nn.Linear(784, 128),
    nn.Sigmoid(),
    nn.Linear(128, 64),
    nn.Sigmoid(),
    nn.Linear(64, 10),{last}
)
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss()
for epoch in range(2):
    for start in range(0, 256, 64):
        optimizer.zero_grad()
        loss = criterion(network(inputs[start : start + 64]), labels[start : start + 64])
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
"""
bad = _PROGRAM.replace("{last}", "\n    nn.ReLU(),")
good = _PROGRAM.replace("{last}", "")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs = torch.randn(256, 8)
counts = torch.poisson(inputs[:, 0].exp())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(8, 16)
        self.head = nn.Linear(16, 1)
        self.classes = nn.Linear(16, 3)

    def forward(self, x):
        features = F.relu(self.hidden(x))
        return F.relu(self.head(features)).squeeze(1), self.classes(features)


network = Net()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for epoch in range(5):
    amount, logits = network(inputs)
    loss = F.mse_loss(amount, counts) + F.cross_entropy(logits, (counts > 1).long())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
