"""NW203: NaN or Inf in the inputs or targets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from netwright.examine.observation import Birth, Forward, Observation, Op, Place, Stats
from netwright.examine.rules import evidence
from netwright.examine.rules.origins import broken_origin
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW203",
    slug="non-finite-input",
    level="error",
    by="forward",
    title="the data hold NaN or infinite values",
    what="A batch of inputs or targets holds a number that is not finite, and it reaches the network's output or the loss.",
    why="One NaN in a batch makes the loss NaN, then every gradient, and after the next step every weight of the network. "
    "Nothing after that means anything.",
    fix="Clean the data where they are read: drop or fill missing values, and look for divisions by a deviation of 0 and for "
    "logarithms of 0.",
    example="x = (x - x.mean(0)) / x.std(0)                    # wrong where a column is constant: 0 / 0\n"
    "x = (x - x.mean(0)) / x.std(0).clamp_min(1e-8)    # right",
    limits="Silent where the network takes the missing values away itself (its output and the loss stay finite), and on masks "
    "that hold only 0 and -inf. In steps that are not watched closely the batch is known, of the index as much as the "
    "graph still holds.",
    explains=frozenset(
        {
            "NW701",
            "NW702",
            "NW501",
            "NW504",
            "NW512",
            "NW403",
            "NW404",
            "NW402",
            "NW510",
            "NW201",
            "NW210",
            "NW603",
        }
    ),
)


class _Bad(NamedTuple):
    order: int
    step: int
    what: str  # input, target, data (one of these)
    stats: Stats
    shape: tuple[int, ...]
    place: Place | None
    module: int
    loader: int = -1
    batch: int = -1


def check(observation: Observation) -> Iterator[Evidence]:
    found = [*_inputs(observation), *_targets(observation), *_at_birth(observation)]
    for what in ("input", "target", "data"):
        if what == "data" and any(bad.what != "data" for bad in found):
            return
        first = min((bad for bad in found if bad.what == what), default=None, key=lambda bad: bad.order)
        if first is not None:
            yield _evidence(observation, first)


def _inputs(observation: Observation) -> Iterator[_Bad]:
    for record in observation.forwards:
        broken = record.others or (record.stats is not None and record.stats.finite < 1)
        if not broken or not (record.output_bad or _spoiled(observation, record.step, record.order)):
            continue
        if record.stats is not None and record.stats.finite < 1 and not _mask(record.stats):
            yield _bad_forward(record, record.stats, record.shape)
        for numbers in record.others.values():
            if _nan(numbers) or numbers.max == math.inf:  # only -inf: more likely a mask
                yield _bad_forward(record, numbers, ())


def _bad_forward(record: Forward, numbers: Stats, shape: tuple[int, ...]) -> _Bad:
    return _Bad(
        record.order,
        record.step,
        "input",
        numbers,
        shape,
        record.place,
        record.module,
        record.loader,
        record.batch,
    )


def _targets(observation: Observation) -> Iterator[_Bad]:
    for loss in observation.losses:
        if loss.target is None or loss.target.finite == 1 or loss.target_grad or _mask(loss.target):
            continue
        finite = loss.value is None or math.isfinite(loss.value)
        if finite and not _spoiled(observation, loss.step, loss.order):
            continue
        yield _Bad(loss.order, loss.step, "target", loss.target, loss.target_shape, loss.place, -1)


def _at_birth(observation: Observation) -> Iterator[_Bad]:
    """What the first loss that was not finite told: from its graph, or from the trace of its step."""
    for birth in observation.births[:1]:
        if birth.kind in ("input", "target", "data") and birth.inputs and birth.shape:
            yield _Bad(
                birth.order,
                birth.step,
                birth.kind,
                birth.inputs[0],
                birth.shape,
                _called(observation, birth),
                -1,
                birth.loader,
                birth.batch,
            )
            continue
        for op in (
            op for op in observation.ops if op.step == birth.step and op.grad and op.order < birth.order
        ):
            found = list(_bad_operands(observation, op, birth))
            yield from found
            if found:
                break


def _bad_operands(observation: Observation, op: Op, birth: Birth) -> Iterator[_Bad]:
    for operand in op.inputs:
        made, numbers = observation.made(operand), operand.stats
        if operand.grad or operand.source not in ("unknown", "op") or numbers is None or numbers.finite == 1:
            continue
        if _mask(numbers) or (made is not None and (made.stats is not None or made.module >= 0)):
            continue  # a mask, or made by the network itself
        behind = any(entry.grad and entry.op >= 0 for entry in op.inputs)
        what = "target" if behind and op.module < 0 else "input"
        yield _Bad(
            op.order, op.step, what, numbers, operand.shape, op.place, op.module, birth.loader, birth.batch
        )


def _called(observation: Observation, birth: Birth) -> Place | None:
    if birth.kind == "target":
        return next((loss.place for loss in reversed(observation.losses)), birth.place)
    calls = [record for record in observation.forwards if record.grad_enabled and record.order < birth.order]
    return calls[-1].place if calls else birth.place


def _spoiled(observation: Observation, step: int, order: int) -> bool:
    """Returns whether the loss or a gradient of this step was not finite."""
    if any(birth.step == step and birth.order > order for birth in observation.births):
        return True
    return any(
        loss.step == step and loss.order > order and loss.value is not None and not math.isfinite(loss.value)
        for loss in observation.losses
    )


def _nan(numbers: Stats) -> bool:
    return math.isnan(numbers.min)


def _mask(numbers: Stats) -> bool:
    """Returns whether a tensor holds only 0 and -inf, as masks for a softmax do."""
    return numbers.min == -math.inf and numbers.max == 0


def _position(at: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the index at a flat position.

    >>> _position(43, (10, 8))
    (5, 3)
    """
    index: list[int] = []
    for size in reversed(shape):
        index.insert(0, at % max(1, size))
        at //= max(1, size)
    return tuple(index)


