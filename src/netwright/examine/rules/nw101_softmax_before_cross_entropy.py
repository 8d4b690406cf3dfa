"""NW101: softmax output fed to cross-entropy."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from netwright.examine.observation import Observation, Op, Place
from netwright.examine.rules import evidence, rewrite, without_call
from netwright.examine.rules.written import softmax_dim, written
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW101",
    slug="softmax-before-cross-entropy",
    level="error",
    by="backward",
    title="softmax runs twice: its output is fed to cross-entropy, which applies log-softmax itself",
    what="The network ends in a softmax, and the loss (cross_entropy, or a log_softmax of its own) applies another.",
    why="Cross-entropy expects logits. Given probabilities it sees numbers between 0 and 1 only, so it can never come near 0 "
    "(for 10 classes not below 1.46), its gradients are small and training is slow or stalls early.",
    fix="Remove the softmax from the network; apply it only where probabilities are wanted, outside of the loss.",
    example="F.cross_entropy(torch.softmax(net(x), dim=1), y)   # wrong\nF.cross_entropy(net(x), y)                         # right",
    limits="Looks through views, casts and dropout. A softmax on the target (distillation) or inside attention is no fault.",
    explains=frozenset({"NW402", "NW503", "NW502", "NW512", "NW404"}),
)


def check(observation: Observation) -> Iterator[Evidence]:
    for loss, op in observation.loss_ops():
        if not loss.prediction_grad or loss.classes < 2:
            continue
        operand = op.inputs[0]
        if loss.function == "nll_loss":
            outer = observation.source(operand)
            if outer is None or outer.name != "log_softmax" or not outer.inputs:
                continue
            operand = outer.inputs[0]
        elif loss.function != "cross_entropy":
            continue
        softmax = observation.source(operand)
        if softmax is not None and softmax_dim(observation, softmax) is not None:
            yield _evidence(
                observation, softmax, {"row_sum": loss.row_sum, "first_loss": loss.value}, loss.place
            )
    for place in written(observation):
        softmax = observation.source(place.operand)
        if place.kind != "classes" or softmax is None or len(place.operand.shape) != len(softmax.shape):
            continue
        dim = place.op.options.get("dim")
        over = softmax_dim(observation, softmax)
        if over is not None and isinstance(dim, int) and place.operand.shape[dim] == softmax.shape[over] > 1:
            yield _evidence(observation, softmax, {"softmax_calls": 2}, place.op.place)


def _evidence(observation: Observation, softmax: Op, seen: dict[str, Any], loss: Place | None) -> Evidence:
    layer = softmax.module >= 0 and observation.modules[softmax.module].cls == "Softmax"
    return evidence(
        observation,
        softmax,
        seen=seen,
        also=[loss],
        expected={"row_sum": "any: logits", "softmax_calls": 1},
        diff=rewrite(
            observation.where(softmax), partial(without_call, name="Softmax" if layer else "softmax")
        )
        if softmax.name == "softmax"
        else "",
    )


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
network = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4){last})
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss()
for step in range(6):
    optimizer.zero_grad()
    loss = criterion(network(inputs), labels)
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{last}", ", nn.Softmax(dim=1)")
good = _PROGRAM.replace("{last}", "")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))


class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key, self.value = nn.Linear(5, 8), nn.Linear(5, 8), nn.Linear(5, 8)
        self.out = nn.Linear(8, 4)

    def forward(self, x):
        x = x.view(-1, 4, 5)
        weights = torch.softmax(self.query(x) @ self.key(x).transpose(1, 2) / 8**0.5, dim=-1)
        return self.out((weights @ self.value(x)).mean(1))


student, teacher = Attentive(), Attentive().eval()
optimizer = torch.optim.Adam(student.parameters(), lr=1e-3)
for step in range(6):
    with torch.no_grad():
        soft = F.softmax(teacher(inputs) / 2, dim=1)
    optimizer.zero_grad()
    logits = student(inputs)
    loss = F.cross_entropy(logits / 2, soft) + F.cross_entropy(logits, labels)
    loss.backward()
    optimizer.step()
    print(F.softmax(logits, dim=1).max().item())
"""
