"""Where the examples of a batch lie in each tensor of a step, from the recorded operations.

One dimension of a batch counts the examples. `Layouts` follows it through the operations behind a loss: permutations,
reshapes, layers. Where an operation is unknown, or sizes alone do not tell, the trail ends there (None): what follows is
not judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from netwright.examine.observation import Loss, Observation, Op, Operand

RESHAPES = frozenset(
    ["view", "reshape", "flatten", "unflatten", "view_as", "reshape_as", "squeeze", "unsqueeze", "ravel"]
)
RECURRENT = frozenset(["lstm", "gru", "rnn_tanh", "rnn_relu"])
_SWAPS = frozenset(["transpose", "swapaxes", "swapdims", "t", "T", "mT"])
_CONVOLUTIONS = ("conv", "max_pool", "avg_pool", "adaptive_", "lp_pool", "interpolate", "upsample")
_REDUCTIONS = frozenset(
    """sum mean max min amax amin argmax argmin prod logsumexp norm std var any all median select unbind""".split()  # noqa: SIM905
)
_PRODUCTS = frozenset(["matmul", "bmm", "mm", "baddbmm"])
_MEANS_NOTHING = frozenset(["randperm", "randint", "multinomial", "rand", "randn"])


class Batch(NamedTuple):
    """The examples are counted by dimension `dim`, which may be merged with others: (outer * examples * inner)."""

    dim: int
    outer: int = 1
    inner: int = 1
    turned: bool = False  #: the program has transposed or permuted the tensor


class Broken(NamedTuple):
    """A reshape after which no dimension counts the examples, and another one has taken their size."""

    op: Op
    before: Batch
    shape: tuple[int, ...]


class Layouts:
    """The layout of every tensor of one step, given how many examples a batch has and where the data came in."""

    def __init__(
        self, observation: Observation, ops: Iterable[Op], *, examples: int, roots: dict[int, Batch]
    ) -> None:
        self.observation = observation
        self.examples = examples
        self.broken: list[Broken] = []
        self._roots = roots  # index of an operation -> layout of its result
        self._loaded: set[tuple[int, ...]] = set()  # shapes of data that no operation made, examples first
        self._known: dict[tuple[int, tuple[int, ...]], Batch | None] = {}
        self._ops = list(ops)

    def loaded(self, shape: tuple[int, ...]) -> None:
        """Says that data of this shape, made by no operation that was seen, have their examples in dimension 0."""
        self._loaded.add(shape)

    def follow(self) -> Iterator[Op]:
        """Yields the operations in their order, each with the layouts of its operands known."""
        for op in self._ops:
            yield op
            self._result(op, op.shape)

    def of(self, operand: Operand) -> Batch | None:
        """Returns the layout of an operand, None if it is not known or it holds no examples."""
        if operand.op >= 0:
            return self._result(self.observation.ops[operand.op], operand.shape)
        return Batch(0) if operand.source == "unknown" and operand.shape in self._loaded else None

    def _result(self, op: Op, shape: tuple[int, ...]) -> Batch | None:
        key = (op.index, shape)
        if key not in self._known:
            self._known[key] = None
            self._known[key] = self._valid(self._roots.get(op.index) or self._made(op, shape), shape)
        return self._known[key]

    def _valid(self, found: Batch | None, shape: tuple[int, ...]) -> Batch | None:
        if found is None or not 0 <= found.dim < len(shape):
            return None
        return found if shape[found.dim] == found.outer * self.examples * found.inner else None

    def _made(self, op: Op, shape: tuple[int, ...]) -> Batch | None:
        known = [(operand, layout) for operand in op.inputs if (layout := self.of(operand)) is not None]
        if not known:
            return None
        operand, layout = known[0]
        before, dim = operand.shape, layout.dim
        if op.name in RESHAPES:
            return self._reshaped(op, layout, before, shape)
        if op.name in _SWAPS or op.name in ("permute", "movedim", "moveaxis"):
            order = _order(op, len(before))
            turned = order != list(range(len(before)))
            return layout._replace(dim=order.index(dim), turned=layout.turned or turned) if order else None
        if op.name in RECURRENT:
            return self._recurrent(op, layout, before, shape)
        if op.name == "getitem":
            return _indexed(op, layout, before, shape)
        if op.name in _REDUCTIONS:
            return _reduced(op, layout, before, shape)
        if op.name in _PRODUCTS:
            return _product(op, operand, layout, shape)
        if op.name == "einsum":
            return None
        if op.name == "linear" or op.name.startswith("embedding"):
            return layout if dim < len(before) - (op.name == "linear") else None
        if op.name.startswith(_CONVOLUTIONS):
            return layout if dim == 0 and len(before) == len(shape) else None
        if op.name == "cat":
            along = _whole(op.options.get("dim", 0), len(before))
            return layout if along != dim else None
        if op.name == "stack":
            along = _whole(op.options.get("dim", 0), len(shape))
            return layout._replace(dim=dim + (along <= dim)) if along is not None else None
        return self._alike(known, shape)

    def _alike(self, known: list[tuple[Operand, Batch]], shape: tuple[int, ...]) -> Batch | None:
        """Element by element, aligned at the right as broadcasting does; also what keeps all sizes or all but unique ones."""
        for operand, layout in known:
            dim = layout.dim + len(shape) - len(operand.shape)
            if dim < 0 or dim >= len(shape) or shape[dim] != operand.shape[layout.dim]:
                continue
            others = [size for entry, size in enumerate(shape) if entry != dim]
            if shape == operand.shape or shape[dim] not in others:
                return layout._replace(dim=dim)
            aligned = operand.shape == shape[len(shape) - len(operand.shape) :]
            if aligned:
                return layout._replace(dim=dim)
        return None

    def _reshaped(
        self, op: Op, layout: Batch, before: tuple[int, ...], shape: tuple[int, ...]
    ) -> Batch | None:
        if math.prod(before) != math.prod(shape) or not math.prod(shape):
            return None
        low = layout.inner * math.prod(
            before[layout.dim + 1 :]
        )  # one example's values between two of its neighbours
        high = low * self.examples
        steps = [math.prod(shape[entry + 1 :]) for entry in range(len(shape))]
        for entry, (step, size) in enumerate(zip(steps, shape)):
            if step <= low and low % step == 0 and step * size >= high and (step * size) % high == 0:
                return layout._replace(dim=entry, outer=step * size // high, inner=low // step)
        split = {low, high} <= {*steps, math.prod(shape)}  # the examples in groups, as (2, examples / 2)
        if not split and self.examples in shape:
            self.broken.append(Broken(op, layout, shape))
        return None

    def _recurrent(
        self, op: Op, layout: Batch, before: tuple[int, ...], shape: tuple[int, ...]
    ) -> Batch | None:
        if len(before) != 3 or len(shape) != 3 or layout.dim > 1:
            return None
        first = batch_first(self.observation, op)
        if layout.dim != (0 if first else 1):
            return None
        return layout if shape[:2] == before[:2] else layout._replace(dim=1)  # the last state has them there


def batch_first(observation: Observation, op: Op) -> bool:
    """Returns whether a recurrent operation reads dimension 0 as the batch."""
    if op.module >= 0 and "batch_first" in observation.modules[op.module].config:
        return bool(observation.modules[op.module].config["batch_first"])
    return bool(op.options.get("8", False))


def _whole(dim: Any, dims: int) -> int | None:
    return dim % dims if isinstance(dim, int) and not isinstance(dim, bool) and dims else None


def _numbers(options: dict[str, Any]) -> list[int]:
    found: list[int] = []
    for value in options.values():
        for entry in value if isinstance(value, list) else [value]:
            if isinstance(entry, int) and not isinstance(entry, bool):
                found.append(entry)
    return found


def _order(op: Op, dims: int) -> list[int]:
    """Returns which dimension stands where after a permutation, [] if it cannot be told."""
    order = list(range(dims))
    if op.name in ("t", "T", "mT"):
        if op.name == "mT" or dims == 2:
            order[-2:] = order[-2:][::-1]
            return order
        return order[::-1] if op.name == "T" else []
    numbers = [entry % dims for entry in _numbers(op.options) if dims]
    if op.name == "permute":
        return numbers if sorted(numbers) == order else []
    if len(numbers) != 2:
        return []
    one, two = numbers
    if op.name in ("movedim", "moveaxis"):
        order.remove(one)
        order.insert(two, one)
    else:
        order[one], order[two] = order[two], order[one]
    return order


def _indexed(op: Op, layout: Batch, before: tuple[int, ...], shape: tuple[int, ...]) -> Batch | None:
    index = op.options.get("index", ...)
    if index is ...:  # by tensors
        by = [entry for entry in op.inputs if entry.position == "index"]
        if len(by) != 1 or by[0].dtype == "bool" or layout.dim == 0:
            return None
        return (
            layout._replace(dim=layout.dim + len(by[0].shape) - 1) if shape[:1] == by[0].shape[:1] else None
        )
    parts = index if isinstance(index, list) else [index]
    known = sum(entry is not None and entry != "ellipsis" for entry in parts)
    at = after = 0
    for entry in parts:
        if entry is None:
            after += 1
            continue
        skipped = len(before) - known if entry == "ellipsis" else 0
        if entry == "ellipsis" and at <= layout.dim < at + skipped:
            return layout._replace(dim=after + layout.dim - at)
        at, after = at + skipped, after + skipped
        if entry == "ellipsis":
            continue
        kept = isinstance(entry, str) and ":" in entry
        if not kept and (isinstance(entry, bool) or not isinstance(entry, int)):
            return None
        if at == layout.dim:
            return layout._replace(dim=after) if kept else None
        at, after = at + 1, after + kept
    return layout._replace(dim=after + layout.dim - at)


def _reduced(op: Op, layout: Batch, before: tuple[int, ...], shape: tuple[int, ...]) -> Batch | None:
    if len(shape) == len(before):
        return layout
    given = op.options.get("dim", op.options.get("1", 0 if op.name == "unbind" else None))
    gone = {
        entry % len(before)
        for entry in (given if isinstance(given, list) else [given])
        if isinstance(entry, int)
    }
    if not gone or layout.dim in gone or len(shape) != len(before) - len(gone):
        return None
    return layout._replace(dim=layout.dim - sum(entry < layout.dim for entry in gone))


def _product(op: Op, operand: Operand, layout: Batch, shape: tuple[int, ...]) -> Batch | None:
    right = operand is not op.inputs[0]
    back = len(operand.shape) - layout.dim  # counted from the right: 1 is the last dimension
    if len(operand.shape) < 2 or len(shape) < 2 or back == (2 if right else 1):
        return None
    return layout._replace(dim=len(shape) - back)


# -- where the data came in ------------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """Where a batch came in: its number of examples, the layouts at its roots, and how that is known."""

    loss: Loss
    examples: int
    layouts: Layouts
    shuffled: bool  #: the examples were drawn in random order, so that neighbours have nothing to do with each other


def entries(observation: Observation) -> Iterator[Entry]:
    """Yields, for the first losses of the program, where their batch came in, as far as that is certain."""
    seen: set[int] = set()
    for loss, op in observation.loss_ops():
        if loss.step > 1 or len(seen) >= 4:
            return
        forward = next(
            (
                entry
                for entry in reversed(observation.forwards)
                if entry.order < loss.order and entry.step == loss.step and entry.grad_enabled and entry.shape
            ),
            None,
        )
        if forward is None or forward.module in seen:
            continue
        ops = [entry for entry in observation.ops[: op.index + 1] if entry.step == loss.step]
        loader = observation.loaders[forward.loader] if forward.loader >= 0 else None
        if loader is not None and loader.collate and loader.batch > 1:
            examples = min(loader.batch, loader.examples) if loader.examples > 0 else loader.batch
            layouts = Layouts(observation, ops, examples=examples, roots={})
            for entry in ops:
                for operand in entry.inputs:
                    if _from_loader(operand, examples, forward.shape):
                        layouts.loaded(operand.shape)
            seen.add(forward.module)
            yield Entry(loss, examples, layouts, loader.sampler == "RandomSampler")
            continue
        examples = _one_target_each(loss, forward.shape)
        if examples < 2:
            continue
        roots, shuffled = {}, False
        for entry in ops:
            if entry.module < 0 and not entry.grad and entry.shape == forward.shape:
                base = _base(observation, entry)
                layout = _told_by_size(base.shape, examples)
                drawn = _drawn(observation, base)
                if drawn and base.shape[:1] == (examples,):
                    layout = Batch(0)
                if layout is not None:
                    roots[base.index] = layout
                    shuffled = shuffled or drawn
        layouts = Layouts(observation, ops, examples=examples, roots=roots)
        told = _told_by_size(forward.shape, examples)
        if told is not None and told.dim == 0:
            layouts.loaded(forward.shape)
        elif not roots:
            continue
        seen.add(forward.module)
        yield Entry(loss, examples, layouts, shuffled)


def _from_loader(operand: Operand, examples: int, received: tuple[int, ...]) -> bool:
    shape = operand.shape
    return (
        operand.op < 0
        and operand.source == "unknown"
        and len(shape) > 1
        and shape[0] == examples
        and math.prod(shape) == math.prod(received)
    )


def _one_target_each(loss: Loss, received: tuple[int, ...]) -> int:
    """Returns the number of examples if a loss has one target (or vector) for each of them, else 0.

    A table of targets with another size of the input in it may have one for each step of each sequence.
    """
    target, prediction = loss.target_shape, loss.prediction_shape
    if not target or not prediction or target[0] != prediction[0] or len(prediction) > 2:
        return 0
    vectors = target == prediction and target[-1] not in received[:-1]
    return target[0] if len(target) == 1 or target[1:] == (1,) or vectors else 0


def _told_by_size(shape: tuple[int, ...], examples: int) -> Batch | None:
    """Returns the one of the first two dimensions that counts the examples, if sizes tell without doubt."""
    if shape.count(examples) != 1 or examples not in shape[:2] or len(shape) < 2:
        return None
    # One sequence with a target for each of its steps looks like this, too.
    if len(shape) < 4 and 1 in shape[:2]:
        return None
    return Batch(shape.index(examples))


def _base(observation: Observation, op: Op) -> Op:
    """Returns the operation that took the batch out of the data, before it was reshaped."""
    turns = (
        RESHAPES | _SWAPS | {"permute", "to", "float", "contiguous", "movedim", "moveaxis", "type", "double"}
    )
    while op.name in turns and op.inputs and op.inputs[0].op >= 0:
        above = observation.ops[op.inputs[0].op]
        if above.step != op.step or math.prod(above.shape) != math.prod(op.shape):
            break
        op = above
    return op


def _drawn(observation: Observation, op: Op) -> bool:
    """Returns whether a batch was picked by random numbers, one for each example."""
    index = next((entry for entry in op.inputs if entry.position == "index"), None)
    if op.name != "getitem" or index is None or len(index.shape) != 1 or index.op < 0:
        return False
    made = observation.ops[index.op]
    return any(entry.name in _MEANS_NOTHING for entry in (made, *observation.ancestors(made)))
