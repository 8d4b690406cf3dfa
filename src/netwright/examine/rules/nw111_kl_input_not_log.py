"""NW111: KLDivLoss fed probabilities as its input."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Observation, Op, Place
from netwright.examine.rules import NotObserved, evidence, rewrite
from netwright.examine.rules.written import LINEAR, Uses, call_line, softmax_dim
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW111",
    slug="kl-input-not-log",
    level="error",
    by="forward",
    title="KL divergence gets an input that is not in logarithms",
    what="kl_div(input, target) expects log-probabilities as its input (and probabilities as its target). Here the input holds "
    "positive numbers: probabilities or raw outputs.",
    why="The result is no divergence: it has its minimum elsewhere, becomes negative, and with raw outputs it falls without end. "
    "The network does not learn the target distribution.",
    fix="Use F.log_softmax(logits, dim=-1) as the input; the target stays softmax, or log_softmax with log_target=True.",
    example="F.kl_div(F.softmax(student, dim=1), F.softmax(teacher, dim=1))       # wrong\n"
    "F.kl_div(F.log_softmax(student, dim=1), F.softmax(teacher, dim=1))   # right",
    limits="The proof is a positive value in the input, in rows that are not log-probabilities by their logsumexp.",
    explains=frozenset({"NW510", "NW512", "NW701", "NW502", "NW402", "NW501", "NW109"}),
)


def check(observation: Observation) -> Iterator[Evidence]:
    seen = False
    for loss in observation.losses:
        if loss.function != "kl_div" or loss.prediction is None or not loss.prediction_grad:
            continue
        seen = True
        ends = loss.row_logsumexp
        if loss.prediction.finite < 1 or loss.prediction.max <= 1e-3:
            continue
        if ends is not None and max(map(abs, ends)) < 0.05:
            continue
        op = observation.ops[loss.op] if loss.op >= 0 else None
        source = observation.source(op.inputs[0]) if op is not None and op.inputs else None
        sums = loss.row_sum
        is_share = (
            loss.prediction.min >= 0 and sums is not None and max(abs(entry - 1) for entry in sums) < 1e-2
        )
        kind = "probabilities" if is_share else "raw outputs"
        softmax = source if source is not None and source.name == "softmax" else None
        yield evidence(
            observation,
            loss.place if softmax is None else softmax,
            seen={
                "largest_input": loss.prediction.max,
                "row_sum": sums,
                "row_logsumexp": ends,
                "loss": loss.value,
            },
            expected={"largest_input": "at most 0", "row_logsumexp": 0.0},
            also=[loss.place],
            layer=source.module if source is not None else -1,
            step=loss.step,
            title=f"KL divergence gets {kind} as its input (largest {loss.prediction.max:.3g}), not log-probabilities",
            diff=rewrite(observation.where(softmax), _with_log) if softmax is not None else "",
        )
    for softmax, place in _by_hand(observation):
        seen = True
        yield evidence(
            observation,
            place,
            seen={"subtracted": "probabilities"},
            expected={"subtracted": "log-probabilities"},
            layer=softmax.module,
            step=softmax.step,
            title="the KL divergence subtracts probabilities from log-probabilities",
            also=[observation.where(softmax)],
        )
    if not seen:
        raise NotObserved("no kl_div was seen")


def _by_hand(observation: Observation) -> Iterator[tuple[Op, Place | None]]:
    """Yields (softmax, line) of divergences that are written out, p * (log p - q), where q should be log q."""
    found = [
        op
        for op in observation.ops
        if op.name in ("sub", "rsub")
        and op.grad
        and len(op.inputs) == 2
        and op.inputs[0].shape == op.inputs[1].shape
    ]
    uses = Uses(observation) if found else None
    for op in found:
        known, learned = sorted(op.inputs, key=lambda operand: operand.grad)
        log, softmax = observation.source(known), observation.source(learned)
        if known.grad or log is None or log.name not in ("log", "log_softmax") or softmax is None:
            continue
        if softmax_dim(observation, softmax) is None or uses is None:
            continue
        if any(taker.name == "mul" for taker in uses.of(op)) and uses.ends_in_loss(op, LINEAR):
            yield softmax, call_line(observation, op)


def _with_log(line: str) -> str | None:
    for old, new in (
        ("nn.Softmax(", "nn.LogSoftmax("),
        ("F.softmax(", "F.log_softmax("),
        (".softmax(", ".log_softmax("),
    ):
        if line.count(old) == 1:
            return line.replace(old, new)
    return None


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs = torch.randn(160, 10)
teacher = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 4)).requires_grad_(False)
student = nn.Linear(10, 4)
optimizer = torch.optim.Adam(student.parameters(), lr=1e-2)
criterion = nn.KLDivLoss(reduction="batchmean")
for epoch in range(3):
    for start in range(0, 160, 40):
        batch = inputs[start : start + 40]
        wanted = F.softmax(teacher(batch), dim=1)
        guess = F.{softmax}(student(batch), dim=1)
        loss = criterion(guess, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print(loss.item())
"""
bad = _PROGRAM.replace("{softmax}", "softmax")
good = _PROGRAM.replace("{softmax}", "log_softmax")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs = torch.randn(160, 10)
teacher, student = nn.Linear(10, 4), nn.Linear(10, 4)
optimizer = torch.optim.Adam(student.parameters(), lr=1e-2)
for step in range(12):
    with torch.no_grad():
        wanted = teacher(inputs)
    logits = student(inputs)
    log_share = logits - logits.logsumexp(dim=1, keepdim=True)
    loss = F.kl_div(log_share, wanted.log_softmax(1), log_target=True, reduction="batchmean")
    sure = torch.cat([torch.zeros(160, 1) + 0 * logits[:, :1], torch.full((160, 1), -20.0)], dim=1)
    loss = loss + 0.1 * F.kl_div(sure, torch.tensor([[1.0, 0.0]]).expand(160, 2), reduction="batchmean")
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
