"""NW702: a log, a root or a division comes to the edge of what it is defined for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import mean, median

from netwright.examine.observation import PASSIVE, Observation, Op, Operand, Place, Stats
from netwright.examine.rules import closing, evidence, rewrite
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW702",
    slug="unsafe-log-or-sqrt",
    level="warning",
    by="100",
    title="a log, a square root or a division gets arguments at or near 0",
    what="In what leads to the loss, a log, a root or a division has no guard, and its argument came to 0 or so near to it that "
    "the gradient is enormous.",
    why="The gradient of log(x) is 1/x and that of sqrt(x) is 1/(2 sqrt(x)): at 0 they are infinite, and infinite times 0 is NaN. "
    "One such example in one batch makes every weight NaN. torch.where does not help: the branch that is not chosen still "
    "sends its NaN back.",
    fix="Put the guard inside: torch.log(x.clamp_min(1e-8)), torch.sqrt(x + 1e-8), a / b.clamp_min(1e-8); better still use the "
    "stable form (F.log_softmax, F.logsigmoid, binary_cross_entropy_with_logits, torch.linalg.vector_norm).",
    example="-torch.log(torch.softmax(z, 1))[i, y]    # wrong: softmax gives 0 once the network is sure\n"
    "F.cross_entropy(z, y)                    # right\n"
    "torch.sqrt(((a - b) ** 2).sum(1))        # wrong where a equals b\n"
    "torch.sqrt(((a - b) ** 2).sum(1) + 1e-8) # right",
    explains=frozenset({"NW504"}),
    limits="Arguments are seen in the first steps, and later in the sampled ones if the graph has kept its shape. Silent where the "
    "argument is clamped or has a constant added, and on PyTorch's own losses and norms, which are guarded. A square or an absolute value that is "
    "divided by, or whose log is taken, is also told where the gradient's norm follows its smallness up a hundredfold. Once a NaN is "
    "there, the finding is attached to NW701.",
)
#: Below this a guard was forgotten: with eps = 1e-12 or more in it, the argument does not come here.
_NEAR = {"log": 1e-13, "div": 1e-13, "sqrt": 1e-20, "acos": 0.0}
_KINDS = {
    "log": "log", "log2": "log", "log10": "log", "div": "div", "rdiv": "div", "reciprocal": "div",
    "sqrt": "sqrt", "rsqrt": "div", "pow": "sqrt", "acos": "acos", "asin": "acos",
}  # fmt: skip
_GUARDS = frozenset(
    {"clamp", "clamp_min", "maximum", "max", "add", "softplus", "exp", "masked_fill", "where", "nan_to_num"}
)


def check(observation: Observation) -> Iterator[Evidence]:
    told: set[Place | None] = set()
    trained: set[int] | None = None
    for op in observation.ops:
        if op.name not in _KINDS or not op.grad:
            continue
        operand = _argument(op)
        if operand is None or operand.stats is None or not _near(op, operand.stats):
            continue
        if trained is None:
            trained = _behind_losses(observation)
        if op.index in trained and op.place not in told and not _guarded(observation, op, operand):
            told.add(op.place)
            yield _evidence(observation, op, operand.stats, op.step)
    for edge in observation.edges:
        op = observation.ops[edge.op]
        operand = _argument(op) if op.name in _KINDS else None
        if operand is None or op.place in told or not _near(op, edge.argument):
            continue
        if not _guarded(observation, op, operand):
            told.add(op.place)
            yield _evidence(observation, op, edge.argument, edge.step)
    for found in _wild(observation):
        if not told:
            yield found
        return


# -- not at the edge, but so near to it now and then that the gradient goes wild ----------------------------------------


def _wild(observation: Observation) -> Iterator[Evidence]:
    """Yields evidence for a log of, or a division by, a square or an absolute value whose smallness rules the gradient."""
    floorless = {
        op.index: op
        for op in observation.ops
        if op.grad and op.name in _KINDS and _KINDS[op.name] in ("log", "div") and _floorless(observation, op)
    }
    if not floorless:
        return
    trained = _behind_losses(observation)
    norms = {
        step.step: math.sqrt(sum(size * size for size in step.gradients.values()))
        for step in observation.steps
        if step.sampled
    } | dict(observation.glances)
    groups: dict[tuple[Place | None, str], dict[int, Stats]] = {}
    for op in floorless.values():
        operand = _argument(op)
        if op.index in trained and operand is not None and operand.stats is not None:
            groups.setdefault((op.place, op.name), {}).setdefault(op.step, operand.stats)
    for edge in observation.edges:
        edged = floorless.get(edge.op)
        if edged is not None and (edged.place, edged.name) in groups:
            groups[edged.place, edged.name].setdefault(edge.step, edge.argument)
    for (place, name), seen in groups.items():
        pairs = [
            (numbers.min, norms[step])
            for step, numbers in seen.items()
            if numbers.min > 0 and 0 < norms.get(step, 0.0) < math.inf
        ]
        if len(pairs) < 6:
            continue
        usual, most = median(norm for _, norm in pairs), max(norm for _, norm in pairs)
        at = min(seen, key=lambda step: seen[step].min)
        if most < 100 * usual or seen[at].min > 1e-3 * seen[at].mean or _correlation(pairs) > -0.6:
            continue
        op = next(entry for entry in floorless.values() if (entry.place, entry.name) == (place, name))
        operand = _argument(op)
        made = observation.source(operand) if operand is not None else None
        yield evidence(
            observation,
            place,
            also=[made.place if made is not None else None],
            layer=op.module,
            seen={"smallest_argument": seen[at].min, "mean_argument": seen[at].mean, "gradient_norm": most, "usual": usual},
            expected={"smallest_argument": "bounded away from 0", "gradient_norm": f"below {100 * usual:.3g}"},
            step=at,
            title=f"{'division' if _KINDS[name] == 'div' else name} of what may come as near to 0 as it likes "
            f"({seen[at].min:.2g}, mean {seen[at].mean:.2g}): the gradient's norm goes up to {most:.2g}, from {usual:.2g}",
            fix="Give the argument a floor where it is made: x ** 2 + 1e-3, F.softplus(x) + 1e-4, x.abs().clamp_min(1e-3).",
            harm="measured",
        )  # fmt: skip


def _floorless(observation: Observation, op: Op) -> bool:
    """Returns whether the argument is a square or an absolute value of what the network gives, with nothing added."""
    operand = _argument(op)
    if operand is None or not operand.grad:
        return False
    made = observation.source(operand)
    if made is None or not made.inputs:
        return False
    if made.name in ("square", "abs"):
        return True
    if made.name == "pow":
        return made.options.get("exponent") in (2, 2.0, 4, 4.0)
    return made.name == "mul" and len(made.inputs) == 2 and made.inputs[0].op == made.inputs[1].op >= 0


def _correlation(pairs: list[tuple[float, float]]) -> float:
    """Returns the correlation of the logarithms of two positive figures."""
    ones, others = ([math.log(pair[number]) for pair in pairs] for number in (0, 1))
    one, other = mean(ones), mean(others)
    spread = math.sqrt(sum((x - one) ** 2 for x in ones) * sum((y - other) ** 2 for y in others))
    return sum((x - one) * (y - other) for x, y in zip(ones, others)) / spread if spread else 0.0


# -- at the edge -------------------------------------------------------------------------------------------------------


def _argument(op: Op) -> Operand | None:
    """Returns the operand of an operation that must not come to its edge."""
    if op.name == "div":
        return op.inputs[1] if len(op.inputs) > 1 else None
    if not op.inputs:
        return None
    if op.name == "pow":
        exponent = op.options.get("exponent")
        if not isinstance(exponent, (int, float)) or exponent >= 1 or exponent == 0:
            return None
        return op.inputs[0] if exponent < 0 or op.inputs[0].grad else None
    if _KINDS[op.name] in ("sqrt", "acos") and not op.inputs[0].grad:
        return None
    return op.inputs[0]


def _near(op: Op, numbers: Stats) -> bool:
    kind = _KINDS[op.name]
    if numbers.finite < 1:
        return False  # the fault lies before
    if kind == "acos":
        return max(abs(numbers.min), abs(numbers.max)) == 1.0
    if kind == "div":
        tiny = 0 <= numbers.min < _NEAR["div"] or -_NEAR["div"] < numbers.max <= 0
        return numbers.zero > 0 or tiny
    return numbers.min < _NEAR[kind]


def _guarded(observation: Observation, op: Op, operand: Operand) -> bool:
    """Returns whether the argument has a floor: then that it is small is meant."""
    source = observation.made(operand)
    while source is not None and source.name in PASSIVE and source.inputs:
        source = observation.made(source.inputs[0])
    if source is None or source.name not in _GUARDS:
        return False
    if source.name == "add":
        other = source.options.get("other")
        return isinstance(other, (int, float)) and other > 0
    if source.name in ("clamp", "clamp_min"):
        low = source.options.get("min")
        return not isinstance(low, (int, float)) or low > 0
    if source.name in ("maximum", "max"):
        return len(source.inputs) > 1
    return source.name in ("exp", "softplus") and _KINDS[op.name] == "log"


def _behind_losses(observation: Observation) -> set[int]:
    found: set[int] = set()
    for record in observation.backwards:
        if record.op >= 0 and not record.leaf and record.op not in found:
            root = observation.ops[record.op]
            found.add(root.index)
            found.update(op.index for op in observation.ancestors(root, gradient=True))
    return found


def _evidence(observation: Observation, op: Op, numbers: Stats, step: int) -> Evidence:
    kind = _KINDS[op.name]
    word = {"div": "division", "rdiv": "division", "reciprocal": "division", "pow": "a root (**)"}.get(
        op.name, op.name
    )
    births = [
        birth.step
        for birth in observation.births
        if birth.kind not in ("input", "target") and birth.step >= step
    ]
    source = observation.source(op.inputs[0])
    fix = ""
    if kind == "log" and source is not None and source.name in ("softmax", "sigmoid"):
        stable = (
            "F.log_softmax (or F.cross_entropy on the logits)"
            if source.name == "softmax"
            else ("F.logsigmoid (or binary_cross_entropy_with_logits on the logits)")
        )
        fix = f"Instead of the {op.name} of a {source.name} use {stable}, which never sees the 0."
    if kind == "acos":
        return evidence(
            observation, op.place, layer=op.module,
            seen={"largest_argument": 1.0}, expected={"largest_argument": "below 1: there the gradient is infinite"},
            step=max([step, *births[:1]]), title=f"{op.name} gets 1 or -1, where its gradient is infinite",
            fix=f"Keep the argument inside: {op.name}(x.clamp(-1 + 1e-7, 1 - 1e-7)).", harm="measured" if births else "likely",
        )  # fmt: skip
    if kind == "div":
        least = 0.0 if numbers.zero > 0 else min(abs(numbers.min), abs(numbers.max))
    else:
        least = numbers.min
    what = f"{word} by {least:.3g}" if kind == "div" else f"{word} of {least:.3g}"
    seen = {"smallest_argument": least}
    if numbers.zero:
        seen["zero_share"] = round(numbers.zero, 6)
    return evidence(
        observation,
        op.place,
        layer=op.module,
        seen=seen,
        expected={"smallest_argument": "1e-8 or more, by a guard inside"},
        step=max([step, *births[:1]]),
        title=f"{what} on the way to the loss, without a guard",
        fix=fix,
        diff=rewrite(op.place, lambda line: _guard(line, op.name)),
        harm="measured" if births else "likely",
    )


def _guard(line: str, name: str) -> str | None:
    """Returns a line with a guard inside its one log or sqrt, None where that is unclear.

    >>> _guard("loss = -torch.log(p)[i, y].mean()", "log")
    'loss = -torch.log(p.clamp_min(1e-8))[i, y].mean()'
    >>> _guard("d = torch.sqrt(((a - b) ** 2).sum(1))", "sqrt")
    'd = torch.sqrt(((a - b) ** 2).sum(1) + 1e-8)'
    >>> _guard("d = (x * x).sum(1).sqrt()", "sqrt")
    'd = (x * x).sum(1).add(1e-8).sqrt()'
    >>> _guard("h = -(p * p.log() + q * q.log())", "log")
    """
    if name not in ("log", "log2", "log10", "sqrt") or line.count(f"{name}(") != 1:
        return None
    root = name == "sqrt"
    if f".{name}()" in line:
        return line.replace(f".{name}()", f".add(1e-8).{name}()" if root else f".clamp_min(1e-8).{name}()")
    if f"torch.{name}(" not in line:
        return None
    opened = line.index(f"torch.{name}(") + len(f"torch.{name}")
    closed = closing(line, opened)
    if closed < 0:
        return None
    inner = line[opened + 1 : closed]
    if root:
        guarded = f"{inner} + 1e-8"
    else:
        simple = closing(f"({inner})", 0) == len(inner) + 1 and not any(sign in inner for sign in "+-*/,@<>=")
        guarded = f"{inner}.clamp_min(1e-8)" if simple else f"({inner}).clamp_min(1e-8)"
    return line[: opened + 1] + guarded + line[closed:]


_PROGRAM = """
import torch
from torch import nn

