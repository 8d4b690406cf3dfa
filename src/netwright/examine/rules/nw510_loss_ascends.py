"""NW510: the sign is flipped, and training climbs the loss."""

from __future__ import annotations

import re
from collections.abc import Iterator
from statistics import mean, median
from typing import NamedTuple

from netwright.examine.observation import Backward, Observation, Op, Place
from netwright.examine.rules import NotObserved, evidence, rewrite
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW510",
    slug="loss-ascends",
    level="warning",
    by="100",
    title="training climbs the loss: a sign is flipped",
    what="A loss that is to be small is negated before the backward (or the minus of a log-likelihood is missing), or the "
    "update adds the gradient instead of subtracting it.",
    why="Each step makes the network worse: its errors grow until numbers overflow. What the program prints may look like a "
    "loss that falls, when it is the negated one.",
    fix="Minimise the loss: no minus before a cross-entropy or a squared error, a minus before a log-likelihood, weights minus "
    "learning rate times gradient.",
    example="(-F.cross_entropy(net(x), y)).backward()   # wrong\nF.cross_entropy(net(x), y).backward()      # right",
    limits="Needs the trace of the first steps: a loss function of PyTorch, a mean of squares or a log-likelihood whose path to "
    "the backward is plain arithmetic. Silent with several optimizers (GAN), with weighted terms of both signs (reinforcement "
    "learning, gradient reversal), and where the input is optimised (adversarial examples).",
    explains=frozenset({"NW501", "NW504", "NW512", "NW701", "NW702", "NW403", "NW404"}),
)


class _Term(NamedTuple):
    sign: int
    kind: str  #: loss, square or likelihood
    op: Op
    flip: Op | None  #: the operation that turned its sign


def check(observation: Observation) -> Iterator[Evidence]:
    if not observation.backwards:
        raise NotObserved("no backward was seen")
    if sum(1 for entry in observation.optimizers if entry.steps) > 1 or not _trains_a_module(observation):
        return
    backward = next((entry for entry in observation.backwards if entry.op >= 0), None)
    if backward is None:
        raise NotObserved("the loss was not traced")
    terms = _terms(observation, observation.ops[backward.op])
    if not terms or any(term.kind == "unknown" for term in terms):
        return
    signs = {term.sign if term.kind != "likelihood" else -term.sign for term in terms}
    if len(signs) != 1:
        return
    sign, up = signs.pop(), _direction(observation)
    if up is None or (sign > 0) is (up < 0):
        return  # it descends, or both signs are turned
    values = [value * sign for _, value in observation.curve[:400]]
    rise = _rise(values)
    if rise is None:
        return
    first, last = rise
    yield from _report(observation, backward, terms, first, last, flipped=sign < 0)


def _report(
    observation: Observation,
    backward: Backward,
    terms: list[_Term],
    first: float,
    last: float,
    *,
    flipped: bool,
) -> Iterator[Evidence]:
    term, stepped = terms[0], None
    place: Place | None
    if flipped and term.kind == "likelihood":
        root = observation.ops[backward.op]
        place, what = root.place, "the minus of the log-likelihood is missing"
        diff = rewrite(place, _with_minus)
        fix = "Put a minus before it: minimising the negative log-likelihood raises the likelihood."
    elif flipped:
        flip = term.flip or observation.ops[backward.op]
        name = term.op.name if term.kind == "loss" else "squared error"
        place, what = flip.place, f"the {name} is negated before the backward"
        diff = rewrite(place, _without_minus)
        fix = "Remove the minus before the loss."
    else:
        optimizer = next((entry for entry in observation.optimizers if entry.steps), None)
        update = next(observation.of_kind("manual_update"), None)
        if optimizer is not None:
            stepped = optimizer.step_place
            place, what = (
                optimizer.place or optimizer.step_place,
                "the optimizer follows the gradient instead of going against it",
            )
            diff = rewrite(place, lambda line: re.sub(r",\s*maximize\s*=\s*True", "", line))
            fix = "Remove maximize=True, or whatever turns the sign of the gradients."
        else:
            place, what = (
                update.place if update is not None else backward.place,
                "the update adds the gradient",
            )
            diff = rewrite(place, lambda line: line.replace("+=", "-=", 1) if line.count("+=") == 1 else None)
            fix = "Subtract the learning rate times the gradient."
    yield evidence(
        observation,
        place,
        seen={"loss_at_first": round(first, 4), "loss_later": last},
        expected={"loss_later": f"below {first:.4g}"},
        also=[stepped],
        step=backward.step,
        title=f"training climbs the loss ({first:.3g} at first, {last:.3g} later): {what}",
        fix=fix,
        diff=diff,
        harm="measured",
    )


