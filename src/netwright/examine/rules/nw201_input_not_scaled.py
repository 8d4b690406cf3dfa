"""NW201: inputs of large or wildly different scale."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median

from netwright.examine.observation import Intake, Loss, Observation, Op
from netwright.examine.rules import NotObserved, evidence
from netwright.examine.rules.origins import data_place, intake_place
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW201",
    slug="input-not-scaled",
    level="warning",
    by="100",
    title="the inputs are not scaled",
    what="The first layer receives numbers far from 1: raw pixels of 0 to 255, or columns of a table in their own units.",
    why="Layers are initialised for inputs of about unit size. Larger ones make the first activations and the gradients of the "
    "first weights as many times larger: sigmoid and tanh saturate, the usual learning rates are too high, and one "
    "large column drowns the others.",
    fix="Divide pixels by 255; subtract mean and divide by standard deviation of each column, both computed on the training data.",
    example="net(images.float())         # wrong: 0 ... 255\nnet(images.float() / 255)   # right",
    limits="Looks at what the first layer with trainable weights receives in the first steps, so scaling inside the network "
    "counts, and so does a leading BatchNorm or LayerNorm. Directly before a normalisation a uniform scale does no harm "
    "(advice). Thresholds: root mean square over 20, or one column 20 times the typical one and over 20.",
    explains=frozenset({"NW402", "NW403", "NW404", "NW501", "NW503", "NW504", "NW512"}),
)
_LARGE = 20.0
_NORMS = ("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "normalize")


def check(observation: Observation) -> Iterator[Evidence]:
    groups: dict[object, list[Intake]] = {}
    for intake in observation.intakes:
        if intake.step <= 20 and intake.stats is not None and intake.stats.finite == 1:
            groups.setdefault(intake.module if intake.module >= 0 else intake.place, []).append(intake)
    if not observation.intakes:
        raise NotObserved("no layer with weights received data (in a traced step)")
    for group in groups.values():
        yield from _judge(observation, group)
    yield from _targets(observation)


def _judge(observation: Observation, group: list[Intake]) -> Iterator[Evidence]:
    intake = group[0]
    numbers = [entry.stats for entry in group if entry.stats is not None]
    if sum(entry.size for entry in numbers) < 32:
        return
    rms = median(math.hypot(entry.mean, entry.std) for entry in numbers)
    low, high = min(entry.min for entry in numbers), max(entry.max for entry in numbers)
    pixels = all(entry.integral for entry in group) and low >= 0 and 100 < high <= 255
    pixels = pixels and (rms > 10) and (intake.call.startswith("conv") or intake.features >= 16)
    typical = _typical(group)
    nonzero = [value for value in typical if value > 0]
    largest = max(range(len(typical)), key=typical.__getitem__) if typical else 0
    usual = median(nonzero) if nonzero else 0.0
    uneven = len(nonzero) >= 2 and typical[largest] > _LARGE and typical[largest] > 20 * usual
    if not (rms > _LARGE or pixels or uneven):
        return
    op = observation.ops[intake.op] if intake.op >= 0 else None
    mild = op is not None and not uneven and _normalised(observation, op)
    seen = {
        "root_mean_square": round(rms, 3),
        "smallest": low,
        "largest": high,
        "largest_typical_feature": round(typical[largest], 3) if typical else None,
        "median_typical_feature": round(usual, 4),
    }
    if op is not None and op.stats is not None:
        seen["first_layer_output_deviation"] = round(op.stats.std, 3)
    if pixels:
        title = f"the first layer receives raw pixels ({low:g} to {high:g}) instead of about 0 to 1"
    elif uneven and rms <= 20 * _LARGE * max(1.0, usual):
        title = f"feature {largest} is typically {typical[largest]:.4g}, the others {usual:.3g}: inputs are not scaled"
    else:
        title = f"the first layer receives values from {low:.4g} to {high:.4g} (root mean square {rms:.4g}, expected about 1)"
    yield evidence(
        observation,
        intake_place(observation, intake),
        seen=seen,
        expected={"root_mean_square": "around 1", "largest_typical_feature": "around 1"},
        layer=intake.module,
        step=intake.step,
        title=title,
        fix="Divide the pixels by 255 where they are loaded (ToTensor does so)." if pixels else "",
        level="advice" if mild else "",
        harm="possible" if mild else "measured",
    )


def _typical(group: list[Intake]) -> list[float]:
    """Returns the typical magnitude of each feature over several batches."""
    width = min(len(entry.typical) for entry in group)
    return [median(entry.typical[number] for entry in group) for number in range(width)]


def _normalised(observation: Observation, op: Op) -> bool:
    following = observation.ops[op.index + 1 : op.index + 12]
    return any(
        entry.name in _NORMS and any(used.op == op.index for used in entry.inputs) for entry in following
    )


def _targets(observation: Observation) -> Iterator[Evidence]:
    """Raw targets of a regression on a linear output: advice."""
    for loss, op in observation.loss_ops():
        if loss.function != "mse_loss" or not loss.prediction_grad or loss.target_grad or loss.target is None:
            continue
        source = observation.source(op.inputs[0])
        if source is None or source.name not in ("linear", "addmm") or loss.target.finite < 1:
            continue
        rms = math.hypot(loss.target.mean, loss.target.std)
        if rms > 100:
            yield _target_evidence(observation, loss, op, rms)
            return


def _target_evidence(observation: Observation, loss: Loss, op: Op, rms: float) -> Evidence:
    assert loss.target is not None
    target = observation.operand(op, "target")
    return evidence(
        observation,
        (data_place(observation, target) if target is not None else None) or loss.place,
        seen={"root_mean_square_of_targets": round(rms, 3), "largest_target": loss.target.max},
        expected={"root_mean_square_of_targets": "around 1"},
        layer=-1,
        step=loss.step,
        title=f"the regression targets are not scaled: root mean square {rms:.4g}, where the untrained output is about 1",
        fix="Standardise the targets with mean and deviation of the training data, and undo it on predictions.",
        level="advice",
        harm="possible",
    )


_PROGRAM = """
import torch
from torch import nn

torch.manual_seed(0)
labels = torch.randint(0, 3, (240,))
patterns = torch.rand(3, 144) > 0.5
images = (patterns[labels] * 180 + torch.randint(0, 70, (240, 144))).to(torch.uint8)
network = nn.Sequential(nn.Linear(144, 32), nn.Tanh(), nn.Linear(32, 3))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
inputs = images.float(){scale}
for epoch in range(15):
    for start in range(0, 240, 30):
        loss = nn.functional.cross_entropy(network(inputs[start : start + 30]), labels[start : start + 30])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print(loss.item())
"""
bad = _PROGRAM.replace("{scale}", "")
good = _PROGRAM.replace("{scale}", " / 255")
near_miss = """
import torch
from torch import nn

torch.manual_seed(0)
table = torch.randn(256, 4) * torch.tensor([1.0, 50.0, 2000.0, 1e5]) + torch.tensor([0.0, 300.0, 0.0, 5e5])
shops = torch.randint(0, 5000, (256,))
days = torch.randint(0, 366, (256, 1)).float()
targets = (table[:, 1] > 300).float()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.BatchNorm1d(4)
        self.shops = nn.Embedding(5000, 8)
        self.body = nn.Sequential(nn.Linear(14, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, table, shops, days):
        angle = 2 * torch.pi * days / 365
        return self.body(torch.cat([self.scale(table), self.shops(shops), angle.sin(), angle.cos()], dim=1)).squeeze(1)


network = Net()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for step in range(110):
    loss = nn.functional.binary_cross_entropy_with_logits(network(table, shops, days), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
