"""Whether the processes of a DistributedDataParallel program stay together.

Each process writes down the sums of its parameters after two steps, in the key-value store that the process group has anyway,
and reads those of the others when they are there. Nobody waits, and no collective is added to the program's own.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import torch

from netwright.examine import measure
from netwright.examine.observation import Place, Wrapper

if TYPE_CHECKING:
    from netwright.examine.observer import Observer

AT_STEP = 2
TOLERANCE = 1e-4  # of a sum; the processes of one machine agree to the last bit
MOST_PARAMETERS = 64


class Ranks:
    """Writes `wrappers` of the observation."""

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self.record: Wrapper | None = None
        self._mine: dict[str, float] = {}
        self._waiting: set[int] = set()

    def stepped(self, count: int) -> None:
        """A step of an optimizer is complete."""
        if count == AT_STEP:
            self._publish()
        self.look()

    def look(self) -> None:
        """Compares with the processes that have written down their parameters by now."""
        if self.record is None or not self._waiting:
            return
        store = _store()
        if store is None:
            return
        for rank in sorted(self._waiting):
            if store.check([_key(rank)]):
                self._waiting.discard(rank)
                self._compare(json.loads(store.get(_key(rank))))

    def _publish(self) -> None:
        distributed: Any = sys.modules.get("torch.distributed")
        if distributed is None or not distributed.is_available() or not distributed.is_initialized():
            return
        found = self._wrapper()
        if found is None or distributed.get_world_size() < 2:
            return
        wrapper, place = found
        record = Wrapper(distributed.get_world_size(), distributed.get_rank(), place)
        self._count(record, wrapper)
        self.record = record
        self.observer.observation.wrappers.append(record)
        named = list(wrapper.module.named_parameters())
        if any(measure.plain(parameter) is None for _, parameter in named):
            return  # sharded: they are meant to differ
        self._mine = {
            name: float(parameter.detach().double().sum()) for name, parameter in named[:MOST_PARAMETERS]
        }
        store = _store()
        if store is not None:
            store.set(_key(record.rank), json.dumps(self._mine))
            self._waiting = set(range(record.processes)) - {record.rank}

    def _wrapper(self) -> tuple[Any, Place | None] | None:
        kind = torch.nn.parallel.DistributedDataParallel
        for reference, place in self.observer._built.values():
            module = reference()
            if isinstance(module, kind):
                return module, place
        return None

    def _count(self, record: Wrapper, wrapper: Any) -> None:
        observation = self.observer.observation
        known = {uid: reference() for reference, uid in self.observer._modules.values()}
        inside = {id(module) for module in wrapper.module.modules()}
        for forward in observation.forwards:
            module = known.get(forward.module)
            if module is wrapper and forward.grad_enabled:
                record.forwards += 1
            elif id(module) in inside and forward.grad_enabled and forward.followed == "backward":
                record.bypassed += 1
                record.bypass = record.bypass or forward.place

    def _compare(self, theirs: dict[str, float]) -> None:
        assert self.record is not None
        self.record.compared += 1
        for name, mine in self._mine.items():
            other = theirs.get(name, mine)
            difference = abs(mine - other) / max(abs(mine), abs(other), 1e-3)
            if difference > TOLERANCE:
                self.record.drift[name] = max(difference, self.record.drift.get(name, 0.0))


def _key(rank: int) -> str:
    return f"netwright/parameters/{rank}"


def _store() -> Any:
    try:
        return torch.distributed.distributed_c10d._get_default_store()
    except Exception:  # the process group is gone
        return None
