"""NW604: the loss has no graph."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Backward, Observation, Op
from netwright.examine.rules import evidence
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW604",
    slug="loss-detached",
    level="error",
    by="backward",
    title="the loss is cut off from the network: no gradient can flow",
    what="The tensor on which backward() is called has no graph behind it: it was wrapped anew (torch.tensor, .item(), .detach(), "
    ".data), or computed under no_grad.",
    why="Either backward() fails, or (with requires_grad=True on the new tensor) it runs and no parameter gets a gradient: "
    "nothing is learned.",
    fix="Call backward() on the loss as the loss function returned it; use .item() only for printing.",
    example="loss = torch.tensor(criterion(net(x), y).item(), requires_grad=True)   # wrong\n"
    "loss = criterion(net(x), y)                                            # right",
    limits="If all parameters are frozen, NW507 says so instead.",
    explains=frozenset({"NW507", "NW605", "NW505", "NW603", "NW502", "NW512", "NW302", "NW602", "NW801"}),
)
_CUTS = ("tensor", "as_tensor", "item", "detach", "data", "numpy", "tolist", "from_numpy", "float_")


def check(observation: Observation) -> Iterator[Evidence]:
    trainable = [
        entry
        for entry in observation.parameters
        if entry.trainable and entry.requires_grad and not entry.buffer
    ]
    if not trainable:
        return
    optimized = observation.optimized()
    if optimized and not any(observation.parameters[uid].requires_grad for uid in optimized):
        return  # NW507 names the cause
    for record in observation.backwards:
        op = observation.ops[record.op] if record.op >= 0 else None
        if record.leaf:
            if record.raised and "does not require grad" not in record.raised:
                continue
            cut = _cut(observation, op, record)
        elif op is not None and (back := _returned(observation, op, optimized)) is not None:
            cut = back
        elif op is not None and not _reaches(observation, op) and not record.gradients:
            cut = next((entry for entry in observation.ancestors(op) if entry.name in _CUTS), None)
            if cut is None:
                continue
        else:
            continue
        place = cut.place if cut is not None else record.place
        yield evidence(
            observation,
            place,
            seen={
                "graph": record.root or "none",
                "parameters_with_gradient": 0,
                "cut_by": cut.name if cut else "unknown",
            },
            expected={"parameters_with_gradient": f"at least 1 of {len(trainable)}"},
            layer=cut.module if cut is not None else -1,
            step=record.step,
            title="the loss is cut off from the network"
            + (f" by {_word(cut)}" if cut is not None else "")
            + ": no gradient can flow",
            harm="measured",
        )
        return


def _reaches(observation: Observation, op: Op) -> bool:
    """Returns whether the graph behind an operation holds a parameter (or something that the trace did not see)."""
    for entry in (op, *observation.ancestors(op, gradient=True)):
        for operand in entry.inputs:
            if (
                operand.grad
                and operand.op < 0
                and (operand.source == "parameter" or operand.source == "unknown")
            ):
                return True
    return False


def _returned(observation: Observation, op: Op, optimized: set[int]) -> Op | None:
    """Returns the operation that made a new leaf of numbers which left the graph of optimized parameters.

    Nothing else stands behind the loss: an input or a noise that is optimised through a frozen network is no such case.
    """
    line = [op, *observation.ancestors(op)]
    leaves = [entry for part in line for entry in part.inputs if entry.grad and entry.op < 0]
    if not leaves or any(entry.source != "leaf" or entry.parameter in optimized for entry in leaves):
        return None
    if any(entry.source == "parameter" for part in line for entry in part.inputs):
        return None
    before = [entry for entry in observation.ops[: op.index] if entry.step == op.step]
    made = [entry for entry in before if entry.name in ("tensor", "as_tensor")]
    if not made or not any(tuple(made[-1].shape) == tuple(entry.shape) for entry in leaves):
        return None
    if made[-1].inputs:  # of a list of tensors
        uses = (operand.parameter for part in observation.ancestors(made[-1]) for operand in part.inputs)
        return made[-1] if optimized.intersection(uses) else None
    left = [
        entry
        for entry in before
        if entry.name in ("item", "numpy", "tolist") and entry.index < made[-1].index
    ]
    for entry in left[-1:]:
        behind = [entry, *observation.ancestors(entry)]
        if any(operand.parameter in optimized for part in behind for operand in part.inputs):
            return made[-1]
    return None


def _cut(observation: Observation, op: Op | None, record: Backward) -> Op | None:
    """Returns the operation that lost the graph."""
    if op is None:
        return None
    line = [op, *observation.ancestors(op)]
    for entry in line:
        if not entry.grad and any(operand.grad for operand in entry.inputs):
            return entry
    if op.name in (
        "requires_grad",
        "requires_grad_",
    ):  # it came from outside and was made to ask for a gradient
        return op
    # A number that left torch and came back: the last that left on the way.
    if op.name in ("tensor", "as_tensor", "from_numpy") and not op.inputs:
        left = [
            entry for entry in observation.ops[: op.index] if entry.step == op.step and entry.name in _CUTS
        ]
        return left[-1] if left else op
    return next((entry for entry in line if not entry.grad_enabled), None)


def _word(cut: Op) -> str:
    if not cut.grad_enabled:
        return "no_grad"
    return {"data": ".data", "item": ".item()", "detach": ".detach()", "tensor": "torch.tensor(...)"}.get(
        cut.name, cut.name
    )


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
network = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss()
for step in range(6):
    optimizer.zero_grad()
    loss = {loss}
    loss.backward()
    optimizer.step()
    print(step, loss.detach().item())
"""
bad = _PROGRAM.replace(
    "{loss}", "torch.tensor(criterion(network(inputs), labels).item(), requires_grad=True)"
)
good = _PROGRAM.replace("{loss}", "criterion(network(inputs), labels)")
near_miss = _PROGRAM.replace(
    "{loss}", "criterion(network(inputs), labels) + torch.tensor(network[0].weight.abs().mean().item())"
)
