"""NW115: a bounded output cannot reach the regression targets."""

from __future__ import annotations

import math
from collections.abc import Iterator

from netwright.examine.observation import REGRESSION_LOSSES, Loss, Observation, Op, Operand, Stats
from netwright.examine.rules import NotObserved, evidence, rewrite, without_call
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW115",
    slug="output-range-mismatch",
    level="error",
    by="forward",
    title="the output's activation cannot reach the targets",
    what="The last operation before a regression loss is a sigmoid, tanh, ReLU or the like, and targets lie outside of the range "
    "of its values.",
    why="For these targets the network can only sit at the end of the range, where the activation's gradient is 0: the loss "
    "stops at a floor that no training can lower.",
    fix="Leave the last layer linear, or scale the targets into the activation's range (and undo it on predictions).",
    example="F.mse_loss(torch.tanh(net(x)), prices)            # wrong: tanh ends at 1, prices do not\n"
    "F.mse_loss(net(x), (prices - mean) / deviation)   # right",
    limits="An error where at least 5 % of the targets lie outside, a warning for single ones and for targets that another "
    "network makes. Looks through views, casts and dropout, not through arithmetic (a scaled tanh is silent).",
    explains=frozenset({"NW404", "NW512", "NW403", "NW503", "NW502", "NW208"}),
)
_RANGES = {
    "sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "hardsigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "hardtanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
    "relu": (0.0, math.inf),
    "relu6": (0.0, 6.0),
    "softplus": (0.0, math.inf),
    "exp": (0.0, math.inf),
    "logsigmoid": (-math.inf, 0.0),
    "log_softmax": (-math.inf, 0.0),
}
_CLASSES = {"relu": "ReLU", "relu6": "ReLU6", "logsigmoid": "LogSigmoid", "log_softmax": "LogSoftmax"}


def check(observation: Observation) -> Iterator[Evidence]:
    seen = False
    for loss, op in observation.loss_ops():
        if loss.function in REGRESSION_LOSSES and loss.prediction_grad and loss.target is not None:
            seen = True
            yield from _judge(
                observation, op, op.inputs[0], observation.operand(op, "target"), loss.target, loss
            )
    for op in observation.ops:
        if op.name in ("sub", "rsub") and op.grad and len(op.inputs) == 2 and not op.inplace:
            one, other = op.inputs
            if one.grad == other.grad or one.shape != other.shape or not _is_loss(observation, op):
                continue
            prediction, target = (one, other) if one.grad else (other, one)
            if target.stats is not None:
                seen = True
                yield from _judge(observation, op, prediction, target, target.stats, None)
    if not seen:
        raise NotObserved("no regression loss was seen in a traced step")


def _judge(
    observation: Observation,
    op: Op,
    prediction: Operand,
    target: Operand | None,
    numbers: Stats,
    loss: Loss | None,
) -> Iterator[Evidence]:
    last = observation.source(prediction)
    if last is None or last.name not in _RANGES or not last.grad or target is None or target.grad:
        return
    low, high = _RANGES[last.name]
    if last.name == "hardtanh":
        low, high = float(last.options.get("min_val", low)), float(last.options.get("max_val", high))
    if numbers.finite < 1 or numbers.size < 4:
        return
    slack = 0.05 * (high - low) if math.isfinite(high - low) else 0.1 * numbers.std + 1e-6
    if numbers.min >= low - slack and numbers.max <= high + slack:
        return
    many = _many(numbers, loss, low - slack, high + slack)
    if not many and numbers.min >= low - 4 * slack and numbers.max <= high + 4 * slack:
        return
    word = _CLASSES.get(last.name, last.name.capitalize()) if last.module >= 0 else last.name
    yield evidence(
        observation,
        last,
        seen={
            "smallest_target": numbers.min,
            "largest_target": numbers.max,
            "mean_target": round(numbers.mean, 5),
        },
        expected={"smallest_target": f"at least {low:g}", "largest_target": f"at most {high:g}"},
        step=op.step,
        title=f"the output ends in {last.name} ({low:g} to {high:g}), but the targets run from {numbers.min:.4g} to "
        f"{numbers.max:.4g}",
        diff=rewrite(observation.where(last), lambda line: without_call(line, word)),
        level="" if many and not _by_network(observation, target) else "warning",
        harm="measured" if many else "likely",
    )


def _many(numbers: Stats, loss: Loss | None, low: float, high: float) -> bool:
    """Returns whether at least about 5 % of the targets lie outside."""
    if loss is not None and loss.quantiles:
        return loss.quantiles[0] < low or loss.quantiles[-1] > high
    if loss is not None and loss.counts:
        outside = sum(count for value, count in enumerate(loss.counts) if value < low or value > high)
        return outside >= 0.05 * sum(loss.counts)
    return numbers.mean - numbers.std < low or numbers.mean + numbers.std > high


def _is_loss(observation: Observation, difference: Op) -> bool:
    """Returns whether a difference is squared or made absolute, and that summed or averaged."""
    following = observation.ops[difference.index + 1 : difference.index + 8]
    for entry in following:
        if entry.name in ("pow", "square", "abs", "mul") and all(
            used.op == difference.index for used in entry.inputs
        ):
            return any(
                later.name in ("mean", "sum") and later.inputs and later.inputs[0].op == entry.index
                for later in following
            )
    return False


def _by_network(observation: Observation, target: Operand) -> bool:
    made = observation.made(target)
    return made is not None and any(
        operand.source in ("parameter", "buffer")
        for entry in (made, *observation.ancestors(made))
        for operand in entry.inputs
    )


_PROGRAM = """
import torch
from torch import nn

torch.manual_seed(0)
inputs = torch.randn(240, 6)
prices = (120 + 40 * inputs[:, :1] + 15 * inputs[:, 1:2]) / 100
network = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 1){last})
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for epoch in range(4):
    for start in range(0, 240, 60):
        loss = nn.functional.mse_loss(network(inputs[start : start + 60]), prices[start : start + 60])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print(loss.item())
"""
bad = _PROGRAM.replace("{last}", ", nn.Sigmoid()")
good = _PROGRAM.replace("{last}", "")
near_miss = """
import torch
from torch import nn

torch.manual_seed(0)
inputs = torch.randn(240, 6)
share = torch.sigmoid(inputs[:, 0])
angle = 3 * torch.tanh(inputs[:, 1])
amount = torch.relu(inputs[:, 2]) * 50
real = (inputs[:, 3] > 0).float()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 24), nn.Tanh())
        self.head = nn.Linear(24, 4)

    def forward(self, x):
        a, b, c, d = self.head(self.body(x)).unbind(1)
        return a.sigmoid(), 3 * b.tanh(), c.relu(), d.sigmoid()


network = Net()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for step in range(8):
    a, b, c, d = network(inputs)
    loss = nn.functional.mse_loss(a, share) + nn.functional.mse_loss(b, angle) + ((c - amount / 50) ** 2).mean()
    loss = loss + nn.functional.mse_loss(d, real)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