def _batch_dimension(shape: tuple[int, ...], batch: int) -> int:
    """Returns which dimension holds the examples: the one of the loader's batch size, else the first that is not 1."""
    for wanted in (lambda size: size == batch, lambda size: size > 1):
        for number, size in enumerate(shape):
            if wanted(size):
                return number
    return 0


def _evidence(observation: Observation, bad: _Bad) -> Evidence:
    numbers = bad.stats
    kind = "NaN" if _nan(numbers) else "infinite values"
    position = _position(numbers.at, bad.shape)
    loader = observation.loaders[bad.loader] if bad.loader >= 0 else None
    first = _batch_dimension(bad.shape, loader.batch if loader is not None else 0)
    batch = bad.batch if bad.batch >= 0 else bad.step
    seen: dict[str, Any] = {
        "batch": batch,
        "index": list(position),
        "finite_share": round(numbers.finite, 6),
        "bad_examples": numbers.bad,
        "shape": bad.shape,
    }
    title = f"the {bad.what}{'' if bad.what == 'data' else 's'} hold {kind}: first in batch {batch}"
    if position:
        title += f", example {position[first]}" + (f", feature {position[-1]}" if len(position) == 2 else "")
    if (
        loader is not None
        and loader.sampler == "SequentialSampler"
        and position
        and bad.shape[first] == loader.batch
    ):
        seen["index_in_dataset"] = batch * loader.batch + position[first]
        title += f" (number {seen['index_in_dataset']} of the dataset)"
    if len(bad.shape) == 2 and numbers.bad == bad.shape[0] > 1:
        title += "; every example of this batch has one"
    return evidence(
        observation,
        broken_origin(observation, bad.shape) or bad.place,
        seen=seen,
        expected={"finite_share": 1.0, "bad_examples": 0},
        layer=bad.module,
        step=bad.step,
        title=title,
        harm="measured",
    )


_PROGRAM = """
import math

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
rows = [[math.sin(0.7 * i * j) for j in range(1, 7)] for i in range(240)]
inputs = torch.tensor(rows)
targets = inputs.sum(1, keepdim=True)
inputs[45, 4] = float("nan")  # a missing value in the table
{clean}
network = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for epoch in range(2):
    for batch, wanted in DataLoader(TensorDataset(inputs, targets), batch_size=30):
        loss = nn.functional.mse_loss(network(batch), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
"""
bad = _PROGRAM.replace("{clean}", "")
good = _PROGRAM.replace("{clean}", "inputs = torch.nan_to_num(inputs)")
near_miss = """
import torch
from torch import nn

torch.manual_seed(0)
values = torch.randn(128, 6)
targets = values.sum(1, keepdim=True)
values[torch.rand(128, 6) < 0.2] = float("nan")


class Imputing(nn.Module):
    \"\"\"Missing values come as NaN and are learned.\"\"\"

    def __init__(self):
        super().__init__()
        self.fill = nn.Parameter(torch.zeros(6))
        self.body = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x, mask):
        missing = torch.isnan(x)
        x = torch.where(missing, self.fill, torch.nan_to_num(x))
        weights = (x @ x.T + mask).softmax(dim=1)
        return self.body(torch.cat([weights @ x, missing.float()], dim=1))


network = Imputing()
mask = torch.full((128, 128), float("-inf")).triu(1)
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(8):
    loss = nn.functional.mse_loss(network(values, mask), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
