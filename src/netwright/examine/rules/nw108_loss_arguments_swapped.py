"""NW108: loss(target, prediction)."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Loss, Observation, Op
from netwright.examine.rules import evidence, rewrite
from netwright.examine.rules.written import LINEAR, Uses, call_line
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW108",
    slug="loss-arguments-swapped",
    level="error",
    by="backward",
    title="the loss gets the target first and the prediction second",
    what="The argument that comes from the network stands in the target's place and the labels in the prediction's.",
    why="PyTorch's losses take (prediction, target). Swapped, cross-entropy, BCE and KL compute something else, which may "
    "fall without the predictions becoming better; with class ids the call fails.",
    fix="Swap the two arguments: loss(prediction, target).",
    example="F.binary_cross_entropy(y, torch.sigmoid(net(x)))   # wrong\nF.binary_cross_entropy(torch.sigmoid(net(x)), y)   # right",
    limits="Advice only for the symmetric losses (MSE, L1, Huber). Silent where both arguments come from a network, and where "
    "the target is itself a parameter that is learned.",
    explains=frozenset({"NW604", "NW402", "NW114", "NW105", "NW204", "NW701", "NW111"}),
)
_SYMMETRIC = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")


def check(observation: Observation) -> Iterator[Evidence]:
    for loss in observation.losses:
        if not _swapped(observation, loss):
            continue
        symmetric = loss.function in _SYMMETRIC
        yield evidence(
            observation,
            loss.place,
            seen={
                "first_argument": _described(loss, first=True),
                "second_argument": _described(loss, first=False),
            },
            expected={"first_argument": "the prediction", "second_argument": "the target"},
            step=loss.step,
            title=f"{loss.function} gets the target first and the prediction second",
            level="advice" if symmetric else "",
            harm="possible" if symmetric else "likely",
            diff=rewrite(loss.place, _exchange),
        )
    yield from _by_hand(observation)


def _by_hand(observation: Observation) -> Iterator[Evidence]:
    """Cross-entropy written out, of the logarithm of the labels: log_softmax(labels) * prediction."""
    found = [op for op in observation.ops if op.name == "log_softmax" and not op.grad and op.grad_enabled]
    uses = Uses(observation) if found else None
    for op in found:
        operand = op.inputs[0] if op.inputs else None
        if (
            operand is None
            or uses is None
            or any(_of_a_network(entry) for entry in observation.ancestors(op))
        ):
            continue
        for taker in uses.of(op):
            other = next((entry for entry in taker.inputs if entry.grad and entry.shape == op.shape), None)
            made = observation.source(other) if other is not None else None
            if taker.name != "mul" or made is None or made.name not in ("linear", "addmm", "add", "matmul"):
                continue
            if uses.ends_in_loss(taker, LINEAR):
                yield evidence(
                    observation,
                    call_line(observation, taker),
                    seen={"log_softmax_of": f"{operand.dtype} {operand.shape}, carries no graph"},
                    expected={"log_softmax_of": "the prediction"},
                    layer=-1,
                    step=taker.step,
                    title="the loss takes the log-softmax of the targets and multiplies it by the prediction: its arguments are swapped",
                )


def _of_a_network(op: Op) -> bool:
    return op.grad or op.name in ("detach", "data") or any(entry.source == "parameter" for entry in op.inputs)


def _swapped(observation: Observation, loss: Loss) -> bool:
    if loss.prediction_grad or not loss.target_grad or not loss.grad_enabled:
        return False
    first_numbers, numbers = loss.prediction, loss.target
    plain = loss.function == "kl_div" and not loss.options.get("log_target")
    if plain and first_numbers and numbers and numbers.max <= 0 <= first_numbers.min:
        return True  # logarithms where probabilities belong, and the other way round
    if loss.op >= 0:
        target = observation.operand(observation.ops[loss.op], "target")
        if target is not None and target.source in ("parameter", "leaf"):
            return False  # labels that are learned
        first = observation.operand(observation.ops[loss.op], "input")
        made = observation.made(first) if first is not None else None
        # A frozen network's or a detached prediction against a learned target is a design, not a slip.
        return made is None or not (made.module >= 0 or made.name in ("detach", "data"))
    return False


def _described(loss: Loss, *, first: bool) -> str:
    shape, dtype = (
        (loss.prediction_shape, loss.prediction_dtype) if first else (loss.target_shape, loss.target_dtype)
    )
    return f"{dtype} {tuple(shape)}" + (", carries a graph" if not first else ", carries no graph")


def _exchange(line: str) -> str | None:
    """Returns the line with the two arguments of its one call of a loss swapped, None if that is unclear."""
    import re

    found = re.findall(
        r"(?:criterion|loss\w*|loss_fn|cross_entropy|binary_cross_entropy\w*|kl_div)\((\w+), (\w+)\)", line
    )
    if len(found) != 1:
        return None
    one, other = found[0]
    return line.replace(f"({one}, {other})", f"({other}, {one})")


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
targets = F.one_hot(labels, 4).float()
network = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss()
for step in range(6):
    optimizer.zero_grad()
    logits = network(inputs)
    loss = criterion({arguments})
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{arguments}", "targets, logits")
good = _PROGRAM.replace("{arguments}", "logits, targets")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
first, second = nn.Linear(20, 8), nn.Linear(20, 8)
optimizer = torch.optim.Adam([*first.parameters(), *second.parameters()], lr=1e-3)
for step in range(6):
    optimizer.zero_grad()
    loss = F.mse_loss(first(inputs), second(inputs)) + F.mse_loss(inputs[:, :8], first(inputs))
    loss.backward()
    optimizer.step()
"""