def _rise(values: list[float]) -> tuple[float, float] | None:
    """Returns where the loss began and where it went, if it rose."""
    finite = [value for value in values if value - value == 0]
    if len(finite) < 5 or (len(finite) < 10 and len(finite) == len(values)):
        return None
    size = max(2, min(5, len(finite) // 4))
    first, last = mean(finite[:size]), mean(finite[-size:])
    halves = mean(finite[: len(finite) // 2]), mean(finite[len(finite) // 2 :])
    if last > first + 0.02 * max(abs(first), 0.1) and halves[1] > halves[0]:
        return finite[0], finite[-1]
    return None


def _direction(observation: Observation) -> int | None:
    """Returns 1 if the weights go along the gradient, -1 if against it."""
    found = [
        step.along
        for step in observation.steps[:20]
        if step.along is not None and min(step.lr, default=0.0) >= 0
    ]
    if not observation.step_count:
        found = [entry.along for entry in observation.backwards[:20] if entry.along is not None]
    if len(found) < 2:
        return None
    middle = median(found)
    return 1 if middle > 0.3 and min(found[:5]) > 0 else -1 if middle < 0 else None


def _trains_a_module(observation: Observation) -> bool:
    """Returns whether weights are trained, and not inputs (adversarial examples, pictures that please a network)."""
    held = observation.optimized()
    if held:
        return any(observation.parameters[uid].module >= 0 for uid in held)
    graded = {int(uid) for entry in observation.backwards for uid in entry.gradients}
    owned = any(observation.parameters[uid].module >= 0 for uid in graded)
    return owned or not any(module.parameters for module in observation.modules)


_LINEAR = frozenset(
    [
        "mean",
        "sum",
        "float",
        "double",
        "half",
        "to",
        "view",
        "reshape",
        "squeeze",
        "unsqueeze",
        "flatten",
        "stack",
        "cat",
        "nanmean",
    ]
)
_SQUARES = frozenset(["square", "abs", "norm"])


def _terms(observation: Observation, root: Op) -> list[_Term]:
    """Returns what a loss is made of by plain arithmetic, each with its sign."""
    losses = {loss.op for loss in observation.losses if loss.op >= 0}
    found: list[_Term] = []
    queue: list[tuple[Op, int, Op | None, int, bool]] = [(root, 1, None, 0, False)]
    while queue:
        op, sign, flip, depth, chosen = queue.pop()
        if depth > 40 or len(found) > 64:
            return []
        operands = [entry for entry in op.inputs if entry.grad]
        if op.index in losses:
            found.append(_Term(sign, "loss", op, flip))
            continue
        if op.name in _SQUARES or (op.name == "pow" and 2 in op.options.values()):
            error = observation.source(op.inputs[0])
            known = error is not None and error.name == "sub" and len(error.inputs) == 2
            known = known and error is not None and sum(entry.grad for entry in error.inputs) == 1
            found.append(_Term(sign, "square" if known else "unknown", op, flip))
            continue
        if op.name in ("log_softmax", "log", "logsigmoid") and chosen and _of_probabilities(observation, op):
            found.append(_Term(sign, "likelihood", op, flip))
            continue
        factor = _factor(observation, op)
        if factor is None or not operands:
            found.append(_Term(sign, "unknown", op, flip))
            continue
        chosen = chosen or op.name in ("getitem", "gather", "take_along_dim") or _weighted(op)
        for entry in operands:
            turned = factor * (-1 if op.name == "sub" and entry is not op.inputs[0] else 1)
            made = observation.made(entry)
            if made is None:
                found.append(_Term(sign * turned, "unknown", op, flip))
            else:
                queue.append(
                    (made, sign * turned, op if turned < 0 and flip is None else flip, depth + 1, chosen)
                )
    if any(term.kind == "likelihood" for term in found) and not all(
        term.kind == "likelihood" for term in found
    ):
        return []
    return found


def _weighted(op: Op) -> bool:
    """Returns whether an operation multiplies with data, as one does to choose a class."""
    return op.name == "mul" and any(not entry.grad and len(entry.shape) > 0 for entry in op.inputs)


def _of_probabilities(observation: Observation, op: Op) -> bool:
    if op.name != "log":
        return True
    made = observation.source(op.inputs[0])
    while made is not None and made.name in ("add", "clamp", "rsub") and made.inputs:
        made = observation.source(made.inputs[0])
    return made is not None and made.name in ("softmax", "sigmoid")


def _factor(observation: Observation, op: Op) -> int | None:
    """Returns the sign that an operation gives to its operands, None if it is not plain arithmetic."""
    if op.name in _LINEAR or op.name in (
        "add",
        "sub",
        "getitem",
        "gather",
        "take_along_dim",
        "clone",
        "index_select",
    ):
        return 1
    if op.name in ("neg", "rsub"):
        return -1
    if op.name in ("mul", "div"):
        number = op.options.get("other")
        if isinstance(number, (int, float)) and number:
            return 1 if number > 0 else -1
        weight = next((entry for entry in op.inputs if not entry.grad), None)
        if weight is None or (op.name == "div" and weight is op.inputs[0]):
            return None
        numbers = weight.stats
        if numbers is None and (made := observation.made(weight)) is not None:
            numbers = made.stats
        if numbers is None or len([entry for entry in op.inputs if entry.grad]) != 1:
            return None
        if numbers.count == 1 and numbers.min < 0:
            return -1
        return 1 if (numbers.min >= 0 and numbers.max <= 1) or numbers.count == 1 else None
    return None


def _without_minus(line: str) -> str | None:
    for pattern, new in (
        (r"\(\s*-\s*([\w.]+(?:\(.*\))?)\s*\)\.backward", r"\1.backward"),
        (r"(=\s*|return\s+|\(\s*)-\s*(?=[A-Za-z_(])", r"\1"),
        (r"\s*\*\s*\(?-1(?:\.0?)?\)?(?=\s|$|\))", ""),
    ):
        changed, count = re.subn(pattern, new, line)
        if count == 1:
            return changed
    return None


def _with_minus(line: str) -> str | None:
    changed, count = re.subn(r"(^\s*[\w.]+\s*=\s*|return\s+)(?=[A-Za-z_(])", r"\1-", line)
    return changed if count == 1 and not re.search(r"=.*\s[-+]\s", changed) else None


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs = torch.randn(256, 10)
labels = (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0).long()
network = nn.Sequential(nn.Linear(10, 24), nn.ReLU(), nn.Linear(24, 3))
optimizer = torch.optim.SGD(network.parameters(), lr=0.02)
for step in range(60):
    picked = torch.randint(0, 256, (32,))
    log_likelihood = F.log_softmax(network(inputs[picked]), dim=1)[range(32), labels[picked]]
    loss = {sign}log_likelihood.mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{sign}", "")
good = _PROGRAM.replace("{sign}", "-")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
policy = nn.Sequential(nn.Linear(4, 24), nn.Tanh(), nn.Linear(24, 3))
optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
for episode in range(60):
    states = torch.randn(32, 4)
    chosen = torch.distributions.Categorical(logits=policy(states))
    actions = chosen.sample()
    rewards = (actions == (states[:, 0] > 0).long()).float() - 0.5
    loss = -(chosen.log_prob(actions) * rewards).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
critic = nn.Sequential(nn.Linear(2, 24), nn.ReLU(), nn.Linear(24, 1))
generator = nn.Sequential(nn.Linear(2, 24), nn.ReLU(), nn.Linear(24, 2))
judge = torch.optim.RMSprop(critic.parameters(), lr=1e-3)
maker = torch.optim.RMSprop(generator.parameters(), lr=1e-3)
for step in range(30):
    real, fake = torch.randn(32, 2) + 2, generator(torch.randn(32, 2))
    judge.zero_grad()
    (critic(fake.detach()).mean() - critic(real).mean()).backward()
    judge.step()
    maker.zero_grad()
    (-F.binary_cross_entropy_with_logits(critic(fake), torch.zeros(32, 1))).backward()
    maker.step()
"""