torch.manual_seed(0)
inputs, labels = torch.randn(96, 8), torch.randint(0, 5, (96,))


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 5))

    def forward(self, x):
        return torch.softmax(self.body(x) / 0.02, dim=1)


policy = Policy()
optimizer = torch.optim.Adam(policy.parameters(), lr=1e-4)
for step in range(30):
    p = policy(inputs)
    chosen = {chosen}
    loss = -chosen.mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{chosen}", "torch.log(p)[torch.arange(96), labels]")
good = _PROGRAM.replace("{chosen}", "torch.log(p.clamp_min(1e-8))[torch.arange(96), labels]")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
points, labels = torch.randn(64, 10), torch.randint(0, 3, (64,))
network = nn.Sequential(nn.Linear(10, 24), nn.ReLU(), nn.Linear(24, 3))
centers = nn.Parameter(torch.randn(3, 3))
optimizer = torch.optim.Adam([*network.parameters(), centers], lr=1e-2)
mask = (torch.arange(64) % 3 == 0).float()
for step in range(30):
    codes = network(points)
    squared = ((codes.unsqueeze(1) - codes.unsqueeze(0)) ** 2).sum(2)  # 0 on the diagonal
    distances = torch.sqrt(squared + 1e-12)
    p = torch.softmax(-torch.cdist(codes, centers) * 60, dim=1)
    entropy = -(p * torch.log(p + 1e-10)).sum(1)
    loss = F.nll_loss(torch.log(p.clamp(min=1e-9)), labels) + 0.01 * distances.mean()
    loss = loss + (entropy * mask).sum() / mask.sum() + F.normalize(codes).norm() / 100
    with torch.no_grad():
        size = torch.sqrt((centers * 0).sum())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
