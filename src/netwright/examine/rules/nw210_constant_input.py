"""NW210: a feature, or the whole input, is constant."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from netwright.examine.observation import PASSIVE, Intake, Observation
from netwright.examine.rules import NotObserved, evidence
from netwright.examine.rules.origins import chain, intake_place
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW210",
    slug="constant-input",
    level="warning",
    by="100",
    title="an input is the same for all examples",
    what="All examples of the first batches are the same for the network, or a column of the table has one value throughout.",
    why="What does not vary tells nothing. From a constant input the network can only learn how frequent the targets are; a constant "
    "column often is one that was lost in reading, overwritten, or scaled away.",
    fix="Print a batch at the network's door and follow it back to where the values get lost; drop columns that are constant.",
    example="x[:, 3] = x[:, 3] // 1000   # wrong: everything becomes 0\nx[:, 3] = x[:, 3] / 1000    # right",
    limits="Needs at least 64 examples in closely watched steps, of 8 or more in a batch. Silent on columns of ones, on columns of 0 beside "
    "sparse ones (one-hot, bag of words), on the background's value at the border of images, on constants made by the network itself, and on single channels.",
    explains=frozenset({"NW512", "NW208", "NW502"}),
)
_CREATORS = (
    "zeros",
    "ones",
    "full",
    "zeros_like",
    "ones_like",
    "full_like",
    "new_zeros",
    "new_ones",
    "new_full",
    "empty",
)


def check(observation: Observation) -> Iterator[Evidence]:
    groups: dict[object, list[Intake]] = {}
    for intake in observation.intakes:
        if intake.stats is not None and intake.stats.finite == 1:
            groups.setdefault(intake.module if intake.module >= 0 else intake.place, []).append(intake)
    if not groups:
        raise NotObserved("no layer with weights received data (in a traced step)")
    for group in groups.values():
        shapes = {entry.shape[1:] for entry in group}
        enough = sum(entry.examples for entry in group if entry.examples >= 8) >= 64
        steps = {entry.step for entry in group}
        if (
            not enough
            or len({len(shape) for shape in shapes}) > 1
            or len({entry.features for entry in group}) > 1
        ):
            continue
        if len(steps) < min(5, observation.step_count):
            continue
        yield from _judge(observation, group)


def _judge(observation: Observation, group: list[Intake]) -> Iterator[Evidence]:
    intake = group[0]
    if _made_inside(observation, intake):
        return
    width = len(intake.low)
    low = [min(entry.low[number] for entry in group) for number in range(width)]
    high = [max(entry.high[number] for entry in group) for number in range(width)]
    spans = [most - least for least, most in zip(low, high)]
    blur = 1e-7 * median(spans) if spans else 0.0  # of rounding: the sine of whole turns
    constant = [number for number in range(width) if spans[number] <= blur]
    alike = all(entry.identical for entry in group if entry.examples >= 8)
    seen = {"examples": sum(entry.examples for entry in group), "steps": len({entry.step for entry in group})}
    if alike and width and _same_throughout(group):
        if len(constant) == width and all(value == 1 for value in low):
            return  # a constant that stands for "no features"
        value = f"{low[0]:g} everywhere" if low[0] == high[0] and len(set(low)) == 1 else "the same for all"
        yield evidence(
            observation,
            intake_place(observation, intake),
            seen=seen | {"smallest": min(low), "largest": max(high), "constant_features": len(constant)},
            expected={"constant_features": 0},
            layer=intake.module,
            step=intake.step,
            title=f"all {seen['examples']} examples of the first batches are the same to the network: the input is {value}",
            harm="measured",
        )
        return
    lost = _columns(group, low, constant)
    if lost:
        names = ", ".join(str(number) for number in lost[:5])
        yield evidence(
            observation,
            intake_place(observation, intake),
            seen=seen | {"constant_features": lost[:20], "value": low[lost[0]], "features": intake.features},
            expected={"constant_features": []},
            layer=intake.module,
            step=intake.step,
            title=f"feature {names} of {intake.features} is constant ({low[lost[0]]:g}) over {seen['examples']} examples",
        )


def _same_throughout(group: list[Intake]) -> bool:
    """Returns whether batches are alike too: the means of their features do not differ."""
    first = group[0]
    return all(
        abs(one - other) <= 1e-6 * (1 + abs(one))
        for entry in group
        for one, other in zip(first.mean, entry.mean)
    )


def _columns(group: list[Intake], low: list[float], constant: list[int]) -> list[int]:
    """Returns the constant columns of a table, if they do not look like ones that are rarely used."""
    intake = group[0]
    table = intake.call in ("linear", "addmm", "matmul", "mm") and len(intake.shape) == 2
    if not table or not 2 <= intake.features <= 200 or len(intake.low) != intake.features:
        return []
    rest = [number for number in range(intake.features) if number not in constant]
    lost = [number for number in constant if low[number] != 1]
    if not lost or len(rest) < 2 or len(lost) > max(1, 0.3 * intake.features):
        return []
    zeros = [median(entry.zeros[number] for entry in group) for number in rest]
    if any(low[number] == 0 for number in lost) and max(zeros) > 0.3:
        return []
    # The border of an image, scaled or not: the background's value, which most other pixels have now and then too.
    outer = {min(low), max(max(entry.high) for entry in group)}
    ends = [median(entry.ends[number] for entry in group) for number in rest]
    if all(low[number] in outer for number in lost) and max(ends) > 0.3:
        return []
    return lost


def _made_inside(observation: Observation, intake: Intake) -> bool:
    """Returns whether the network made the data itself (zeros for a decoder to begin with), or they never were a batch."""
    if intake.op < 0:
        return False
    chosen = False
    for op in chain(observation, observation.ops[intake.op].inputs[intake.operand]):
        chosen = chosen or op.name in ("getitem", "index_select", "index")
        if op.name not in PASSIVE and op.module >= 0 and op.name in (*_CREATORS, "linspace", "arange", "eye"):
            return True
        if op.name in _CREATORS and op.module < 0:
            return not chosen
    return False


_PROGRAM = """
import torch
from torch import nn

