"""NW107: softmax over the batch dimension."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from netwright.examine.observation import Loss, Observation, Op, Operand
from netwright.examine.rules import evidence, rewrite
from netwright.examine.rules.written import Uses, chosen, softmax_dim
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW107",
    slug="softmax-wrong-dim",
    level="error",
    by="backward",
    title="the output's softmax runs over the batch, not over the classes",
    what="The softmax (or log-softmax) whose result goes into the loss normalises over dimension 0, the examples of the batch.",
    why="Each example's probabilities then depend on which other examples share its batch and do not sum to 1 over the "
    "classes. The network learns to compare examples, and its predictions change with the batch size.",
    fix="Take the softmax over the class dimension: dim=1 (or dim=-1).",
    example="F.nll_loss(F.log_softmax(net(x), dim=0), y)   # wrong\nF.nll_loss(F.log_softmax(net(x), dim=1), y)   # right",
    limits="Judges two-dimensional outputs, (N, C, ...) inputs of class losses, and outputs (N, T, C) that are folded to (N * T, C) "
    "for the loss. nn.Softmax() without dim takes dimension 0 "
    "for three-dimensional inputs.",
    explains=frozenset({"NW105", "NW402", "NW512", "NW304"}),
)
_LOSSES = ("cross_entropy", "nll_loss", "kl_div", "mse_loss", "binary_cross_entropy", "l1_loss")


_ELEMENTWISE = ("log", "clamp", "clamp_min", "to", "float", "add", "contiguous", "neg", "mul")


def check(observation: Observation) -> Iterator[Evidence]:
    for loss, op in observation.loss_ops():
        shape = loss.prediction_shape
        if loss.function not in _LOSSES or not loss.prediction_grad or len(shape) < 2 or min(shape[:2]) < 2:
            continue
        folded = _folded(observation, loss, op.inputs[0])
        if folded is not None:
            yield _evidence(observation, folded, {"row_sum": loss.row_sum}, right=len(folded.shape) - 1)
            continue
        softmax = _behind(observation, op.inputs[0])
        target_first = len(loss.target_shape) >= 1 and loss.target_shape[0] == shape[0]
        if softmax is None or softmax.shape != shape or _dim(observation, softmax) != 0 or not target_first:
            continue
        if len(shape) > 2 and loss.target_shape != (shape[0], *shape[2:]):
            continue  # not certain where the classes are
        yield _evidence(observation, softmax, {"row_sum": loss.row_sum})
    yield from _by_hand(observation)


def _by_hand(observation: Observation) -> Iterator[Evidence]:
    """Losses that choose the score of the true class themselves: that they do so along dimension 1 tells where the classes are."""
    found = [
        (op, pair) for op in observation.ops if op.grad and (pair := chosen(observation, op)) is not None
    ]
    uses = Uses(observation) if found else None
    for op, (scores, _) in found:
        softmax = _behind(observation, scores)
        if softmax is None or softmax.shape != scores.shape or min(scores.shape) < 2:
            continue
        if _dim(observation, softmax) == 0 and uses is not None and uses.ends_in_loss(op):
            yield _evidence(observation, softmax, {})


def _behind(observation: Observation, operand: Operand) -> Op | None:
    """Returns the softmax or log-softmax that made an operand, if only element by element something followed."""
    op = observation.made(operand)
    while op is not None and op.name in _ELEMENTWISE and op.inputs:
        if op.name == "mul" and len(op.inputs) > 1:
            return None
        op = observation.made(op.inputs[0])
    return op


def _folded(observation: Observation, loss: Loss, operand: Operand) -> Op | None:
    """Returns the softmax of (N, T, C) outputs over another dimension than the last, which was then folded to (N * T, C)."""
    shape = loss.prediction_shape
    op = _behind(observation, operand)
    if (
        op is None
        or len(shape) != 2
        or loss.target_shape != shape[:1]
        or op.name not in ("view", "reshape", "flatten")
    ):
        return None
    softmax = _behind(observation, op.inputs[0])
    if softmax is None or len(softmax.shape) < 3 or softmax.shape[-1] != shape[1] or shape[1] < 2:
        return None
    dim = _dim(observation, softmax)
    return softmax if dim is not None and dim != len(softmax.shape) - 1 and softmax.shape[dim] > 1 else None


def _dim(observation: Observation, op: Op) -> int | None:
    if op.name != "log_softmax":
        return softmax_dim(observation, op)
    dim = op.options.get("dim")
    if dim is None and op.shape:
        dim = 0 if len(op.shape) in (0, 1, 3) else 1  # what PyTorch takes, with a warning
    return dim % len(op.shape) if isinstance(dim, int) and op.shape and op.grad else None


def _evidence(observation: Observation, softmax: Op, seen: dict[str, Any], right: int = 1) -> Evidence:
    shape, dim = softmax.shape, _dim(observation, softmax) or 0
    over = "examples of the batch" if dim == 0 else f"numbers of dimension {dim}"
    return evidence(
        observation,
        softmax,
        seen={"dim": dim, "shape": shape, **seen},
        expected={"dim": right},
        title=f"{'softmax' if softmax.name == 'div' else softmax.name} runs over the {shape[dim]} {over}, "
        f"not over the {shape[right]} classes",
        diff=rewrite(
            observation.where(softmax),
            lambda line: line.replace(f"dim={dim}", f"dim={right}") if f"dim={dim}" in line else None,
        ),
    )


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
network = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4), nn.LogSoftmax(dim={dim}))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(6):
    optimizer.zero_grad()
    loss = F.nll_loss(network(inputs), labels)
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{dim}", "0")
good = _PROGRAM.replace("{dim}", "1")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.memory, self.out = nn.GRU(5, 16), nn.Linear(16, 4)

    def forward(self, x):
        hidden, _ = self.memory(x)  # (time, batch, features)
        weights = torch.softmax(hidden.sum(-1), dim=0)
        return F.log_softmax(self.out(hidden * weights.unsqueeze(-1)), dim=2)


network = Tagger()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
sequences, tags = inputs.view(4, 128, 5), torch.randint(0, 4, (4, 128))
for step in range(6):
    optimizer.zero_grad()
    loss = F.nll_loss(network(sequences).view(-1, 4), tags.view(-1))
    loss.backward()
    optimizer.step()
"""
