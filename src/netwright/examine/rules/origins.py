"""Where data came from: shared by the rules about inputs and targets."""

from __future__ import annotations

import math
from collections.abc import Iterator

from netwright.examine.observation import PASSIVE, Intake, Observation, Op, Operand, Place


def chain(observation: Observation, operand: Operand) -> Iterator[Op]:
    """Yields the operations that lead to an operand, the latest first; of several operands the first is followed."""
    op = observation.made(operand)
    for _ in range(200):
        if op is None:
            return
        yield op
        op = next((observation.ops[entry.op] for entry in op.inputs if entry.op >= 0), None)


def data_place(observation: Observation, operand: Operand) -> Place | None:
    """Returns the user's line, outside of all modules, that last gave data their values; None if it was not seen."""
    for op in chain(observation, operand):
        if op.module < 0 and op.name not in PASSIVE:
            return op.place
    return None


def call_place(observation: Observation, intake: Intake) -> Place | None:
    """Returns the user's line that called the network when data came to its first layer."""
    before = [
        record
        for record in observation.forwards
        if record.order < intake.order and record.step == intake.step
    ]
    return before[-1].place if before else intake.place


def intake_place(observation: Observation, intake: Intake) -> Place | None:
    """Returns the line at which data should be changed: where they got their values, else the network's call."""
    if intake.op >= 0:
        found = data_place(observation, observation.ops[intake.op].inputs[intake.operand])
        if found is not None:
            return found
    return call_place(observation, intake)


def broken_origin(observation: Observation, shape: tuple[int, ...]) -> Place | None:
    """Returns the line that made data of such a shape (but for the number of examples) not finite, None if it was not seen."""
    found = [op for op in observation.ops if op.module < 0 and not op.grad and _breaks(op)]
    fitting = [op for op in found if _shape(op)[1:] == tuple(shape)[1:]]
    if fitting:
        return fitting[0].place
    return found[0].place if len({op.place for op in found}) == 1 else None


def _breaks(op: Op) -> bool:
    if op.options.get("finite", 1) < 1:
        return True
    value = op.options.get("value")
    return op.name == "setitem" and isinstance(value, float) and not math.isfinite(value)


def _shape(op: Op) -> tuple[int, ...]:
    return tuple(op.inputs[0].shape) if op.name == "setitem" and op.inputs else tuple(op.shape)
