"""NW208: one class dominates and the network predicts it alone."""

from __future__ import annotations

import math
from collections.abc import Iterator

from netwright.examine.observation import Loss, Observation, Place
from netwright.examine.rules import NotObserved, evidence, percent, rewrite
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW208",
    slug="class-imbalance",
    level="warning",
    by="epoch",
    title="one class dominates, and the network predicts nothing else",
    what="Most labels are of one class, and the network has come to answer that class for every example.",
    why="The loss falls and the accuracy equals the share of the large class, so the run looks fine; the small classes, often the "
    "ones that matter, are never found.",
    fix="Weight the loss (CrossEntropyLoss(weight=...), BCEWithLogitsLoss(pos_weight=...)) or draw the examples with a "
    "WeightedRandomSampler, and report recall for each class.",
    example="nn.CrossEntropyLoss()                                     # wrong, with 95 % of one class\n"
    "nn.CrossEntropyLoss(weight=torch.tensor([1.0, 19.0]))     # right",
    limits="Judged after at least 60 steps or at the program's end, by the loss that stays at what the class shares alone give. "
    "Silent where the loss is weighted or a weighted sampler is at work, on token losses, and on losses of many answers for an "
    "example (several tags). Maps of pixels are judged after 200 steps or at the end.",
    explains=frozenset({"NW512"}),
)


def check(observation: Observation) -> Iterator[Evidence]:
    losses = [
        entry
        for entry in observation.losses
        if entry.grad_enabled and entry.prediction_grad and _usable(entry)
    ]
    if not losses:
        raise NotObserved("no loss with one class for each example or pixel was seen")
    if observation.step_count < 60 and observation.ended not in ("end", "exit", "stopped"):
        return
    if observation.step_count < 30:
        return
    if any(loader.sampler == "WeightedRandomSampler" and loader.trained for loader in observation.loaders):
        return
    for first in {loss.place: loss for loss in reversed(losses)}.values():
        found = _judge(observation, [loss for loss in losses if loss.place == first.place])
        if found is not None:
            yield found


def _usable(loss: Loss) -> bool:
    tokens = len(loss.prediction_shape) == 3 and not loss.function.startswith("binary")
    return bool(loss.histogram and loss.predicted) and not tokens


def _is_map(loss: Loss) -> bool:
    """Returns whether the labels are those of pixels: there, all background is a common first answer."""
    return bool(loss.prediction_shape) and sum(loss.histogram) > loss.prediction_shape[0]


def _judge(observation: Observation, losses: list[Loss]) -> Evidence | None:
    total = [
        sum(column)
        for column in zip(
            *(loss.histogram for loss in losses if len(loss.histogram) == len(losses[0].histogram))
        )
    ]
    size = sum(total)
    late = [loss for loss in losses if loss.step >= max(20, 0.3 * observation.step_count)][-8:]
    main = total.index(max(total))
    share = total[main] / size
    if share < max(0.7, 1.8 / len(total)) or size - total[main] < 5 or len(losses) < 6 or len(late) < 2:
        return None
    if any("weight" in loss.options or "pos_weight" in loss.options for loss in losses):
        return None
    predicted = [sum(column) for column in zip(*(loss.predicted for loss in late))]
    missed = sum(sum(loss.histogram) - loss.histogram[main] for loss in late)
    values = [loss.value for loss in late if loss.value is not None]
    chance = -sum(count / size * math.log(count / size) for count in total if count)
    # Where many of the small class were asked for and none was found, a loss below chance shows nothing that is of use.
    learned = bool(values) and sum(values) / len(values) < (0.75 if missed < 50 else 0.5) * chance
    early = observation.ended not in ("end", "exit") and observation.step_count < 200
    if early and _is_map(losses[0]):
        return None
    if predicted[main] < 0.995 * sum(predicted) or missed < 2 or learned:
        return None
    place = _place(observation, losses[0])
    weights = ", ".join(f"{size / count / len(total):.3g}" for count in total if count)
    changed = f"CrossEntropyLoss(weight=torch.tensor([{weights}]))"
    binary = losses[0].function.startswith("binary")
    if binary and all(total):
        changed = f"BCEWithLogitsLoss(pos_weight=torch.tensor({total[0] / total[1]:.3g}))"
    bare = f"{changed.partition('(')[0]}()"
    few = len(total) <= 8 and all(total)
    return evidence(
        observation,
        place,
        seen={
            "share_of_labels": round(share, 4),
            "share_of_predictions": round(predicted[main] / sum(predicted), 4),
            "class": main,
        },
        expected={"share_of_predictions": round(share, 4)},
        layer=-1,
        step=late[-1].step if observation.ended else losses[-1].step,
        title=f"class {main} is {percent(share)} of the labels and {percent(predicted[main] / sum(predicted))} of the "
        "predictions: the others are never found",
        diff=rewrite(place, lambda line: line.replace(bare, changed) if few else None),
        harm="measured",
    )


def _place(observation: Observation, loss: Loss) -> Place | None:
    made = observation.modules[loss.module] if loss.module >= 0 else None
    known = made is not None and made.torch and made.children == 0 and "Loss" in made.cls
    return made.place if known and made is not None and made.place is not None else loss.place


_PROGRAM = """
import torch
from torch import nn

torch.manual_seed(0)
inputs = torch.randn(1000, 10)
labels = (torch.rand(1000) < 0.05).long()
inputs[labels == 1, 0] += 0.8
network = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
criterion = nn.CrossEntropyLoss({weight})
for epoch in range(6):
    for part in torch.randperm(1000).split(50):
        optimizer.zero_grad()
        loss = criterion(network(inputs[part]), labels[part])
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
"""
bad = _PROGRAM.replace("{weight}", "")
good = _PROGRAM.replace("{weight}", "weight=torch.tensor([1.0, 19.0])")
near_miss = _PROGRAM.replace("{weight}", "").replace("+= 0.8", "+= 6.0").replace("lr=0.05", "lr=0.3")
