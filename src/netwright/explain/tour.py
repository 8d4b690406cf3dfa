"""An example followed through a network: what each layer took, gave, and got back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netwright.explain.formulas import Formula, formula_of, same_kind
from netwright.explain.trace import Spec, Trace, Visit
from netwright.explain.values import Values


@dataclass(frozen=True)
class Stop:
    """One layer or function on the way.

    `flat`: of an activation, the share of units where its slope is under 0.05; `gradient`: of what it gave; `picture`: what it gave,
    as uint8, where that is one.
    """

    name: str
    kind: str
    function: bool
    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]
    taken: Values
    given: Values
    flat: float | None
    gradient: Values | None
    picture: np.ndarray | None

    @property
    def gradient_size(self) -> float | None:
        """The root of the mean square of the gradient, None where none came back."""
        found = self.gradient
        if found is None or found.mean is None or found.deviation is None:
            return None
        return math.hypot(found.mean, found.deviation)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "function": self.function,
            "received": self.taken.to_dict(),
            "gave": self.given.to_dict(),
            "saturated": self.flat,
            "gradient": None if self.gradient is None else self.gradient.to_dict(),
            "gradient_size": self.gradient_size,
        }


@dataclass(frozen=True)
class Tour:
    """The stops in their order. `back_from`: of what the gradient is; `more`: stops whose values were not taken."""

    stops: tuple[Stop, ...]
    back_from: str
    more: int

    @property
    def formulas(self) -> dict[str, Formula]:
        """What the kinds of layers on the way compute, each once, where it is known."""
        found = {same_kind(stop.kind): formula_of(stop.kind) for stop in self.stops}
        return {kind: formula for kind, formula in found.items() if formula is not None}

    def to_dict(self) -> dict[str, Any]:
        return {
            "stops": [stop.to_dict() for stop in self.stops],
            "gradient_of": self.back_from,
            "not_shown": self.more,
            "formulas": {kind: formula.to_dict() for kind, formula in self.formulas.items()},
        }


def tour_of(trace: Trace) -> Tour:
    """Returns the stops of a traced pass: its layers, and the functions called between them."""
    on_the_way = [visit for visit in trace.visits if visit.outputs and _is_stop(visit, trace.visits)]
    stops = [
        Stop(
            visit.name,
            visit.kind,
            visit.is_function,
            visit.inputs,
            visit.outputs,
            visit.taken,
            visit.given,
            visit.flat,
            visit.gradient,
            visit.picture,
        )
        for visit in on_the_way
        if visit.taken is not None and visit.given is not None
    ]
    return Tour(tuple(stops), trace.what_came_back, len(on_the_way) - len(stops))


def _is_stop(visit: Visit, visits: Sequence[Visit]) -> bool:
    if not visit.is_function:
        return visit.whole
    # Between the layers; within a layer of someone's own only what has a name, such as an activation.
    around = visits[visit.parent] if visit.parent is not None else None
    inside = around is not None and around.whole and around.parent is not None
    return not inside or formula_of(visit.kind) is not None
