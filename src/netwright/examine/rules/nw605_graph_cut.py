"""NW605: part of the network is cut off from the loss."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Observation, Op, Place
from netwright.examine.rules import NotObserved, evidence
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW605",
    slug="graph-cut",
    level="error",
    by="backward",
    title="a part of the network is cut off: its values reach the loss, its gradients do not come back",
    what="Between some layers and the loss stands .detach(), .data, .numpy() or no_grad. The optimizer holds these layers, but "
    "they never get a gradient.",
    why="Everything before the cut stays at its initial value; only the layers behind it learn, from random features.",
    fix="Remove the cut; convert or detach only what is printed or stored.",
    example="x = self.encoder(x).detach(); return self.head(x)   # wrong\nreturn self.head(self.encoder(x))                   # right",
    limits="Needs the trace of the first steps. Silent where another loss trains the same layers, and for layers that no "
    "optimizer holds (target networks). Reported from the second step on, once it is clear that no other loss reaches them.",
    explains=frozenset({"NW302", "NW503", "NW502", "NW512"}),
)


def check(observation: Observation) -> Iterator[Evidence]:
    steps = observation.steps
    if not steps:
        raise NotObserved("no optimizer step was seen")
    if observation.step_count < 2 and not observation.ended:
        return
    if len(observation.optimizers) > 1 and observation.step_count < 2 * len(observation.optimizers):
        return
    graded = {int(uid) for record in observation.backwards for uid in record.gradients}
    silent = {
        uid
        for step in steps
        for uid in step.none_uids
        if uid not in graded and observation.parameters[uid].requires_grad
    }
    if not silent or not graded & observation.optimized():
        return
    for record in observation.backwards:
        if record.op < 0 or record.leaf:
            continue
        cut = _cut(observation, observation.ops[record.op], silent)
        if cut is None:
            continue
        behind = sorted(uid for uid in silent)
        first = observation.parameters[behind[0]]
        where, also = _switched(observation, cut)
        yield evidence(
            observation,
            where,
            also=also,
            seen={"parameters_without_gradient": len(silent), "first": first.name, "cut_by": cut.name},
            expected={"parameters_without_gradient": 0},
            layer=first.module,
            step=record.step,
            title=f"{len(silent)} parameter(s) in the optimizer never get a gradient: {_word(cut)} cuts them off",
            harm="measured",
        )
        return


def _cut(observation: Observation, loss: Op, silent: set[int]) -> Op | None:
    """Returns the operation behind the loss at which the graph of these parameters ends."""
    line = [loss, *observation.ancestors(loss)]
    for op in sorted(line, key=lambda entry: entry.index, reverse=True):
        if op.grad or not op.inputs:
            continue
        loses = any(operand.grad for operand in op.inputs)
        if not loses and op.grad_enabled:
            continue
        behind = [op, *observation.ancestors(op)]
        if any(operand.parameter in silent for entry in behind for operand in entry.inputs):
            return op
    # A detour through numpy: the values left torch and came back.
    back = [
        op
        for op in line
        if op.name in ("tensor", "as_tensor", "from_numpy") and not op.grad and op.module >= 0
    ]
    for op in back:
        for left in reversed(observation.ops[: op.index]):
            if left.name in ("numpy", "tolist") and left.step == op.step:
                behind = [left, *observation.ancestors(left)]
                if any(operand.parameter in silent for entry in behind for operand in entry.inputs):
                    return left
    return _detour(observation, line, silent)


def _detour(observation: Observation, line: list[Op], silent: set[int]) -> Op | None:
    """Returns the operation by which values left torch, if others for as many examples came back unseen (from_numpy)."""
    for op in line:
        for operand in op.inputs if op.module >= 0 else ():
            if operand.op >= 0 or operand.source != "unknown" or not operand.dtype.startswith("float"):
                continue
            for left in reversed(observation.ops[: op.index]):
                if left.step != op.step or left.name not in ("numpy", "tolist") or left.module < 0:
                    continue
                if not left.inputs or not operand.shape or left.inputs[0].shape[:1] != operand.shape[:1]:
                    continue
                behind = [left, *observation.ancestors(left)]
                if any(entry.parameter in silent for part in behind for entry in part.inputs):
                    return left
    return None


def _switched(observation: Observation, cut: Op) -> tuple[Place | None, list[Place | None]]:
    """Returns the line that cuts, and others that belong to it.

    Under no_grad that is where it was switched on: the `with`, or the decorator of the function that was called.
    """
    if cut.grad_enabled:
        return cut.place, []
    entered = [
        event
        for event in observation.of_kind("no_grad")
        if event.order < cut.order and event.step == cut.step
    ]
    if not entered or entered[-1].place is None:
        return cut.place, []
    defined = entered[-1].detail.get("defined")
    return (Place(*defined), [entered[-1].place, cut.place]) if defined else (entered[-1].place, [cut.place])


def _word(cut: Op) -> str:
    if not cut.grad_enabled:
        return "no_grad"
    return {"data": ".data", "detach": ".detach()", "numpy": ".numpy()"}.get(cut.name, cut.name)


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(20, 16), nn.ReLU())
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        features = self.encoder(x){cut}
        return self.head(features)


network = Net()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(6):
    optimizer.zero_grad()
    loss = F.cross_entropy(network(inputs), labels)
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{cut}", ".detach()")
good = _PROGRAM.replace("{cut}", "")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(20, 8), nn.Linear(8, 20)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        code = torch.tanh(self.encoder(x))
        return self.decoder(code), self.head(code.detach())  # the probe must not shape the code


network = Net()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(6):
    optimizer.zero_grad()
    restored, logits = network(inputs)
    loss = F.mse_loss(restored, inputs) + F.cross_entropy(logits, labels)
    loss.backward()
    optimizer.step()
"""
