"""The trace of torch functions in deep steps: who called what, on which line, with tensors from where."""

from __future__ import annotations

import inspect
import sys
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from netwright.examine import measure
from netwright.examine.observation import Loss, Op, Operand, Stats
from netwright.examine.places import OPTIM

if TYPE_CHECKING:
    from netwright.examine.observer import Observer

MOST_OPS = 30_000  # of a whole run
MOST_OPS_A_LAP = 6_000  # between two optimizer steps
MOST_MEASURED_A_LAP = 600
MOST_REPEATS = 12  # of one line outside of all modules and graphs (preparing data one example at a time)

WORDS = {
    "truediv": "div", "true_divide": "div", "divide": "div", "itruediv": "div", "idiv": "div", "rtruediv": "rdiv",
    "multiply": "mul", "rmul": "mul", "imul": "mul", "subtract": "sub", "isub": "sub", "iadd": "add", "radd": "add",
    "negative": "neg", "absolute": "abs", "clip": "clamp", "ifloordiv": "floordiv", "floor_divide": "floordiv",
    "ipow": "pow", "conv_transpose1d": "conv_transpose", "conv_transpose2d": "conv_transpose", "concat": "cat",
    "concatenate": "cat", "special_expit": "sigmoid", "special_softmax": "softmax", "special_log_softmax": "log_softmax",
    "not_equal": "ne", "H": "T", "less": "lt", "greater": "gt", "arctan": "atan", "array": "numpy",
    "ge": "ge", "greater_equal": "ge", "less_equal": "le", "log_sigmoid": "logsigmoid", "bool": "bool",
}  # fmt: skip
#: Results that are no tensors, and yet worth a record.
LEAVING = frozenset(
    {"item", "tolist", "numpy", "bool", "float_", "int", "index", "equal", "allclose", "setitem", "set_data"}
)
GETTERS = frozenset({"data", "T", "mT", "H", "mH", "real", "imag"})
SKIPPED = frozenset(
    [
        "backward",
        "register_hook",
        "retain_grad",
        "size",
        "dim",
        "numel",
        "len",
        "stride",
        "storage",
        "is_contiguous",
        "is_floating_point",
        "is_complex",
        "data_ptr",
        "get_device",
        "element_size",
        "nelement",
        "ndimension",
        "repr",
        "format",
        "hash",
        "str",
        "iter",
        "dir",
        "reduce_ex",
        "reduce",
        "deepcopy",
        "is_set_to",
        "is_shared",
        "share_memory",
        "pin_memory",
        "is_pinned",
        "is_same_size",
        "is_signed",
        "is_conj",
        "is_neg",
        "is_inference",
        "manual_seed",
        "set_rng_state",
        "get_rng_state",
        "seed",
        "initial_seed",
        "register_post_accumulate_grad_hook",
        "result_type",
        "can_cast",
        "is_nonzero",
        "storage_offset",
        "untyped_storage",
        "random",
        "uniform",
        "normal",
        "bernoulli_",
        "no_grad",
        "broadcast_shapes",
    ]
)
#: Of these, the ones that give a tensor its values.
DRAWING = frozenset({"normal_", "uniform_", "random_", "bernoulli_"})
#: Names of the arguments of functions that are written in C++ and so have no signature.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "softmax": ("input", "dim", "dtype"), "log_softmax": ("input", "dim", "dtype"), "linear": ("input", "weight", "bias"),
    "conv1d": ("input", "weight", "bias", "stride", "padding"), "conv2d": ("input", "weight", "bias", "stride", "padding"),
    "conv3d": ("input", "weight", "bias", "stride", "padding"), "argmax": ("input", "dim", "keepdim"),
    "argmin": ("input", "dim", "keepdim"), "max": ("input", "dim", "keepdim"), "min": ("input", "dim", "keepdim"),
    "sum": ("input", "dim", "keepdim"), "mean": ("input", "dim", "keepdim"), "std": ("input", "dim"), "var": ("input", "dim"),
    "norm": ("input", "p", "dim"), "cat": ("tensors", "dim"), "stack": ("tensors", "dim"), "clamp": ("input", "min", "max"),
    "clamp_min": ("input", "min"), "clamp_max": ("input", "max"), "topk": ("input", "k", "dim"), "pow": ("input", "exponent"),
    "add": ("input", "other"), "sub": ("input", "other"), "mul": ("input", "other"), "div": ("input", "other"),
    "rsub": ("input", "other"), "rdiv": ("input", "other"), "eq": ("input", "other"), "ne": ("input", "other"),
    "matmul": ("input", "other"), "mm": ("input", "mat2"), "bmm": ("input", "mat2"), "addmm": ("bias", "input", "mat2"),
    "getitem": ("input", "index"), "setitem": ("input", "index", "value"), "set_data": ("input", "value"),
    "where": ("condition", "input", "other"), "gather": ("input", "dim", "index"), "embedding": ("weight", "input"),
    "unsqueeze": ("input", "dim"), "squeeze": ("input", "dim"), "transpose": ("input", "dim0", "dim1"),
    "flatten": ("input", "start_dim", "end_dim"), "logsumexp": ("input", "dim", "keepdim"), "to": ("input", "dtype"),
    "cumsum": ("input", "dim"), "sort": ("input", "dim"), "prod": ("input", "dim"), "floordiv": ("input", "other"),
    "batch_norm": ("input", "weight", "bias", "running_mean", "running_var", "training"), "copy": ("input", "source"),
    "masked_fill": ("input", "mask", "value"), "tensor": ("data",), "as_tensor": ("data",), "dropout": ("input", "p", "training"),
}  # fmt: skip
#: Operations whose operands are measured, because a number near the edge of their domain matters.
EDGED = frozenset(
    [
        "log",
        "log2",
        "log10",
        "log1p",
        "sqrt",
        "rsqrt",
        "div",
        "rdiv",
        "reciprocal",
        "pow",
        "norm",
        "std",
        "var",
        "exp",
        "acos",
        "asin",
        "atanh",
        "xlogy",
        "logit",
    ]
)


