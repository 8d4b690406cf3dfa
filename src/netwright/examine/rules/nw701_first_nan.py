"""NW701: where the first NaN or Inf is born."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Observation
from netwright.examine.rules import evidence
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW701",
    slug="first-nan",
    level="error",
    by="the step it happens",
    title="a number that is not finite appears in the loss",
    what="The loss, a gradient or a parameter becomes NaN or infinite.",
    why="One NaN in the loss makes every gradient NaN, and after the next step every weight. Nothing after it means anything.",
    fix="Mend the operation that makes it: keep arguments of log, sqrt and division away from 0 (eps inside, not outside), "
    "lower the learning rate, or clip gradients.",
    example="torch.log(p)                # wrong where p can be 0\ntorch.log(p.clamp_min(1e-8))   # right",
    limits="The line is known where the birth falls into a traced step, or the graph is the one of a traced step. Infinities "
    "under a GradScaler, and masks filled with -inf for a softmax, are expected. NaN in the data is NW203's.",
    explains=frozenset({"NW702", "NW512", "NW403", "NW404"}),
)


def check(observation: Observation) -> Iterator[Evidence]:
    for birth in observation.births[:1]:
        if birth.kind in ("input", "data"):
            continue
        seen: dict[str, object] = {
            "born_in": birth.name or birth.kind,
            "kind": birth.kind,
            "step": birth.step,
        }
        for number, stats in enumerate(birth.inputs[:2]):
            seen[f"operand_{number}"] = (stats.min, stats.max)
        titles = {
            "forward": f"the first number that is not finite is born in {birth.name}",
            "gradient": f"the gradient of {birth.name or 'a parameter'} is not finite",
            "parameter": f"{birth.name or 'a parameter'} is not finite after a step",
        }
        yield evidence(
            observation,
            birth.place,
            seen=seen,
            expected={"finite": 1.0},
            layer=birth.module,
            step=birth.step,
            title=titles.get(birth.kind, RULE.title) + f" at step {birth.step}",
            fact="proved" if birth.kind == "forward" else "likely",
            harm="measured",
        )


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
network = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(6):
    optimizer.zero_grad()
    loss = -torch.log(F.softmax(network(inputs * {scale}), dim=1){eps})[torch.arange(128), labels].mean()
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{scale}", "5000").replace("{eps}", "")
good = _PROGRAM.replace("{scale}", "1").replace("{eps}", " + 1e-6")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
network = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
mask = torch.rand(128, 4) < 0.3
mask[torch.arange(128), labels] = False
for step in range(6):
    optimizer.zero_grad()
    loss = F.cross_entropy(network(inputs).masked_fill(mask, float('-inf')), labels)
    loss.backward()
    optimizer.step()
"""
