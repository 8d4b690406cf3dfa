"""NW307: a bias made useless by the batch norm that follows."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Observation, Op, Operand
from netwright.examine.rules import NotObserved, evidence, rewrite
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW307",
    slug="bias-before-batchnorm",
    level="advice",
    by="100",
    title="a bias before batch norm does nothing",
    what="A convolution or linear layer with a bias stands right before a batch norm layer.",
    why="Batch norm subtracts the mean of each channel, and with it the bias; its gradient is 0. Batch norm has a bias of its own.",
    fix="Construct the layer with bias=False.",
    example="nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16)                 # the bias does nothing\n"
    "nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(16)     # the same network, smaller",
    limits="Harmless: only memory and a little time are lost. Needs batch norm in training mode.",
)


def check(observation: Observation) -> Iterator[Evidence]:
    if not observation.backwards:
        raise NotObserved("no backward was seen")
    said: set[int] = set()
    for op in observation.ops:
        if op.name != "batch_norm" or not op.grad or not op.inputs:
            continue
        before = observation.made(op.inputs[0])
        if before is None or not before.name.startswith(("linear", "conv")) or before.module in said:
            continue
        bias = observation.operand(before, "bias")
        if bias is None or bias.parameter < 0 or not bias.grad:
            continue
        ratio = _ratio(observation, before, bias)
        if ratio is None or ratio > 1e-3:
            continue
        said.add(before.module)
        yield evidence(
            observation,
            before,
            seen={"bias_gradient_over_weight_gradient": ratio},
            expected={"bias_gradient_over_weight_gradient": "above 0.001"},
            title=f"the bias of {observation.layer_name(before.module) or before.name} does nothing: batch norm follows",
            diff=rewrite(observation.where(before), _without_bias),
            harm="measured",
        )


def _ratio(observation: Observation, op: Op, bias: Operand) -> float | None:
    """Returns the largest ratio of the gradient of the bias to that of the weight."""
    weight = observation.operand(op, "weight")
    if weight is None or weight.parameter < 0:
        return None
    found = []
    for record in observation.backwards:
        own, other = record.gradients.get(str(bias.parameter)), record.gradients.get(str(weight.parameter))
        if own is not None and other:
            found.append(own / other)
    return max(found, default=None)


def _without_bias(line: str) -> str | None:
    starts = [line.find(f"{name}(") for name in ("Linear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose2d")]
    starts = [start for start in starts if start >= 0]
    if len(starts) != 1 or "bias" in line:
        return None
    depth = 0
    for index in range(line.index("(", starts[0]), len(line)):
        depth += (line[index] in "([{") - (line[index] in ")]}")
        if depth == 0:
            return f"{line[:index]}, bias=False{line[index:]}"
    return None


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
images, labels = torch.rand(64, 1, 12, 12), torch.randint(0, 4, (64,))
network = nn.Sequential(
    nn.Conv2d(1, 8, 3{bias}),
    nn.BatchNorm2d(8),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(800, 4),
)
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(6):
    optimizer.zero_grad()
    loss = F.cross_entropy(network(images), labels)
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{bias}", "")
good = _PROGRAM.replace("{bias}", ", bias=False")
near_miss = _PROGRAM.replace("{bias}", "").replace("BatchNorm2d(8)", "GroupNorm(2, 8)")
