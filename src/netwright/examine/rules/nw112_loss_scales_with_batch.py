"""NW112: a summed loss with a learning rate that is meant for a mean."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from statistics import median

from netwright.examine.observation import Loss, Observation
from netwright.examine.rules import NotObserved, evidence, rewrite
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW112",
    slug="loss-scales-with-batch",
    level="warning",
    by="100",
    title="the loss is a sum over the batch, and training is unstable",
    what="With reduction='sum' loss and gradients are as many times larger as the batch has examples. The learning rate is one for "
    "a mean.",
    why="A step of SGD is multiplied by the batch size: the effective learning rate is that many times higher, the loss jumps or "
    "diverges, and a last batch of another size takes steps of another length.",
    fix="Use reduction='mean' (the default), or divide the learning rate by the batch size.",
    example="nn.MSELoss(reduction='sum')   # wrong with SGD(lr=0.1) and batches of 64\nnn.MSELoss()                  # right",
    limits="Needs 20 steps and a loss on a CPU. Silent where training is stable, and with Adam and its kin, which do not care "
    "about the size of gradients. Sees PyTorch's own losses with reduction='sum'.",
    explains=frozenset({"NW501", "NW504", "NW403", "NW404", "NW512", "NW701", "NW402"}),
)


def check(observation: Observation) -> Iterator[Evidence]:
    curve = [value for _, value in observation.curve[:400]]
    if observation.step_count < 20 or len(curve) < 20:
        raise NotObserved("fewer than 20 optimizer steps with a loss on a CPU")
    plain = [entry for entry in observation.optimizers if entry.cls in ("SGD", "ASGD", "LARS")]
    if len(observation.optimizers) != 1 or not plain:
        return
    groups: dict[object, list[Loss]] = {}
    for loss in observation.losses:
        if loss.options.get("reduction") == "sum" and loss.prediction_grad and loss.prediction_shape:
            groups.setdefault(loss.place, []).append(loss)
    for group in groups.values():
        yield from _judge(observation, group, curve, plain[0].uid)


def _judge(
    observation: Observation, group: list[Loss], curve: list[float], optimizer: int
) -> Iterator[Evidence]:
    loss = group[0]
    batch = max(entry.prediction_shape[0] for entry in group)
    steps = [entry for entry in observation.steps if entry.optimizer == optimizer]
    if batch < 8 or not steps:
        return
    ratios = [
        ratio
        for step in steps[:40]
        for uid, ratio in step.ratios.items()
        if math.isfinite(ratio) and ratio > 0 and len(observation.parameters[int(uid)].shape) >= 2
    ]
    usual = median(ratios) if ratios else 0.0
    finite = [value for value in curve if math.isfinite(value)]
    if not finite:
        return
    quarter = max(5, len(finite) // 4)
    blown = len(finite) < len(curve) or median(finite[-quarter:]) > 5 * abs(finite[0])
    stuck = median(finite[-quarter:]) > 0.9 * finite[0]
    jumps = sum(abs(two - one) > 0.3 * abs(one) for one, two in pairwise(finite)) > len(finite) / 3
    largest = max(ratios, default=0.0)
    if not (blown or (stuck and (usual > 0.05 or (jumps and largest > 0.2)))):
        return
    lr = max(max(entry.lr) for entry in steps)
    yield evidence(
        observation,
        loss.place,
        seen={
            "reduction": "sum",
            "batch": batch,
            "lr": lr,
            "first_loss": curve[0],
            "later_loss": curve[-1],
            "largest_update_over_weight": round(largest, 4),
        },
        expected={"reduction": "mean", "lr_for_a_sum": lr / batch, "update_over_weight": "around 0.001"},
        layer=-1,
        step=loss.step,
        title=f"the loss is summed over {batch} examples and SGD steps with {lr:g}: it went from {curve[0]:.3g} to {curve[-1]:.3g}",
        diff=rewrite(loss.place, _averaged),
        harm="measured",
    )


def _averaged(line: str) -> str | None:
    for written in ('reduction="sum"', "reduction='sum'"):
        if line.count(written) == 1:
            return line.replace(written, written.replace("sum", "mean"))
    return None


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs = torch.randn(512, 10)
targets = (inputs[:, :3].sum(1, keepdim=True) + 0.1 * torch.randn(512, 1)).clamp(-3, 3)
network = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
for epoch in range(14):
    for start in range(0, 512, 64):
        output = network(inputs[start : start + 64])
        loss = F.smooth_l1_loss(output, targets[start : start + 64]{reduction})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print(loss.item())
"""
bad = _PROGRAM.replace("{reduction}", ', reduction="sum"')
good = _PROGRAM.replace("{reduction}", "")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs = (torch.rand(256, 16) > 0.6).float()


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(16, 8), nn.Sequential(nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, 16))

    def forward(self, x):
        mean, spread = self.encoder(x).chunk(2, dim=1)
        return self.decoder(mean + (spread / 2).exp() * torch.randn_like(mean)), mean, spread


model = VAE()
optimizer = torch.optim.SGD(model.parameters(), lr=2e-4)
for step in range(110):
    x = inputs[torch.randint(0, 256, (64,))]
    logits, mean, spread = model(x)
    loss = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    loss = loss - 0.5 * (1 + spread - mean**2 - spread.exp()).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
