"""NW102: log_softmax output fed to cross-entropy."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from netwright.examine.observation import Observation
from netwright.examine.rules import evidence, rewrite, without_call
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW102",
    slug="log-softmax-before-cross-entropy",
    level="advice",
    by="backward",
    title="log_softmax runs twice: once in the network, once inside cross-entropy",
    what="The network ends in log_softmax, and cross_entropy applies another one.",
    why="The second log_softmax changes nothing, for a row of log-probabilities is normalised already. It only costs time, and "
    "readers wonder which of the two losses was meant.",
    fix="Keep one of the two: cross_entropy on logits, or log_softmax with nll_loss.",
    example="F.cross_entropy(F.log_softmax(net(x), dim=1), y)   # redundant\nF.cross_entropy(net(x), y)                         # right",
    limits="Looks through views, casts and dropout. A log_softmax over another dimension than the classes is NW107's.",
)


def check(observation: Observation) -> Iterator[Evidence]:
    for loss, op in observation.loss_ops():
        if not loss.prediction_grad or loss.classes < 2 or not op.inputs:
            continue
        operand = op.inputs[0]
        if loss.function == "nll_loss":
            outer = observation.source(operand)
            if outer is None or outer.name != "log_softmax" or not outer.inputs:
                continue
            operand = outer.inputs[0]
        elif loss.function != "cross_entropy":
            continue
        inner = observation.source(operand)
        if inner is None or inner.name != "log_softmax" or not inner.grad:
            continue
        ends = loss.row_logsumexp
        if loss.function == "cross_entropy" and (ends is None or max(map(abs, ends)) > 1e-2):
            continue
        in_layer = inner.module >= 0 and observation.modules[inner.module].cls == "LogSoftmax"
        change = partial(without_call, name="LogSoftmax" if in_layer else "log_softmax")
        yield evidence(
            observation,
            inner,
            seen={"log_softmax_calls": 2, "row_logsumexp": ends},
            expected={"log_softmax_calls": 1},
            step=loss.step,
            diff=rewrite(observation.where(inner), change),
            harm="possible",
        )


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.out = nn.Linear(20, 32), nn.Linear(32, 4)

    def forward(self, x):
        x = self.out(F.relu(self.hidden(x)))
        return F.log_softmax(x, dim=1)


network = Net()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
criterion = nn.{loss}()
for step in range(6):
    optimizer.zero_grad()
    loss = criterion(network(inputs), labels)
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{loss}", "CrossEntropyLoss")
good = _PROGRAM.replace("{loss}", "NLLLoss")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
student, teacher = nn.Linear(20, 4), nn.Linear(20, 4)
optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
for step in range(6):
    logits = student(inputs)
    with torch.no_grad():
        wanted = F.softmax(teacher(inputs) / 2, dim=1)
    loss = F.cross_entropy(logits, labels) + 4 * F.kl_div(F.log_softmax(logits / 2, dim=1), wanted, reduction="batchmean")
    loss = loss + F.nll_loss(F.log_softmax(logits, dim=1), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
