"""NW109: prediction (B, 1) against target (B)."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Observation, Op, Operand
from netwright.examine.rules import evidence
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW109",
    slug="loss-broadcast",
    level="error",
    by="forward",
    title="prediction and target are broadcast against each other: the loss runs over all pairs of examples",
    what="The prediction has the shape (B, 1) and the target (B), or the other way round. PyTorch expands both to (B, B).",
    why="Every prediction is compared with the targets of all examples. The best that the network can do is to predict the "
    "mean of the targets for everything, and the loss stops at their variance.",
    fix="Give both the same shape: prediction.squeeze(1), or target.unsqueeze(1).",
    example="F.mse_loss(net(x), y)             # wrong: (64, 1) against (64,)\nF.mse_loss(net(x).squeeze(1), y)  # right",
    limits="Silent on scalars, on weights of shape (1, C), and where the extra dimension is made on the same line on purpose.",
    explains=frozenset({"NW512", "NW110"}),
)
_LOSSES = (
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "poisson_nll_loss",
    "binary_cross_entropy_with_logits",
    "kl_div",
)
_CREATORS = ("unsqueeze", "getitem", "expand", "view", "reshape")


def check(observation: Observation) -> Iterator[Evidence]:
    for op in observation.ops:
        if not op.grad or len(op.inputs) < 2:
            continue
        if op.name in _LOSSES:
            one, other = observation.operand(op, "input"), observation.operand(op, "target")
        elif op.name in ("sub", "rsub") and not op.inplace:
            one, other = op.inputs[0], op.inputs[1]
        else:
            continue
        if one is None or other is None or not _pairs(one, other) or one.grad == other.grad:
            continue
        if op.name in ("sub", "rsub") and not _adjoins_loss(observation, op, one, other):
            continue
        rows = max(one.shape)
        yield evidence(
            observation,
            op.place,
            seen={
                "prediction": (one if one.grad else other).shape,
                "target": (other if one.grad else one).shape,
            },
            expected={"target": (one if one.grad else other).shape},
            layer=-1,
            step=op.step,
            title=f"shapes {one.shape} and {other.shape} are broadcast: the loss runs over {rows} x {rows} pairs",
            harm="measured",
        )


def _pairs(one: Operand, other: Operand) -> bool:
    """Returns whether one is (..., B, 1) and the other (..., B), so that together they make B x B."""
    long, short = (one.shape, other.shape) if len(one.shape) > len(other.shape) else (other.shape, one.shape)
    if len(long) != len(short) + 1 or not short or short[-1] < 2:
        return False
    return long[-1] == 1 and tuple(long[:-1]) == tuple(short)


def _adjoins_loss(observation: Observation, op: Op, one: Operand, other: Operand) -> bool:
    """A difference is the loss's if it is squared or made absolute, and its dimension was not added on the same line."""
    for operand in (one, other):
        made = observation.made(operand)
        added = made is not None and made.inputs and len(made.shape) > len(made.inputs[0].shape)
        if made is not None and added and made.name in _CREATORS and made.place == op.place:
            return False
    following = (entry for entry in observation.ops[op.index + 1 : op.index + 6] if entry.step == op.step)
    return any(
        entry.name in ("pow", "square", "abs", "mul", "norm", "cosh")
        and any(operand.op == op.index for operand in entry.inputs)
        for entry in following
    )


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
targets = inputs[:, 0] * 2 + 0.1 * torch.randn(128)
network = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(6):
    optimizer.zero_grad()
    loss = ((network(inputs){shape} - targets) ** 2).mean()
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{shape}", "")
good = _PROGRAM.replace("{shape}", ".squeeze(1)")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
network = nn.Linear(20, 1)
centers = nn.Parameter(torch.linspace(-1, 1, 128))
optimizer = torch.optim.Adam([*network.parameters(), centers], lr=1e-3)
weights = torch.rand(1, 1)
for step in range(6):
    optimizer.zero_grad()
    loss = (weights * (network(inputs) - centers) ** 2).mean() + (network(inputs) - 0.5).pow(2).mean()
    loss.backward()
    optimizer.step()
"""
