"""NW305: batch norm in training mode on a batch of 1 or 2."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from netwright.examine.observation import Layer, Observation
from netwright.examine.rules import NotObserved, evidence
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW305",
    slug="batchnorm-batch-too-small",
    level="warning",
    by="forward",
    title="batch norm estimates mean and variance from one or two examples",
    what="A batch norm layer in training mode gets batches of one or two examples, with few positions each.",
    why="It divides by the deviation of a handful of numbers: with two values a channel the result is always -1 and 1, whatever "
    "they were. What the layer keeps for evaluation is then far from what it used in training.",
    fix="Use larger batches, or a norm that does not look across examples: nn.GroupNorm or nn.LayerNorm.",
    example="nn.BatchNorm1d(64)      # wrong with DataLoader(..., batch_size=2)\nnn.LayerNorm(64)        # right for any batch size",
    limits="Counts values a channel (examples times positions): 50 or more are taken as enough, as on large images. Silent on layers "
    "in eval mode and where only an odd batch is small, unless it stops the program.",
    explains=frozenset({"NW307"}),
)
ENOUGH = 50
_ONE_VALUE = "Expected more than 1 value per channel when training"


def check(observation: Observation) -> Iterator[Evidence]:
    crash = observation.crash
    if crash is not None and crash.message.startswith(_ONE_VALUE) and crash.module >= 0:
        yield evidence(
            observation,
            observation.modules[crash.module],
            seen={"examples": 1, "values_a_channel": 1},
            expected={"values_a_channel": "at least 2, better 50"},
            step=observation.step_count,
            title="a batch of one example reached batch norm, which stopped the program",
            fix="Leave the odd last batch out with DataLoader(..., drop_last=True), or call eval() before running one example.",
            harm="measured",
        )
        return
    if not observation.backwards:
        raise NotObserved("no backward was seen")
    norms = [layer for layer in observation.layers if "BatchNorm" in observation.modules[layer.module].cls]
    bounds = [0, *(record.order for record in observation.backwards)]
    small: dict[int, Layer] = {}
    times = 0
    for start, end in pairwise(bounds):
        lap = [layer for layer in norms if start < layer.order < end and layer.training]
        few = [layer for layer in lap if _few(layer)]
        times += bool(few)
        for layer in few:
            small.setdefault(layer.module, layer)
    if not small or times <= len(observation.backwards) / 2:
        return
    first = min(small.values(), key=lambda layer: layer.order)
    values = _values(first)
    module = observation.modules[first.module]
    yield evidence(
        observation,
        module,
        seen={"examples": first.shape[0], "values_a_channel": values, "layers": len(small)},
        expected={"values_a_channel": f"at least {ENOUGH}"},
        step=first.step,
        title=f"batch norm estimates mean and variance of a channel from {values} value(s): the batch has {first.shape[0]} example(s)",
    )


def _values(layer: Layer) -> int:
    total = layer.shape[0]
    for size in layer.shape[2:]:
        total *= size
    return total


def _few(layer: Layer) -> bool:
    return len(layer.shape) > 1 and 1 <= layer.shape[0] <= 2 and _values(layer) < ENOUGH


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
data = TensorDataset(torch.randn(40, 20), torch.randint(0, 4, (40,)))
network = nn.Sequential(nn.Linear(20, 32), nn.{norm}(32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for inputs, labels in DataLoader(data, batch_size=2, shuffle=True):
    optimizer.zero_grad()
    loss = F.cross_entropy(network(inputs), labels)
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{norm}", "BatchNorm1d")
good = _PROGRAM.replace("{norm}", "LayerNorm")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
images, masks = torch.rand(8, 1, 24, 24), torch.randint(0, 2, (8, 24, 24))
network = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1)
)
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for epoch in range(2):
    for start in range(0, 8, 2):  # two images at a time, 1,152 values a channel
        optimizer.zero_grad()
        loss = F.cross_entropy(network(images[start : start + 2]), masks[start : start + 2])
        loss.backward()
        optimizer.step()
"""
