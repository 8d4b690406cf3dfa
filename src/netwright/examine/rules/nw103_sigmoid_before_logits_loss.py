"""NW103: sigmoid output fed to a loss that wants logits."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from netwright.examine.observation import Observation, Op, Place, Stats
from netwright.examine.rules import evidence, rewrite, without_call
from netwright.examine.rules.written import written
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW103",
    slug="sigmoid-before-logits-loss",
    level="error",
    by="backward",
    title="a sigmoid squeezes the output before a loss that expects logits",
    what="The last operation before CrossEntropyLoss or BCEWithLogitsLoss (or a loss written by hand with log-softmax, "
    "log-sigmoid or softplus) is a sigmoid.",
    why="These losses apply their own softmax or sigmoid. What they get lies between 0 and 1, so the probability that they "
    "make of it lies between 0.5 and 0.73: the loss cannot become small and the gradients are squeezed twice.",
    fix="Remove the sigmoid (or use BCELoss with it, which is less exact).",
    example="F.binary_cross_entropy_with_logits(torch.sigmoid(net(x)), y)   # wrong\n"
    "F.binary_cross_entropy_with_logits(net(x), y)                  # right",
    limits="Looks through views, casts and dropout. sigmoid + BCELoss and sigmoid + MSE are fine.",
    explains=frozenset({"NW404", "NW402", "NW503", "NW502", "NW512"}),
)
_LOSSES = ("cross_entropy", "binary_cross_entropy_with_logits", "multilabel_soft_margin_loss")


def check(observation: Observation) -> Iterator[Evidence]:
    for loss, op in observation.loss_ops():
        if loss.function not in _LOSSES or not loss.prediction_grad or loss.prediction is None:
            continue
        sigmoid = observation.source(op.inputs[0])
        if sigmoid is not None and sigmoid.name == "sigmoid" and sigmoid.grad:
            yield _evidence(observation, sigmoid, loss.function, loss.prediction, loss.place)
    for place in written(observation):
        sigmoid = observation.source(place.operand)
        if sigmoid is not None and sigmoid.name == "sigmoid" and sigmoid.grad:
            yield _evidence(observation, sigmoid, place.name, sigmoid.stats, place.op.place)


def _evidence(
    observation: Observation, sigmoid: Op, name: str, numbers: Stats | None, loss: Place | None
) -> Evidence:
    layer = sigmoid.module >= 0 and observation.modules[sigmoid.module].cls == "Sigmoid"
    return evidence(
        observation,
        sigmoid,
        seen={} if numbers is None else {"smallest": numbers.min, "largest": numbers.max},
        expected={"smallest": "below 0", "largest": "above 1"},
        also=[loss],
        title=f"a sigmoid squeezes the output before {name}, which expects logits",
        diff=rewrite(
            observation.where(sigmoid), partial(without_call, name="Sigmoid" if layer else "sigmoid")
        ),
    )


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
targets = (labels > 1).float().unsqueeze(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(20, 32)
        self.out = nn.Linear(32, 1)

    def forward(self, x):
        gate = torch.sigmoid(self.hidden(x))
        return {out}


network = Net()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
criterion = {criterion}
for step in range(6):
    optimizer.zero_grad()
    loss = criterion(network(inputs), targets)
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{out}", "torch.sigmoid(self.out(gate))").replace(
    "{criterion}", "nn.BCEWithLogitsLoss()"
)
good = _PROGRAM.replace("{out}", "self.out(gate)").replace("{criterion}", "nn.BCEWithLogitsLoss()")
near_miss = _PROGRAM.replace("{out}", "torch.sigmoid(self.out(gate))").replace("{criterion}", "nn.BCELoss()")