#: Operations by which data come into torch, or are filled: looked at for numbers that are not finite.
ENTRANCES = frozenset(["tensor", "as_tensor", "from_numpy", "full", "where", "masked_fill", "stack"])


def canonical(func: Any) -> tuple[str, bool] | None:
    """Returns the plain word for a torch function and whether it works in place, None if it is of no interest.

    >>> canonical(torch.Tensor.relu_), canonical(torch.nn.functional.relu), canonical(torch.Tensor.__rsub__)
    (('relu', True), ('relu', False), ('rsub', False))
    """
    name = getattr(func, "__name__", "")
    if name in ("__get__", "__set__"):
        owner = getattr(getattr(func, "__self__", None), "__name__", "")
        if name == "__set__":
            return ("set_data", True) if owner == "data" else None
        return (WORDS.get(owner, owner), False) if owner in GETTERS else None
    if name.startswith("__") and name.endswith("__"):
        name = name[2:-2]
        inplace = name in (
            "iadd",
            "isub",
            "imul",
            "itruediv",
            "idiv",
            "ipow",
            "ifloordiv",
            "setitem",
            "iand",
            "ior",
        )
        name = "float_" if name == "float" else name
        name = {"ror": "or", "rand": "and", "rdiv": "rdiv"}.get(name, name)
        return None if name in SKIPPED else (WORDS.get(name, name), inplace)
    if not name or name.startswith("_"):
        return None
    inplace = name.endswith("_")
    name = name.rstrip("_")
    return None if name in SKIPPED or f"{name}_" in SKIPPED else (WORDS.get(name, name), inplace)


