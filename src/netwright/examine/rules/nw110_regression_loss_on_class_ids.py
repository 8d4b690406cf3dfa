"""NW110: MSE or L1 on class ids."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import REGRESSION_LOSSES, Loss, Observation
from netwright.examine.rules import NotObserved, evidence
from netwright.examine.rules.origins import chain
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW110",
    slug="regression-loss-on-class-ids",
    level="warning",
    by="forward",
    title="a regression loss is applied to class ids",
    what="MSE or L1 compares the output with the numbers of classes (0, 1, 2, ...), as if class 3 lay between 2 and 4.",
    why="Between classes there is no distance. An example that may be of class 0 or 4 is pushed to class 2, and the network has to "
    "squeeze all classes onto one line; cross-entropy learns such a problem several times faster and more accurately.",
    fix="Give the network one output for each class and use F.cross_entropy(logits, ids) with the ids as integers.",
    example="F.mse_loss(net(x).squeeze(1), ids.float())   # wrong: nn.Linear(..., 1) as the last layer\n"
    "F.cross_entropy(net(x), ids)                  # right: nn.Linear(..., num_classes)",
    limits="Class ids are told from counts and ratings by their distribution: whole numbers from 0 on, all of them about equally "
    "frequent. Ordered grades that look so cannot be told apart; where the targets were never integers it is advice.",
    explains=frozenset({"NW512", "NW115"}),
)
_MOST_CLASSES = 50


def check(observation: Observation) -> Iterator[Evidence]:
    groups: dict[object, list[Loss]] = {}
    for loss in observation.losses:
        if loss.function in REGRESSION_LOSSES and loss.prediction_grad and not loss.target_grad:
            groups.setdefault(loss.place, []).append(loss)
    if not groups:
        raise NotObserved("no regression loss was seen")
    for group in groups.values():
        if all(loss.integral and loss.counts for loss in group):
            yield from _judge(observation, group)


def _judge(observation: Observation, group: list[Loss]) -> Iterator[Evidence]:
    loss = group[0]
    classes = max(len(entry.counts) for entry in group)
    counts = [
        sum(entry.counts[number] for entry in group if number < len(entry.counts))
        for number in range(classes)
    ]
    if not 3 <= classes <= _MOST_CLASSES or sum(counts) < 4 * classes:
        return
    outputs = loss.prediction_shape[-1] if len(loss.prediction_shape) > 1 else 1
    spread = _spread(loss, classes)
    if not spread and (outputs != 1 or len(loss.prediction_shape) > 2 or not _balanced(counts)):
        return
    integers = loss.target_dtype.startswith(("int", "uint")) or _were_integers(observation, loss)
    op = observation.ops[loss.op] if loss.op >= 0 else None
    source = observation.source(op.inputs[0]) if op is not None and op.inputs else None
    what = f"broadcast over {outputs} outputs" if spread else "with one output"
    yield evidence(
        observation,
        loss.place,
        seen={"classes": classes, "counts": counts[:20], "outputs": outputs, "loss": loss.function},
        expected={"outputs": classes, "loss": "cross_entropy"},
        layer=source.module if source is not None else -1,
        step=loss.step,
        title=f"{loss.function} on class ids 0 to {classes - 1} {what}: these look like classes, not amounts",
        level="" if integers or spread else "advice",
        fact="proved" if spread else "likely",
    )


def _spread(loss: Loss, classes: int) -> bool:
    """Returns whether ids of shape (B, 1) are stretched over one output for each class."""
    shape, target = loss.prediction_shape, loss.target_shape
    return (
        len(shape) == 2
        and shape[1] >= classes
        and tuple(target) in ((shape[0], 1), (shape[0],))
        and (len(target) == 2 or shape[0] == shape[1])
    )


def _balanced(counts: list[int]) -> bool:
    """Returns whether all classes are about equally frequent, within what chance does to so few examples.

    >>> _balanced([20, 25, 18, 22]), _balanced([60, 80, 40, 15, 4, 1]), _balanced([5, 20, 40, 20, 5])
    (True, False, False)
    """
    usual = sum(counts) / len(counts)
    chance = 2.5 * usual**0.5
    return min(counts) >= min(0.55 * usual, usual - chance) > 0 and max(counts) <= max(
        1.7 * usual, usual + chance
    )


def _were_integers(observation: Observation, loss: Loss) -> bool:
    op = observation.ops[loss.op] if loss.op >= 0 else None
    target = observation.operand(op, "target") if op is not None else None
    if target is None:
        return False
    return any(
        made.name not in ("eq", "ne", "gt", "lt", "ge", "le")
        and bool(made.inputs)
        and made.inputs[0].dtype.startswith(("int", "uint"))
        for made in chain(observation, target)
    )


_PROGRAM = """
import torch
from torch import nn

torch.manual_seed(0)
ids = torch.randint(0, 5, (300,))
inputs = torch.randn(5, 12)[ids] + 0.5 * torch.randn(300, 12)
network = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, {outputs}))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for epoch in range(3):
    for start in range(0, 300, 60):
        output, wanted = network(inputs[start : start + 60]), ids[start : start + 60]
        loss = {loss}
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print(loss.item())
"""
bad = _PROGRAM.replace("{outputs}", "1").replace(
    "{loss}", "nn.functional.mse_loss(output.squeeze(1), wanted.float())"
)
good = _PROGRAM.replace("{outputs}", "5").replace("{loss}", "nn.functional.cross_entropy(output, wanted)")
near_miss = """
import torch
from torch import nn

torch.manual_seed(0)
inputs = torch.randn(300, 12)
counts = torch.poisson((0.8 + 0.5 * inputs[:, 0]).exp())
rooms = torch.randint(0, 400, (300,)).float() / 100
stars = 1 + torch.randint(0, 5, (300,))
network = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for step in range(8):
    output = network(inputs)
    loss = nn.functional.mse_loss(output[:, 0], counts) + nn.functional.l1_loss(output[:, 1], rooms)
    loss = loss + nn.functional.mse_loss(output[:, 2], stars.float())
    loss = loss + nn.functional.mse_loss(output[:, 3].sigmoid(), (inputs[:, 1] > 0).long().float())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
