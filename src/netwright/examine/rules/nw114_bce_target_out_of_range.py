"""NW114: BCE targets outside of [0, 1]."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Loss, Observation, Op, Operand
from netwright.examine.rules import NotObserved, evidence
from netwright.examine.rules.written import LINEAR, Uses
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW114",
    slug="bce-target-out-of-range",
    level="error",
    by="forward",
    title="binary cross-entropy gets targets outside of 0 to 1",
    what="Binary cross-entropy expects the probability of the positive class as its target. Here are other numbers: masks of "
    "0 and 255, labels of -1 and 1, class ids.",
    why="With a target above 1 or below 0 the loss has no lower bound: it falls for ever by driving the outputs to infinity, "
    "turns negative, and drowns the examples whose targets are right.",
    fix="Bring the targets to 0 ... 1: mask / 255 (or mask > 0), (label + 1) / 2; for ids of several classes use cross_entropy.",
    example="F.binary_cross_entropy_with_logits(net(x), mask.float())          # wrong for a mask of 0 and 255\n"
    "F.binary_cross_entropy_with_logits(net(x), (mask > 0).float())    # right",
    limits="Silent where the loss is not reduced or has weights (targets that say 'unknown' may be masked out afterwards). "
    "Targets that lie just outside, as from label smoothing with noise, are a warning.",
    explains=frozenset({"NW510", "NW512", "NW701", "NW501", "NW504", "NW115", "NW702", "NW404", "NW402"}),
)
_LOSSES = ("binary_cross_entropy", "binary_cross_entropy_with_logits", "multilabel_soft_margin_loss")


def check(observation: Observation) -> Iterator[Evidence]:
    seen = False
    for loss in observation.losses:
        if loss.function not in _LOSSES or loss.target is None or not loss.prediction_grad:
            continue
        seen = True
        low, high = loss.target.min, loss.target.max
        if loss.target.finite < 1 or loss.target_grad or (low >= -1e-3 and high <= 1 + 1e-3):
            continue
        if _masked_later(observation, loss):
            continue
        near = low >= -0.35 and high <= 1.35 and not loss.integral
        kind, fix = _kind(loss)
        yield evidence(
            observation,
            loss.place,
            seen={"smallest_target": low, "largest_target": high, "distinct_targets": loss.distinct},
            expected={"smallest_target": "at least 0", "largest_target": "at most 1"},
            layer=-1,
            step=loss.step,
            title=f"binary cross-entropy gets targets from {low:g} to {high:g}{kind}; they must lie in 0 to 1",
            fix=fix,
            level="warning" if near else "",
            harm="measured" if loss.value is not None and loss.value < 0 else "likely",
        )
    for op, target in _by_hand(observation):
        seen = True
        numbers = target.stats
        if numbers is None or numbers.finite < 1 or (numbers.min >= -1e-3 and numbers.max <= 1 + 1e-3):
            continue
        yield evidence(
            observation,
            op.place,
            seen={"smallest_target": numbers.min, "largest_target": numbers.max},
            expected={"smallest_target": "at least 0", "largest_target": "at most 1"},
            layer=-1,
            step=op.step,
            title=f"binary cross-entropy gets targets from {numbers.min:g} to {numbers.max:g}; they must lie in 0 to 1",
            level="warning" if numbers.min >= -0.35 and numbers.max <= 1.35 else "",
        )
    if not seen:
        raise NotObserved("no binary cross-entropy was seen")


def _by_hand(observation: Observation) -> Iterator[tuple[Op, Operand]]:
    """Yields (product, target) of y * log p, beside (1 - y) * log(1 - p), and of z * y, beside softplus(z)."""
    found = [
        op
        for op in observation.ops
        if op.name == "mul" and op.grad and len(op.inputs) == 2 and op.inputs[0].grad != op.inputs[1].grad
    ]
    if not any(op.name in ("softplus", "log", "logsigmoid") and op.grad for op in observation.ops):
        return
    uses = Uses(observation)
    for op in found:
        target, learned = sorted(op.inputs, key=lambda operand: operand.grad)
        if target.shape != learned.shape or not uses.ends_in_loss(op, LINEAR):
            continue
        made = observation.made(learned)
        if made is not None and made.name in ("log", "logsigmoid"):
            paired = any(
                entry.name == "rsub"
                and entry.options.get("other") == 1
                and entry.step == op.step
                and entry.inputs
                and entry.inputs[0].op == target.op
                and entry.inputs[0].shape == target.shape
                for entry in observation.ops[max(0, op.index - 12) : op.index + 12]
            )
        else:
            around = {entry.index for entry in uses.of(made)} if made is not None else set()
            paired = any(
                entry.name in ("sub", "rsub")
                and any(
                    (other := observation.made(operand)) is not None
                    and other.name == "softplus"
                    and other.index in around
                    for operand in entry.inputs
                )
                for entry in uses.of(op)
            )
        if paired:
            yield op, target


def _kind(loss: Loss) -> tuple[str, str]:
    assert loss.target is not None
    low, high = loss.target.min, loss.target.max
    if loss.integral and loss.distinct == 2 and (low, high) == (-1, 1):
        return " (labels -1 and 1)", "Use (labels + 1) / 2, or F.soft_margin_loss, which wants -1 and 1."
    if low == 0 and 127 < high <= 255:
        return " (pixels)", "Divide the masks by 255, or compare them: (mask > 0).float()."
    if loss.integral and low >= 0 and high < 1000:
        return (
            " (class ids?)",
            "For ids of several classes use F.cross_entropy with one output for each class.",
        )
    return "", ""


def _masked_later(observation: Observation, loss: Loss) -> bool:
    """Returns whether single targets may not count: weights, or a loss that something selects from afterwards."""
    if loss.options.get("weight") == "given":
        return True
    if loss.options.get("reduction") != "none":
        return False
    if loss.op < 0:
        return True
    uses = [op for op in observation.ops[loss.op + 1 :] if any(entry.op == loss.op for entry in op.inputs)]
    return not uses or not all(op.name in ("mean", "sum") for op in uses)


_PROGRAM = """
import torch
from torch import nn

torch.manual_seed(0)
images = torch.rand(48, 1, 16, 16)
masks = (images > 0.6).to(torch.uint8) * 255  # as read from PNG files
network = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for epoch in range(2):
    for start in range(0, 48, 16):
        loss = criterion(network(images[start : start + 16]), masks[start : start + 16].float(){scale})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
"""
bad = _PROGRAM.replace("{scale}", "")
good = _PROGRAM.replace("{scale}", " / 255")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs = torch.randn(96, 12)
labels = (inputs[:, :3] > 0).float()
labels[torch.rand(96, 3) < 0.3] = -1  # not measured, as in assays of molecules
soft = torch.rand(96, 1) * 0.2 + 0.4
network = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 4))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for step in range(6):
    out = network(inputs)
    each = F.binary_cross_entropy_with_logits(out[:, :3], labels, reduction="none")
    valid = labels >= 0
    loss = (each * valid).sum() / valid.sum() + F.binary_cross_entropy_with_logits(out[:, 3:], soft)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