class Trace(TorchFunctionMode):
    """Writes an Op for each call of a torch function while it is on the stack of function modes.

    It holds no tensor: where a tensor came from is looked up by its identity, with a weak reference as guard.
    """

    def __init__(self, observer: Observer) -> None:
        super().__init__()
        self.observer = observer
        self.names: dict[Any, tuple[str, bool] | None] = {}
        self.signatures: dict[Any, tuple[str, ...]] = {}
        self.makers: dict[int, tuple[weakref.ref[Tensor], int, Stats | None]] = {}
        self.repeats: dict[Any, int] = {}
        self.lap_ops = 0
        self.lap_measured = 0
        self.stashed = 0
        self.standing = False  # on the stack of function modes
        self.wanted = False  # to be on it

    def stand(self, wanted: bool) -> None:
        """Puts itself on the stack of function modes or takes itself off; while a call is under way, later."""
        self.wanted = wanted
        if wanted != self.standing and not self.stashed:
            self.standing = wanted
            if wanted:
                _insert(self)
            else:
                _remove(self)

    def settle(self) -> None:
        """Does what `stand` was told while a call was under way: a backward, itself a call that it saw, may end the watching."""
        self.stand(self.wanted)

    def new_lap(self) -> None:
        """Begins to count anew, after an optimizer's step."""
        self.lap_ops = self.lap_measured = 0
        self.repeats.clear()
        if len(self.makers) > 20_000:
            self.makers = {key: entry for key, entry in self.makers.items() if entry[0]() is not None}

    def forget(self) -> None:
        """Drops all identities; what is made from now on has unknown sources."""
        self.makers.clear()
        self.names.clear()
        self.signatures.clear()
        self.repeats.clear()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if self.observer.muted or self.observer.busy or not self.observer.recording:
            out = self.passed(func, args, kwargs)
            if self.observer.fetching_alone():
                self.observer.guard(self.note_fetched, func, args, kwargs, out)
            return out
        if not self.wanted:  # it could not be taken off the stack in the middle of a call
            return self.passed(func, args, kwargs)
        try:
            known = self.names[func]
        except KeyError:
            known = self.names[func] = canonical(func)
        except TypeError:  # not hashable
            known = canonical(func)
        if known is None:
            out = self.passed(func, args, kwargs)
            if getattr(func, "__name__", "") in DRAWING:
                self.observer.guard(self.observer.drawn, out)
            return out
        name, inplace = known
        loss = None
        if name in measure.LOSSES:
            loss = self.observer.guard(self.begin_loss, name, func, args, kwargs)
        edged = None
        if name in EDGED:
            edged = self.observer.guard(self.edges, args)
        out = self.passed(func, args, kwargs)
        self.observer.guard(self.note, name, inplace, func, args, kwargs, out, loss, edged)
        return out

    def passed(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Calls the function; meanwhile PyTorch has this mode off the stack, and the stack must be left alone."""
        self.stashed += 1
        try:
            return func(*args, **kwargs)
        finally:
            self.stashed -= 1

    def edges(self, args: tuple[Any, ...]) -> list[Stats | None] | None:
        """Measures the operands of an operation with an edge, before it may overwrite them."""
        if self.lap_measured > MOST_MEASURED_A_LAP or not (
            self.observer.stack
            or any(isinstance(entry, Tensor) and entry.requires_grad for entry in args[:2])
        ):
            return None
        with torch._C.DisableTorchFunctionSubclass():
            return [measure.stats(entry) if isinstance(entry, Tensor) else None for entry in args[:2]]

    def begin_loss(
        self, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Loss:
        return self.observer.loss_begins(name, func, args, kwargs)

    def note(
        self,
        name: str,
        inplace: bool,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        out: Any,
        loss: Loss | None,
        edged: list[Stats | None] | None,
    ) -> None:
        results = list(measure.tensors(out, 2))
        if not results and name not in LEAVING:
            return
        if any(is_lazy(entry) for entry in (*results, *args)):
            return  # of a lazy layer: there are no sizes yet
        observer = self.observer
        observation = observer.observation
        stack = observer.stack
        grad = any(result.requires_grad for result in results)
        deep = bool(stack) or grad or loss is not None
        if not deep:
            frame = sys._getframe(3)
            key = (frame.f_code, frame.f_lasti)
            times = self.repeats[key] = self.repeats.get(key, 0) + 1
            if times > MOST_REPEATS:
                return
            if observer.places.kind(frame.f_code) == OPTIM:
                return
        if self.lap_ops >= MOST_OPS_A_LAP or len(observation.ops) >= MOST_OPS:
            observer.blinded("operations beyond the first thousands of a step were not recorded")
            return
        self.lap_ops += 1
        place, caller = observer.places.both(3)
        with torch._C.DisableTorchFunctionSubclass():
            operands, options = self.operands(name, func, args, kwargs)
            for operand, numbers in zip(operands, edged or ()):
                operand.stats = operand.stats or numbers
            op = Op(
                index=len(observation.ops),
                order=observer.tick(),
                step=observation.step_count,
                name=name,
                inputs=operands,
                options=options,
                grad=grad,
                grad_enabled=torch.is_grad_enabled(),
                inplace=inplace,
                module=stack[-1] if stack else -1,
                place=place,
                caller=caller,
            )
            leaves = name in DEVICE_LEAVING and args and isinstance(args[0], Tensor) and not args[0].is_cpu
            if leaves and (name != "to" or (results and results[0].is_cpu)):
                op.options["device"] = args[0].device.type
            if name in measure.INTAKES and grad:
                observer.guard(observer.intake_seen, op, args, kwargs)
            if results:
                op.shape, op.dtype = tuple(results[0].shape), str(results[0].dtype)[6:]
                observer.half = observer.half or (grad and op.dtype == "float16")
                if deep and self.lap_measured < MOST_MEASURED_A_LAP and name not in QUIET:
                    self.lap_measured += 1
                    op.stats = measure.stats(results[0])
                elif not deep and (name in EDGED or name in ENTRANCES) and results[0].is_floating_point():
                    numbers = measure.stats(
                        results[0]
                    )  # where data are prepared: not the numbers, only whether
                    if numbers is not None and numbers.finite < 1:
                        op.options["finite"] = numbers.finite
            if name in ("getitem", "index_select") and not deep:
                index = args[-1] if args else None
                if measure.scattered(index if index is not args[0] else kwargs.get("index")):
                    op.options["scattered"] = True
            if name in measure.WHOLE and not grad and self.lap_measured < MOST_MEASURED_A_LAP:
                self.measure_whole(op, name, args, out)
            if grad and (not stack or name in ("mul", "gather", "getitem")):
                self.measure_data(op, [*args, *kwargs.values()])
            observation.ops.append(op)
            for result in results:
                self.makers[id(result)] = (weakref.ref(result), op.index, None)
            if name in ("setitem", "set_data") and args and isinstance(args[0], Tensor):
                self.makers[id(args[0])] = (weakref.ref(args[0]), op.index, None)
            observer.op_seen(op, results, loss)

    def note_fetched(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
    ) -> None:
        """Writes an Op for what cuts whole numbers off while a loader makes a batch: nothing else is seen there."""
        known = canonical(func)
        if known is None or known[0] not in measure.WHOLE or known[0] in ("tensor", "as_tensor"):
            return
        frame = sys._getframe(3)
        key = (frame.f_code, frame.f_lasti)
        times = self.repeats[key] = self.repeats.get(key, 0) + 1
        observer, (name, inplace) = self.observer, known
        observation = observer.observation
        if times > MOST_REPEATS or self.lap_ops >= MOST_OPS_A_LAP or len(observation.ops) >= MOST_OPS:
            return
        with torch._C.DisableTorchFunctionSubclass():
            if not measure.lost(name, args, out, inplace=inplace) or not isinstance(out, Tensor):
                return
            operands, options = self.operands(name, func, args, kwargs)
            op = Op(len(observation.ops), observer.tick(), observation.step_count, name, operands, options)
            op.inplace, op.shape, op.dtype = inplace, tuple(out.shape), str(out.dtype)[6:]
            op.place, op.caller = observer.places.both(3)
            op.options["fetched"] = True
            self.measure_whole(op, name, args, out)
            self.lap_ops += 1
            observation.ops.append(op)

    def measure_whole(self, op: Op, name: str, args: tuple[Any, ...], out: Any) -> None:
        """Measures what an operation on whole numbers has cut off."""
        share = measure.lost(name, args, out, inplace=op.inplace)
        if not share:
            return
        self.lap_measured += 1
        op.options["lost"] = share
        op.stats = op.stats or measure.stats(args[0] if name == "setitem" else out)
        given = args[2] if name == "setitem" and len(args) > 2 else args[0] if args else None
        operand = next((entry for entry in op.inputs if entry.stats is None), None)
        if isinstance(given, Tensor) and operand is not None and not op.inplace:
            operand.stats = measure.stats(given)

    def measure_data(self, op: Op, values: list[Any]) -> None:
        """Measures what comes from outside to an operation after the network: most of all, targets."""
        given: list[Tensor] = []
        for value in values:
            if isinstance(value, Tensor):
                given.append(value)
            elif isinstance(value, (tuple, list)):
                given.extend(entry for entry in value[:64] if isinstance(entry, Tensor))
        if len(given) == len(op.inputs):
            for operand, value in zip(op.inputs, given):
                fresh = operand.stats is None and not operand.grad and operand.source in ("unknown", "op")
                if fresh and self.lap_measured < MOST_MEASURED_A_LAP:
                    self.lap_measured += 1
                    operand.stats = measure.stats(value)

    def operands(
        self, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[list[Operand], dict[str, Any]]:
        names = ARGUMENTS.get(name)
        if names is None or inspect.isfunction(func):
            names = self.signatures.get(func)
            if names is None:
                try:
                    names = tuple(inspect.signature(func).parameters)
                except (
                    TypeError,
                    ValueError,
                ):  # x ** 2 is a Python function around one that has no signature
                    names = ARGUMENTS.get(name, ("input",))
                if names[:1] == ("self",):
                    names = ("input", *names[1:])
                self.signatures[func] = names
        operands: list[Operand] = []
        options: dict[str, Any] = {}
        for number, value in enumerate(args):
            self.argument(names[number] if number < len(names) else str(number), value, operands, options)
        for key, value in kwargs.items():
            self.argument(key, value, operands, options)
        return operands, options

    def argument(self, key: str, value: Any, operands: list[Operand], options: dict[str, Any]) -> None:
        if isinstance(value, Tensor):
            operands.append(self.operand(key, value))
        elif isinstance(value, (tuple, list)) and any(isinstance(entry, Tensor) for entry in value[:64]):
            operands.extend(self.operand(key, entry) for entry in value[:64] if isinstance(entry, Tensor))
        elif value is not None and len(options) < 12:
            options[key] = simple(value)

    def operand(self, key: str, value: Tensor) -> Operand:
        made = Operand(key, shape=tuple(value.shape), dtype=str(value.dtype)[6:], grad=value.requires_grad)
        entry = self.makers.get(id(value))
        uid = self.observer.parameter_of(value)
        if entry is not None and entry[0]() is value and uid is None:
            if entry[1] >= 0:
                made.op, made.source = entry[1], "op"
                return made
            made.stats = entry[2]
            return made
        if uid is not None:
            made.parameter = uid
            record = self.observer.observation.parameters[uid]
            made.source = "buffer" if record.buffer else "parameter" if record.trainable else "leaf"
            if (
                record.buffer
                and key in ("weight", "pos_weight")
                and entry is not None
                and entry[0]() is value
            ):
                made.op = entry[1]  # the weights of classes, in a loss that keeps them
            return made
        if self.lap_measured < MOST_MEASURED_A_LAP and (self.observer.stack or value.requires_grad):
            self.lap_measured += 1
            made.stats = measure.stats(value)
            self.makers[id(value)] = (weakref.ref(value), -1, made.stats)
        return made


#: Operations for which the program must wait until an accelerator is done.
DEVICE_LEAVING = frozenset(
    ["item", "tolist", "numpy", "bool", "float_", "int", "index", "cpu", "to", "equal", "allclose"]
)
#: Results that are not measured: nothing new is in them.
QUIET = frozenset(
    [
        "view",
        "reshape",
        "flatten",
        "permute",
        "transpose",
        "squeeze",
        "unsqueeze",
        "contiguous",
        "t",
        "expand",
        "detach",
        "data",
        "clone",
    ]
)


def simple(value: Any, depth: int = 2) -> Any:
    """Returns a plain value that stands for an argument in a record."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)) and depth:
        return [simple(entry, depth - 1) for entry in value[:16]]
    if isinstance(value, (torch.dtype, torch.device)):
        return str(value).removeprefix("torch.")
    return (
        type(value).__name__ if not isinstance(value, slice) else f"{value.start}:{value.stop}:{value.step}"
    )


def _insert(mode: Trace) -> None:
    # At the bottom: modes of the program may end while this one stands, and take the top of the stack off.
    above = []
    while torch._C._len_torch_function_stack():
        above.append(torch._C._pop_torch_function_stack())
    torch._C._push_on_torch_function_stack(mode)
    for entry in reversed(above):
        torch._C._push_on_torch_function_stack(entry)


def _remove(mode: Trace) -> None:
    above = []
    while torch._C._len_torch_function_stack():
        entry = torch._C._pop_torch_function_stack()
        if entry is mode:
            break
        above.append(entry)
    for entry in reversed(above):
        torch._C._push_on_torch_function_stack(entry)
