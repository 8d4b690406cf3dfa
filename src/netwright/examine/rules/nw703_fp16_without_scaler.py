"""NW703: gradients in half precision underflow, and no GradScaler keeps them up."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Backward, Observation
from netwright.examine.rules import NotObserved, evidence, percent
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW703",
    slug="fp16-without-scaler",
    level="warning",
    by="100",
    title="gradients in float16 come out as 0, and no GradScaler is used",
    what="The forward or the weights are in float16, so gradients pass through float16 as well. The smallest number that it can hold "
    "is 6e-8, and below 6e-5 it loses digits. Nothing multiplies the loss to keep gradients above that.",
    why="What underflows is 0: these weights get no gradient and do not learn, most of all in the layers far from the loss, where "
    "gradients are small. The loss still falls for a while, so nobody notices.",
    fix="Use torch.amp.GradScaler: scaler.scale(loss).backward(); scaler.step(optimizer); scaler.update(). Or use bfloat16, "
    "which has the range of float32 and needs no scaler.",
    example="with torch.autocast('cuda', dtype=torch.float16): loss = f(net(x), y)\n"
    "loss.backward(); optimizer.step()                                              # wrong\n"
    "scaler.scale(loss).backward(); scaler.step(optimizer); scaler.update()         # right",
    limits="Measures weights (not biases) in the sampled steps, and leaves out rows and columns that are 0 throughout (dead units, "
    "absent words). Silent with bfloat16, with an enabled GradScaler, and where the gradients are large enough (a loss that is "
    "scaled by hand). Advice where only a small part is in danger.",
    explains=frozenset({"NW503", "NW502"}),
)
_LOST = 0.02  # share of zeros among live rows and columns,
_SMALL = 0.3  # if as many of the others are so small
_MOSTLY = 0.5
_SOME = 0.01


def check(observation: Observation) -> Iterator[Evidence]:
    if any(event.detail.get("enabled", True) for event in observation.of_kind("scale")):
        return
    half = [record for record in observation.backwards if record.half and record.gradients]
    if not observation.backwards:
        raise NotObserved("no backward was seen")
    if not half:
        return
    worst = max(half, key=lambda record: (_harmful(record), record.subnormal + record.underflow))
    first = next((record for record in half if _harmful(record)), worst)
    if not _harmful(first) and first.subnormal < _SOME:
        return
    if not _harmful(first) and len(half) < 3:
        return
    seen = {
        "zero_share": round(first.underflow, 4),
        "below_6e-5_share": round(first.subnormal, 4),
        "weights_with_no_gradient_at_all": first.vanished,
    }
    harmful = _harmful(first)
    title = f"float16 without a GradScaler: {percent(first.subnormal)} of the gradients are too small for it"
    if first.vanished:
        title += f", {first.vanished} weight(s) get none at all"
    elif first.underflow >= _LOST:
        title += f", {percent(first.underflow)} are 0"
    yield evidence(
        observation,
        first.place,
        seen=seen,
        expected={
            "zero_share": 0.0,
            "below_6e-5_share": f"under {percent(_SOME)}",
            "weights_with_no_gradient_at_all": 0,
        },
        step=first.step,
        title=title,
        level="warning" if harmful else "advice",
        harm="measured" if harmful else "possible",
    )


def _harmful(record: Backward) -> bool:
    lost = record.underflow >= _LOST or record.vanished > 0
    return record.subnormal >= _MOSTLY or (lost and record.subnormal >= _SMALL)


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
layers = [nn.Linear(20, 48), nn.Sigmoid()]
for _ in range(4):
    layers += [nn.Linear(48, 48), nn.Sigmoid()]
network = nn.Sequential(*layers, nn.Linear(48, 4))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(6):
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.{dtype}):
        loss = F.cross_entropy(network(inputs).float(), labels)
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{dtype}", "float16")
good = _PROGRAM.replace("{dtype}", "bfloat16")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
network = nn.Sequential(nn.Linear(20, 48), nn.Sigmoid(), nn.Linear(48, 48), nn.Sigmoid(), nn.Linear(48, 4))
optimizer = torch.optim.SGD(network.parameters(), lr=1e-2)
scaler = torch.amp.GradScaler("cpu")
for step in range(6):
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.float16):
        loss = F.cross_entropy(network(inputs).float(), labels)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
"""