torch.manual_seed(0)
table = torch.randn(320, 5)
table[:, 2] = 40 + 12 * table[:, 2]  # age in years
targets = (table[:, 0] - table[:, 1]).unsqueeze(1)
mean, deviation = table.mean(0), table.std(0)
table = (table - mean) / deviation
{change}
network = nn.Sequential(nn.Linear(5, 24), nn.ReLU(), nn.Linear(24, 1))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for epoch in range(14):
    order = torch.randperm(320)
    for start in range(0, 320, 40):
        chosen = order[start : start + 40]
        loss = nn.functional.mse_loss(network(table[chosen]), targets[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print(loss.item())
"""
bad = _PROGRAM.replace("{change}", "table[:, 2] = (table[:, 2] / 100).round() * 0")
good = _PROGRAM.replace("{change}", "")
near_miss = """
import torch
from torch import nn

torch.manual_seed(0)
kinds = torch.nn.functional.one_hot(torch.randint(0, 9, (256,)), 24).float()  # some kinds never come
table = torch.cat([torch.randn(256, 4), torch.ones(256, 1), kinds], dim=1)
series = torch.randn(256, 6, 2)
targets = table[:, :1] + series.mean((1, 2)).unsqueeze(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Linear(29, 8)
        self.encoder, self.decoder = nn.GRU(2, 8, batch_first=True), nn.GRU(3, 8, batch_first=True)
        self.head = nn.Linear(16, 1)

    def forward(self, table, series):
        state = self.encoder(series)[1]
        out, _ = self.decoder(torch.zeros(len(series), 4, 3), state)  # nothing to read: it begins from the state
        return self.head(torch.cat([self.table(table).relu(), out[:, -1]], dim=1))


network = Net()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for step in range(110):
    chosen = torch.randint(0, 256, (32,))
    loss = nn.functional.mse_loss(network(table[chosen], series[chosen]), targets[chosen])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
