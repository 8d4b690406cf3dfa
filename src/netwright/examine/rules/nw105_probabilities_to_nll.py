"""NW105: NLLLoss fed probabilities or logits."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Observation, Op
from netwright.examine.rules import evidence
from netwright.examine.rules.written import PLAIN, Uses, chosen
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW105",
    slug="probabilities-to-nll",
    level="error",
    by="forward",
    title="NLLLoss gets numbers that are not log-probabilities",
    what="nll_loss only picks the number of the true class and changes its sign; it expects log-probabilities.",
    why="With probabilities or raw logits the loss has no lower bound and no meaning: it falls by making all outputs large, "
    "and nothing pushes the other classes down.",
    fix="Use F.cross_entropy on the logits, or put F.log_softmax(..., dim=1) before nll_loss.",
    example="F.nll_loss(F.softmax(net(x), dim=1), y)       # wrong\nF.nll_loss(F.log_softmax(net(x), dim=1), y)   # right",
    limits="The proof is that exp of a row does not sum to 1 (logsumexp differs from 0 by more than 0.1 in the first batch).",
    explains=frozenset({"NW402", "NW510", "NW512", "NW501"}),
)


def check(observation: Observation) -> Iterator[Evidence]:
    for loss in observation.losses:
        ends = loss.row_logsumexp
        if loss.function != "nll_loss" or ends is None or loss.classes < 2 or not loss.prediction_grad:
            continue
        if not (ends[0] > 0.1 or ends[1] < -0.1):  # every row of the batch is off
            continue
        where = observation.ops[loss.op] if loss.op >= 0 else None
        source = observation.source(where.inputs[0]) if where is not None else None
        kind = "probabilities" if source is not None and source.name == "softmax" else "raw outputs"
        yield evidence(
            observation,
            loss.place,
            seen={"row_logsumexp": ends, "row_sum": loss.row_sum},
            expected={"row_logsumexp": 0.0},
            layer=source.module if source is not None else loss.module,
            step=loss.step,
            title=f"NLLLoss gets {kind}, not log-probabilities",
        )
    yield from _by_hand(observation)


def _by_hand(observation: Observation) -> Iterator[Evidence]:
    """Losses that are nothing but the negative of the true class's raw output, chosen by the program itself."""
    found = [
        (op, pair) for op in observation.ops if op.grad and (pair := chosen(observation, op)) is not None
    ]
    uses = Uses(observation) if found else None
    for op, (scores, ids) in found:
        source = observation.source(scores)
        if uses is None or source is None or source.name not in ("linear", "addmm") or ids.grad:
            continue
        trains = any(entry.source == "parameter" and entry.grad for entry in source.inputs)
        alone = sum(taker.grad for taker in uses.of(source)) == 1
        steps = any(record.step == op.step and record.order > op.order for record in observation.steps)
        if trains and alone and steps and uses.ends_in_loss(op, PLAIN) and _negated(uses, op):
            yield evidence(
                observation,
                op.place,
                seen={"chosen_from": "raw outputs"},
                expected={"chosen_from": "log-probabilities"},
                layer=source.module,
                step=op.step,
                title="the loss is the negative of the true class's raw output, not of its log-probability",
            )


def _negated(uses: Uses, op: Op) -> bool:
    """Returns whether the sign is changed once on the way to the loss."""
    signs = 0
    for _ in range(20):
        following = [taker for taker in uses.of(op) if taker.grad]
        if len(following) != 1:
            break
        op = following[0]
        signs += op.name == "neg"
    return signs == 1


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
network = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4){last})
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
criterion = nn.NLLLoss()
for step in range(6):
    optimizer.zero_grad()
    loss = criterion(network(inputs), labels)
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{last}", ", nn.Softmax(dim=1)")
good = _PROGRAM.replace("{last}", ", nn.LogSoftmax(dim=1)")
near_miss = _PROGRAM.replace("{last}", "").replace(
    "criterion(network(inputs), labels)",
    "criterion((lambda z: z - z.exp().sum(1, keepdim=True).log())(network(inputs)), labels)",
)
