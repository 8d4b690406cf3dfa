"""Which examples the program trains on and which it evaluates on: fingerprints, cheaply.

A batch that a network trains on is the last forward of its root with gradients before a backward that an optimizer's step
follows. An evaluation pass is a run of forwards without gradients (or in evaluation mode, followed by no backward) over one
set of examples: a new one begins with another loader or another iteration over it, another line of the user's code, or, where
no loader is at work, another call of eval().

While nothing else is watched, a global forward hook is put up for a single forward, as often as a budget of time allows
(a few milliseconds for every optimizer, then 0.3 % of the time that has gone by), and takes itself down again.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules import module as nn_module

from netwright.examine import measure
from netwright.examine.observation import Batch, EvaluationPass, Forward, Place, Totals, TrainedBatch

if TYPE_CHECKING:
    from netwright.examine.observer import Observer

GRANT = 0.006  # seconds of looking for each optimizer
SHARE = 0.003  # and of the time since the beginning
MOST_TRAINED = 40_000  # examples, of a whole run
MOST_PASS = 4_096  # examples of one pass
MOST_PASSES = 300
MOST_BATCH_EXAMPLES = 12_000
MOST_FEATURES = 256
PASSES_WATCHED = 3  # of each loader
BATCHES_WATCHED = 4  # of each of these


class Streams:
    """Writes `trained`, `passes` and `batches` of the observation."""

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self.current: EvaluationPass | None = None
        self.entries = 0  # how often an evaluation may have begun
        self.next_look = 0
        self._key: Any = None
        self._pending: dict[int, tuple[TrainedBatch, bool]] = {}
        self._ready: list[TrainedBatch] = []
        self._sites: dict[int, Any] = {}  # of the latest forward in evaluation mode with gradients
        self._roots: set[int] = set()
        self.seeds: list[tuple[Any, Place | None]] = []  # set while the batch under way was made
        self._sums: dict[
            tuple[int, str], tuple[Any, list[torch.Tensor]]
        ] = {}  # marks, and sums of the features
        self._handle: Any = None
        self._spent = 0.0
        self._began = time.perf_counter()
        self._kept = 0
        self._misses = 0
        self._off = False
        self._indices: dict[int, deque[list[int]]] = {}
        self._batch_examples = 0

    # -- forwards ------------------------------------------------------------------------------------------------

    def forward(self, record: Forward, module: nn.Module, inputs: list[torch.Tensor]) -> None:
        """An outermost forward begins that is watched closely anyway."""
        self.disarm()
        observation = self.observer.observation
        root = observation.modules[record.module].root
        size = int(inputs[0].shape[0]) if inputs and inputs[0].dim() else 0
        if record.grad_enabled:
            batch = self._batch(record.order, root, size, record.examples)
            batch.place = record.place
            self._replace(root, (batch, module.training), inputs)
            if module.training:
                self._total(root, "training", inputs, batch.examples)
        elif record.examples:
            self._total(root, "evaluation", inputs, record.examples)
            self._evaluated(record, root, size, inputs)

    def _batch(self, order: int, root: int, size: int, examples: list[int]) -> TrainedBatch:
        observer = self.observer
        return TrainedBatch(
            order,
            observer.observation.step_count,
            root,
            size,
            examples,
            loader=observer._last_loader,
            optimizers=len(observer.observation.optimizers),
        )

    def _replace(self, root: int, entry: tuple[TrainedBatch, bool], inputs: list[torch.Tensor]) -> None:
        before = self._pending.get(root)
        if before is not None and not before[1] and before[0].examples:
            self._unused(before[0])
        if not entry[1] and inputs:
            self._sites[root] = (*self.observer.places.both(1), measure.entropy(inputs))
        if any(tensor.requires_grad for tensor in inputs):
            entry[0].examples = []  # gradients of the input are wanted: physics, attacks, saliency
        self._pending[root] = entry

    def _unused(self, batch: TrainedBatch) -> None:
        """A forward in evaluation mode whose graph no backward used."""
        record = Forward(batch.order, batch.step, batch.module, True, False)
        record.examples = batch.examples
        self._evaluated(record, batch.module, batch.size, [], loader=batch.loader)

    def _evaluated(
        self, record: Forward, root: int, size: int, inputs: list[torch.Tensor], loader: int | None = None
    ) -> None:
        observer = self.observer
        observation = observer.observation
        loader = observer._last_loader if loader is None else loader
        number = observation.loaders[loader].passes if loader >= 0 else self.entries
        place, caller, bits = (
            self._sites.pop(root, (None, None, 0.0)) if not inputs else (*observer.places.both(1), 0.0)
        )
        key = (root, place, caller, loader, number, record.grad_enabled)
        if key != self._key:
            self._key = key
            if self.current is not None:
                self.current.complete = True
            self.current = None
            if len(observation.passes) >= MOST_PASSES:
                return
            self.current = EvaluationPass(record.order, record.step, root, place, caller, loader)
            self.current.grad_enabled, self.current.training = record.grad_enabled, record.training
            self.current.optimizers = len(observation.optimizers)
            self.current.entry = self.entries
            observation.passes.append(self.current)
            if observer.level == 1 and observer._evaluation is not None and len(observation.passes) < 40:
                observer._set_level(2)  # another evaluation right behind one that is known: closely again
        seen = self.current
        if seen is None:
            return
        seen.forwards += 1
        seen.count += size
        if not seen.bits:
            seen.bits = measure.entropy(inputs) if inputs else bits
        if len(seen.sizes) < 512:
            room = MOST_PASS - len(seen.examples)
            some = record.examples[:room] if room > 0 else []
            seen.sizes.append(len(some))
            seen.examples.extend(some)

    def settled(self) -> bool:
        """Returns whether the evaluation under way need not be watched as closely any more."""
        seen = self.current
        return seen is None or seen.forwards >= 12 or (seen.compared and seen.forwards >= 3)

    def compared(self, place: Place | None, *, exported: bool = False) -> None:
        """Outputs of the evaluation under way were compared with something, or left torch."""
        if self.current is not None:
            if exported:
                self.current.exported = True
            elif not self.current.compared:
                self.current.compared, self.current.compared_place = True, place

    def entered(self) -> None:
        """eval() was called: another evaluation may begin."""
        self.entries += 1

    def _total(self, root: int, side: str, inputs: list[torch.Tensor], examples: list[int]) -> None:
        """Adds the examples that are new to the sums of their features."""
        values = measure.plain(inputs[0]) if len(inputs) == 1 else None
        if values is None or values.dim() != 2 or not values.is_floating_point() or not values.is_cpu:
            return
        if not 2 <= values.shape[1] <= MOST_FEATURES or len(examples) != len(values) or values.requires_grad:
            return
        seen, sums = self._sums.setdefault((root, side), (set(), []))
        beside = self._sums.get((root, "evaluation" if side == "training" else "training"), ((), ()))[0]
        fresh = [at for at, mark in enumerate(examples) if mark not in seen and mark not in beside]
        if not fresh or len(seen) > 20_000:
            return
        seen.update(examples[at] for at in fresh)
        rows = (values if len(fresh) == len(values) else values[fresh]).double()
        low, high = torch.aminmax(rows, dim=0)
        if not sums:
            sums.extend((rows.sum(0), (rows * rows).sum(0), low, high))
        elif len(sums[0]) == rows.shape[1]:
            sums[0] += rows.sum(0)
            sums[1] += (rows * rows).sum(0)
            sums[2], sums[3] = torch.minimum(sums[2], low), torch.maximum(sums[3], high)

    def write_totals(self) -> None:
        """Writes the sums so far into the observation."""
        self.observer.observation.totals = [
            Totals(root, side, len(seen), *(entry.tolist() for entry in sums))
            for (root, side), (seen, sums) in self._sums.items()
            if sums
        ]

    # -- training ------------------------------------------------------------------------------------------------

    def backward(self) -> None:
        """A backward begins."""
        self.disarm()
        if self.current is not None:
            self.current.complete = True
            if len(self.observer.observation.passes) < 30:
                self.write_totals()
        self.current = self._key = None
        if self._pending:
            self._ready.extend(batch for batch, _ in self._pending.values())
            self._pending.clear()

    def cleared(self) -> None:
        """Gradients were cleared: what they came from trains nothing."""
        self._ready.clear()

    def stepped(self) -> None:
        """An optimizer has made its step."""
        for batch in self._ready:
            if batch.examples and self._kept < MOST_TRAINED:
                self._kept += len(batch.examples)
                self._roots.add(batch.module)
                self.observer.observation.trained.append(batch)
        self._ready.clear()

    # -- single looks while nothing else is watched --------------------------------------------------------------

    def look(self, count: int) -> None:
        """Watches the next forward, if the budget allows it."""
        observer = self.observer
        if self._off or observer._compiled or self._kept >= MOST_TRAINED or not self._roots:
            self.next_look = count + 64
            return
        granted = GRANT * max(1, len(observer.observation.optimizers)) + SHARE * (
            time.perf_counter() - self._began
        )
        if self._spent > granted or self._misses > 3:
            self.next_look = count + 16
            return
        self.next_look = count + 1
        if self._handle is None:
            self._misses += 1
            self._handle = nn_module.register_module_forward_pre_hook(self._looked)

    def disarm(self) -> None:
        """Takes the hook down."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _looked(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        observer = self.observer
        if not observer.recording or observer._backward_depth or not torch.is_grad_enabled():
            return
        if observer.level:  # watched closely by now
            self.disarm()
            return
        entry = observer._modules.get(id(module))
        if entry is None or entry[1] not in self._roots or entry[0]() is not module:
            return
        began = time.perf_counter()
        observer.guard(self._look, entry[1], module, args)
        if len(self._roots) == 1:
            self.disarm()
        self._spent += time.perf_counter() - began + 4e-6

    def _look(self, root: int, module: nn.Module, args: tuple[Any, ...]) -> None:
        inputs = list(measure.tensors(args)) or list(measure.tensors(given(module)))
        if not inputs:
            return
        if not inputs[0].is_cpu:
            self._off = True
            return
        self._misses = 0
        size = int(inputs[0].shape[0]) if inputs[0].dim() else 0
        batch = self._batch(self.observer.tick(), root, size, measure.fingerprints(inputs))
        self._replace(root, (batch, module.training), inputs)
        if module.training:
            self._total(root, "training", inputs, batch.examples)

    # -- loaders -------------------------------------------------------------------------------------------------

    def indices(self, iterator: Any, index: Any) -> Any:
        """The loader's sampler gave the indices of a batch; returns the state of the random generators."""
        if isinstance(index, (list, tuple)) and len(self._indices) < 64:
            queue = self._indices.setdefault(id(iterator), deque(maxlen=256))
            queue.append([int(entry) for entry in index])
        return self.observer.random_states()

    def fetched(self, loader: int, iterator: Any, batch: Any, number: int, random_before: Any) -> None:
        """A loader gave its batch with that number in the pass."""
        queue = self._indices.get(id(iterator))
        mine = queue.popleft() if queue else []
        record = self.observer.observation.loaders[loader]
        if not mine or self._batch_examples > MOST_BATCH_EXAMPLES:
            return
        inputs = [tensor for tensor in measure.tensors(batch) if tensor.dim() and len(tensor) == len(mine)]
        if not inputs or not inputs[0].is_cpu:
            return
        made = Batch(
            self.observer.tick(), self.observer.observation.step_count, loader, record.passes, number
        )
        made.indices = mine
        if random_before is not None:
            after = self.observer.random_states()
            made.drawn = {name: state for name, state in after.items() if state != random_before.get(name)}
        if len(self.seeds) > 1 and len({value for value, _ in self.seeds}) == 1:
            made.seeded = self.seeds[0][1]
        made.inputs = measure.fingerprints(inputs[:1])[: len(mine)]
        made.targets = measure.fingerprints(inputs[1:])[: len(mine)] if len(inputs) > 1 else []
        self._batch_examples += len(mine)
        self.observer.observation.batches.append(made)

    def seed_inside(self, args: tuple[Any, ...]) -> None:
        """A seed is set while a loader makes a batch."""
        if len(self.seeds) < 64:
            value = args[0] if args and isinstance(args[0], (int, float, str)) else None
            self.seeds.append((value, self.observer.places.here(3)))

    def pass_ended(self, iterator: Any) -> None:
        self._indices.pop(id(iterator), None)

    def close(self, complete: bool) -> None:
        """The program has ended."""
        for batch, training in self._pending.values():
            if not training and batch.examples:
                self._unused(batch)
        self._pending.clear()
        if self.current is not None:
            self.current.complete = complete
        self.write_totals()
        self._sums.clear()
        self.current = None
        self._indices.clear()


def given(module: nn.Module) -> Any:
    """Returns the keyword arguments of the call of a module whose hook is running (hooks get the others only)."""
    frame: Any = sys._getframe(1)
    for _ in range(9):
        if frame is None:
            return None
        if frame.f_code.co_name in ("inner", "_call_impl") and frame.f_code.co_filename == nn_module.__file__:
            held = frame.f_locals
            if held.get("self") is module:
                return held.get("kwargs")
        frame = frame.f_back
    return None
