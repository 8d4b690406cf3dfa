"""Which examples the program trains on and which it evaluates on: fingerprints, cheaply.

A batch that a network trains on is the last forward of its root with gradients before a backward that an optimizer's step
follows. An evaluation pass is a run of forwards without gradients (or in evaluation mode, followed by no backward) over one
set of examples: a new one begins with another loader or another iteration over it, another line of the user's code, or, where
no loader is at work, another call of eval().

While nothing else is watched, a global forward hook is put up for a single forward, as often as a budget of time allows
(a few milliseconds for every optimizer, then 0.3 % of the time that has gone by), and takes itself down again.
"""

from __future__ import annotations

import inspect
import linecache
import math
import re
import sys
import time
from collections import deque
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules import module as nn_module

from netwright.examine import measure
from netwright.examine.observation import Batch, EvaluationPass, Forward, Place, Totals, TrainedBatch
from netwright.examine.places import USER, Places

if TYPE_CHECKING:
    from netwright.examine.observer import Observer

GRANT = 0.004  # seconds of looking for each optimizer
SHARE = 0.002  # and of the time since the beginning
MOST_TRAINED = 40_000  # examples, of a whole run
MOST_PASS = 4_096  # examples of one pass
MOST_PASSES = 300
MOST_BATCH_EXAMPLES = 12_000
MOST_FEATURES = 256
PASSES_WATCHED = 3  # of each loader
BATCHES_WATCHED = 4  # of each of these
WORKER_PASSES = 6  # of loaders with workers: of what they draw, only the examples tell
WORKER_BATCHES = 16
WORKER_SECONDS = 0.03  # for these in all
MOST_LINES = 20_000  # steps of the program's own lines that are followed while one batch is made
MOST_WANTED = 16  # looks beyond the budget


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
        self._wanted = 0
        self._off = False
        self._indices: dict[int, deque[list[int]]] = {}
        self._batch_examples = 0
        self._worker_examples = 0
        self._worker_spent = 0.0

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
            seen.continuous = measure.continuous(inputs)
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

    def look(self, count: int, *, wanted: bool = False) -> None:
        """Watches the next forward if the budget allows it, or, a few times, if there is a reason to."""
        observer = self.observer
        if self._off or observer._compiled or self._kept >= MOST_TRAINED or not self._roots:
            self.next_look = count + 64
            return
        granted = GRANT * max(1, len(observer.observation.optimizers)) + SHARE * (
            time.perf_counter() - self._began
        )
        self._wanted += wanted
        if (self._spent > granted or self._misses > 3) and not (wanted and self._wanted <= MOST_WANTED):
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
        if observer.level:  # watched closely by now: no miss
            self._misses = 0
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
        self.note_indices(iterator, index)
        return self.observer.random_states()

    def note_indices(self, iterator: Any, index: Any) -> None:
        if isinstance(index, (list, tuple)) and len(self._indices) < 64:
            queue = self._indices.setdefault(id(iterator), deque(maxlen=256))
            queue.append([int(entry) for entry in index])

    def fetched_from_worker(self, loader: int, iterator: Any, batch: Any, number: int) -> None:
        """A loader with workers gave a batch that is not watched otherwise."""
        if self._worker_spent < WORKER_SECONDS and self._worker_examples < MOST_BATCH_EXAMPLES:
            began, before = time.perf_counter(), self._batch_examples
            self._batch_examples = 0  # these have an allowance of their own
            self.fetched(loader, iterator, batch, number, None)
            self._worker_examples += self._batch_examples
            self._batch_examples = before
            self._worker_spent += time.perf_counter() - began

    def fetched(
        self,
        loader: int,
        iterator: Any,
        batch: Any,
        number: int,
        random_before: Any,
        lines: LineWatch | None = None,
    ) -> None:
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
        if lines is not None:
            made.generators = lines.generators()
            made.stored = bool(made.generators) and is_stored(
                getattr(iterator, "_dataset", None), inputs[0], self.observer.places
            )
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


class LineWatch:
    """Notes which lines of the user's code run while a batch is made; does nothing where somebody traces already."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._seen: set[tuple[CodeType, int]] = set()
        self._count = 0
        self._tracer: Any = None

    def __enter__(self) -> None:
        if sys.gettrace() is None:
            self._tracer = self._called
            sys.settrace(self._tracer)

    def __exit__(self, *_: object) -> None:
        if self._tracer is not None and sys.gettrace() is self._tracer:
            sys.settrace(None)
        self._tracer = None

    def _called(self, frame: FrameType, event: str, _: Any) -> Any:
        return self._ran if self._places.kind(frame.f_code) == USER else None

    def _ran(self, frame: FrameType, event: str, _: Any) -> Any:
        self._count += 1
        if self._count > MOST_LINES:
            sys.settrace(None)
            return None
        if event == "line":
            self._seen.add((frame.f_code, frame.f_lineno))
        return self._ran

    def generators(self) -> list[Place]:
        """Returns the lines among them that give a random generator a seed."""
        return sorted(
            Place(self._places.shown(code.co_filename), line, code.co_name)
            for code, line in self._seen
            if _SEEDING.search(linecache.getline(code.co_filename, line))
        )


#: A generator that is made from a seed, or gets one: with an argument.
_SEEDING = re.compile(
    r"\b(?:RandomState|default_rng|random\.Random|Random|manual_seed|random\.seed|PCG64|Philox|MT19937)\(\s*(?:[^)\s]|$)"
)


def is_stored(dataset: Any, made: torch.Tensor, places: Places) -> bool:
    """Returns whether a data set holds its examples and `__getitem__` looks them up by index, so that what is drawn alters them.

    A data set that draws its examples themselves from the seed of their index is none that augments.
    """
    while type(dataset).__name__ == "Subset" and hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    code = getattr(getattr(type(dataset), "__getitem__", None), "__code__", None)
    if code is None or code.co_argcount < 2:
        return False
    if places.kind(code) != USER:  # of a library: files, tables
        return True
    lines = inspect.getblock(linecache.getlines(code.co_filename)[code.co_firstlineno - 1 :])
    index = code.co_varnames[1]
    looked_up = re.findall(rf"\bself\.(\w+)(?:\.i?loc)?\[{index}(?:\]|\s*[,%])", "".join(lines))
    held = getattr(dataset, "__dict__", {})
    return any(_holds_examples(held.get(name), len(dataset), made) for name in looked_up)


def _holds_examples(value: Any, count: int, made: torch.Tensor) -> bool:
    """Returns whether a value holds `count` examples, each of about the size of those that came out."""
    if isinstance(value, torch.utils.data.Dataset):
        return True
    shape = getattr(value, "shape", None)
    if shape is not None:
        return len(shape) > 1 and math.prod(shape[1:]) * 4 >= made[0].numel()
    many = isinstance(value, (list, tuple)) and len(value) >= count > 0
    return many and not isinstance(value[0], (int, float, bool))
