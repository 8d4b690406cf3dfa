"""NW405: a step function cuts the gradient."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Backward, Observation, Op
from netwright.examine.rules import NotObserved, evidence
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW405",
    slug="non-differentiable-activation",
    level="error",
    by="backward",
    title="a step function cuts the gradient: nothing before it can learn",
    what="Between some layers and the loss stands an operation whose derivative is 0 everywhere or does not exist: sign, round, "
    "floor, a comparison, argmax, a cast to integers.",
    why="The layers before it get a gradient of zero or none at all and stay at their initial values; only the layers behind it "
    "learn, from fixed random features.",
    fix="Use a smooth activation (sigmoid, tanh, softmax, GELU). If the values must be discrete, pass the gradient straight "
    "through: x + (torch.sign(x) - x).detach().",
    example="h = torch.sign(self.hidden(x))                  # wrong\n"
    "h = torch.tanh(self.hidden(x))                  # right\n"
    "h = self.hidden(x); h = h + (h.sign() - h).detach()   # right, and still discrete",
    limits="Needs the trace of the first steps. Silent where another path around the operation carries a gradient (straight-through "
    "estimators, masks, policy gradients), and where another loss trains the layers. With several optimizers it waits for "
    "each of them.",
    explains=frozenset({"NW605", "NW302", "NW401", "NW502", "NW503", "NW512", "NW507"}),
)
#: Their derivative is 0: they keep the graph, and nothing comes through it.
_FLAT = frozenset(["sign", "sgn", "round", "floor", "ceil", "trunc", "fix", "heaviside", "floordiv"])
#: They end the graph.
_ENDS = frozenset(
    """gt ge lt le eq ne argmax argmin argsort multinomial bernoulli bucketize searchsorted heaviside long int short bool
    byte one_hot signbit logical_not isclose""".split()  # noqa: SIM905
)


def check(observation: Observation) -> Iterator[Evidence]:
    records = [
        record for record in observation.backwards if record.op >= 0 and not record.leaf and not record.raised
    ]
    if not records:
        raise NotObserved("no backward of a traced loss was seen")
    if not any(op.name in _FLAT or op.name in _ENDS for op in observation.ops):
        return
    reached: set[int] = set()
    for record in records:
        reached |= _reached(observation, observation.ops[record.op])
    moved = {
        int(uid) for record in observation.backwards for uid, size in record.gradients.items() if size != 0
    }
    held = observation.optimized()
    for record in records:
        for op in _cuts(observation, record):
            behind = _parameters(observation, op) & held - reached - moved
            behind = {uid for uid in behind if observation.parameters[uid].requires_grad}
            if not behind or not _settled(observation, record, behind, moved):
                continue
            yield _evidence(observation, record, op, behind, moved)
            return


def _reached(observation: Observation, loss: Op) -> set[int]:
    """Returns the parameters to which a gradient can come from a loss."""
    found: set[int] = set()
    seen, queue = {loss.index}, [loss]
    while queue:
        op = queue.pop()
        if op.name in _FLAT:
            continue
        for operand in op.inputs:
            if not operand.grad:
                continue
            if operand.parameter >= 0:
                found.add(operand.parameter)
            if operand.op >= 0 and operand.op not in seen:
                seen.add(operand.op)
                queue.append(observation.ops[operand.op])
    return found


def _cuts(observation: Observation, record: Backward) -> list[Op]:
    """Returns the operations behind a loss through which no gradient comes, the nearest to the loss first."""
    loss = observation.ops[record.op]
    found = [
        op
        for op in (loss, *observation.ancestors(loss))
        if op.grad_enabled
        and any(operand.grad for operand in op.inputs)
        and ((op.name in _FLAT and op.grad) or (op.name in _ENDS and not op.grad))
    ]
    return sorted(found, key=lambda op: -op.index)


def _parameters(observation: Observation, op: Op) -> set[int]:
    """Returns the parameters from which an operation's operands that want a gradient were computed."""
    found = {operand.parameter for operand in op.inputs if operand.parameter >= 0 and operand.grad}
    for above in observation.ancestors(op, gradient=True):
        found |= {operand.parameter for operand in above.inputs if operand.parameter >= 0 and operand.grad}
    return found


def _settled(observation: Observation, record: Backward, behind: set[int], moved: set[int]) -> bool:
    """Returns whether no other loss can be about to train the parameters that got nothing."""
    if observation.ended:
        return True
    # Optimizers of networks that have not run yet (or belong to an earlier program) have no say.
    ran = {parameter.uid for parameter in observation.parameters if parameter.module >= 0} | behind
    working = [set(entry.parameters) & ran for entry in observation.optimizers]
    working = [entry for entry in working if entry]
    if observation.step_count >= 2 * max(1, len(working)):
        return True
    wanted = {uid for entry in working for uid in entry if observation.parameters[uid].requires_grad}
    zero = {int(uid) for uid, size in record.gradients.items() if size == 0}
    return len(working) == 1 and (wanted - behind <= moved or behind <= zero)


def _evidence(
    observation: Observation, record: Backward, op: Op, behind: set[int], moved: set[int]
) -> Evidence:
    names = [observation.parameters[uid].name for uid in sorted(behind)]
    word = _WORDS.get(op.name, f"{op.name}()")
    return evidence(
        observation,
        op,
        seen={
            "operation": op.name,
            "parameters_without_gradient": len(behind),
            "parameters_with_gradient": len(moved),
            "first": names[0],
        },
        expected={"parameters_without_gradient": 0},
        step=record.step,
        title=f"{word} cuts the gradient: {len(behind)} parameter(s) before it, the first {names[0] or 'unnamed'}, get none",
        harm="measured",
    )


_WORDS = {
    "gt": "a comparison (>)",
    "ge": "a comparison (>=)",
    "lt": "a comparison (<)",
    "le": "a comparison (<=)",
}
_WORDS |= {
    "eq": "a comparison (==)",
    "ne": "a comparison (!=)",
    "long": ".long()",
    "int": ".int()",
    "bool": ".bool()",
}


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs = torch.randn(128, 20)
labels = (inputs.sum(1) > 0).long()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(20, 32)
        self.head = nn.Linear(32, 2)

    def forward(self, x):
        h = self.hidden(x)
        {activation}
        return self.head(h)


network = Net()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for step in range(6):
    optimizer.zero_grad()
    loss = F.cross_entropy(network(inputs), labels)
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{activation}", "h = (h > 0).float()")
good = _PROGRAM.replace("{activation}", "h = torch.tanh(h)")
near_miss = _PROGRAM.replace("{activation}", "h = h + (torch.sign(h) - h).detach()  # straight through")
