"""One forward pass, watched: which layer or function took what, gave what, and to whom.

Module hooks see the layers, a torch function mode what `forward` does between them (`F.relu`, `+`, `torch.cat`), and a
dispatch mode counts the products. So the graph is that of a real pass, whatever the module's code: torch.fx and torch.export
refuse control flow, and the latter takes seconds.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from netwright.architectures.fused import plain_attention
from netwright.architectures.trial import untouched
from netwright.architectures.user_file import where
from netwright.errors import NetworkError
from netwright.explain.formulas import ACTIVATIONS, same_kind
from netwright.explain.values import Values, dtype_name, picture_of, values_of

# Loops over time written in Python make thousands of calls; these are shapes only from there on.
VALUES_AT_MOST, PICTURES_AT_MOST = 400, 40
FLAT_SLOPE = 0.05
# What rearranges numbers, or only asks for them: no boxes of their own, their outputs count as what went in.
_PASSING = (
    "view reshape permute transpose t swapaxes swapdims movedim contiguous unsqueeze squeeze expand expand_as repeat to float "
    "half double bfloat16 type type_as view_as reshape_as detach clone chunk split tensor_split unbind getitem select narrow "
    "unflatten flatten alias cuda cpu requires_grad_ requires_grad flip roll repeat_interleave masked_fill masked_fill_ "
    "setitem pad_packed_sequence nan_to_num dropout dropout1d dropout2d dropout3d feature_dropout alpha_dropout"
)
PASSING = frozenset(_PASSING.split())
_SYMBOLS = {"iadd": "add", "radd": "add", "isub": "sub", "rsub": "sub", "imul": "mul", "rmul": "mul"}
_SYMBOLS |= {"truediv": "div", "rtruediv": "div", "itruediv": "div", "true_divide": "div", "rdiv": "div"}
_SYMBOLS |= {"rmatmul": "matmul", "rpow": "pow", "multiply": "mul", "subtract": "sub"}


@dataclass(frozen=True)
class Spec:
    """A tensor's shape and type."""

    shape: tuple[int, ...]
    dtype: str
    bytes: int

    @property
    def size(self) -> str:
        """The shape in words: `3 × 28 × 28`."""
        return " × ".join(map(str, self.shape)) or "a number"


@dataclass(eq=False)
class Visit:
    """One call of a module or function.

    `name`: the module's, dotted, "" the network itself; of a function, the module in whose forward it is called. `sources`: the
    visits (by place, -1 - i for input i) whose outputs it took; `products`: multiply–adds within it; `slope`: share of units at
    which an activation's slope is under 0.05; `gradient`: of the outputs, once something came back.
    """

    place: int
    name: str
    kind: str
    parent: int | None
    module: nn.Module | None
    inputs: tuple[Spec, ...] = ()
    outputs: tuple[Spec, ...] = ()
    sources: frozenset[int] = frozenset()
    products: int = 0
    taken: Values | None = None
    given: Values | None = None
    flat: float | None = None
    picture: np.ndarray | None = None
    gradient: Values | None = None
    children: list[Visit] = field(default_factory=list)

    @property
    def is_function(self) -> bool:
        return self.module is None

    @property
    def whole(self) -> bool:
        """Whether it is shown as one thing: a layer of PyTorch's own, a module without modules inside, or a function."""
        return self.module is None or is_whole(self.module)


@dataclass(frozen=True)
class Trace:
    """What one forward pass did. `visits` in the order in which they began; the first is the network."""

    module: nn.Module
    visits: tuple[Visit, ...]
    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]
    ends: frozenset[int]
    what_came_back: str
    parameter_gradients: Mapping[str, Values]
    notes: tuple[str, ...]


def is_whole(module: nn.Module) -> bool:
    """Says whether a module is looked at from outside only."""
    own = type(module).__module__.startswith("torch.")
    return (
        isinstance(module, nn.MultiheadAttention)
        or not any(True for _ in module.children())
        or (own and isinstance(module, torch.jit.ScriptModule))
    )


def trace(
    module: nn.Module,
    batch: Any,
    *,
    loss: Callable[[Any], Tensor] | None = None,
    values: bool = True,
) -> Trace:
    """Returns what one forward pass of `module` on `batch` does, and what comes back to each layer from the loss.

    `batch`: a tensor, a tuple or list (positional arguments) or a dictionary (keyword arguments) of what `forward` takes; it is
    copied, so that layers that work in place leave it alone. `loss` makes a number of the outputs; None takes the sum of each
    example's largest output. The network runs in evaluation mode; its modes, buffers, gradients and hooks and the random
    generators are afterwards as they were. Without `values` only shapes and counts are taken. A lazy module is copied first,
    as running it would fix its sizes. Raises NetworkError naming the layer that refused its input.
    """
    module = getattr(module, "_orig_mod", module)
    notes = []
    if any(nn.parameter.is_lazy(tensor) for tensor in [*module.parameters(), *module.buffers()]):
        module = copy.deepcopy(module)
        notes.append(
            "The network has lazy layers: sizes are those that this example gives, and the first weights those of a copy."
        )
    places = {tensor.device for tensor in [*module.parameters(), *module.buffers()]}
    device = next(iter(places)) if len(places) == 1 else None
    args, options = _arguments(_copied(batch, device))
    watch = _Watch(module, with_values=values)
    with _watchable(module), untouched(module), plain_attention(), ExitStack() as stack:
        for handle in watch.hooks():
            stack.callback(handle.remove)
        outputs = watch.run(args, options)
        came_back, gradients = ("", {}) if not values else _back(module, outputs, loss, watch, notes)
    return Trace(
        module,
        tuple(watch.visits),
        tuple(_spec(tensor) for tensor in _tensors((args, options))),
        tuple(_spec(tensor) for tensor in _tensors(outputs)),
        watch.origins(outputs),
        came_back,
        gradients,
        tuple(notes),
    )


@contextmanager
def _watchable(module: nn.Module) -> Iterator[None]:
    """Says of programs that torch made of a module, and that take no hooks or have no modes, what to inspect instead."""
    try:
        yield
    except (NotImplementedError, RuntimeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise NetworkError(
            f"a {type(module).__name__} cannot be inspected: {lines[0][:200]}\nInspect the Python module that it was made from."
        ) from error


class _Watch(TorchFunctionMode):
    """Writes down each call while it is entered; `quiet` while it computes what it writes."""

    def __init__(self, module: nn.Module, *, with_values: bool) -> None:
        super().__init__()
        self.module, self.with_values = module, with_values
        self.names: dict[nn.Module, str] = {}
        for name, part in module.named_modules(remove_duplicate=False):
            self.names.setdefault(part, name)
        self.visits: list[Visit] = []
        self.open: list[Visit] = []
        self.quiet = False
        self.watched = self.pictures = 0
        self._origins: dict[int, tuple[weakref.ref[Tensor], frozenset[int]]] = {}
        self._back: list[tuple[Visit, Tensor]] = []

    def run(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        for index, tensor in enumerate(_tensors((args, options))):
            self._remember(tensor, frozenset({-1 - index}))
        try:
            with torch.enable_grad(), _Products(self), self:
                return self.module(*args, **options)
        except NetworkError:
            raise
        except Exception as error:
            raise self._refused(error, (args, options)) from error
        finally:
            # A checkpointed block runs again on the way back.
            self.quiet = True

    def hooks(self) -> Iterator[Any]:
        for part in self.names:
            if isinstance(part, torch.jit.ScriptModule) and part is not self.module:
                continue
            yield part.register_forward_pre_hook(self._enter, with_kwargs=True)
            yield part.register_forward_hook(self._leave, with_kwargs=True)

    def origins(self, content: Any) -> frozenset[int]:
        """Returns the visits that made the tensors in `content`, and -1 - i for input i."""
        found: frozenset[int] = frozenset()
        for tensor in _tensors(content):
            known = self._origins.get(id(tensor))
            if known is not None and known[0]() is tensor:
                found |= known[1]
        return found

    def _remember(self, tensor: Tensor, places: frozenset[int]) -> None:
        self._origins[id(tensor)] = (weakref.ref(tensor), places)

    def _begin(self, kind: str, name: str, module: nn.Module | None, taken: Any) -> Visit:
        parent = self.open[-1].place if self.open else None
        visit = Visit(len(self.visits), name, kind, parent, module)
        visit.inputs = tuple(_spec(tensor) for tensor in _tensors(taken))
        visit.sources = self.origins(taken)
        return visit

    def _enter(self, module: nn.Module, args: Any, options: Any) -> None:
        if self.quiet or (
            self.open and self.open[-1].whole and self.open[-1].module is not None and _torchs(self.open[-1])
        ):
            return
        with self._silence():
            visit = self._begin(type(module).__name__, self.names[module], module, (args, options))
            self._keep(visit)
            self.open.append(visit)
            self._look_in(visit, (args, options), lambda x: type(module).forward(module, x))

    def _leave(self, module: nn.Module, args: Any, options: Any, outputs: Any) -> None:
        if self.quiet or not any(visit.module is module for visit in self.open):
            return
        with self._silence():
            # A forward that caught an error of a layer left that layer open.
            while self.open[-1].module is not module:
                self.open.pop()
            visit = self.open.pop()
            visit.outputs = tuple(_spec(tensor) for tensor in _tensors(outputs))
            if isinstance(module, _RECURRENT):
                products = recurrent_products(module, visit.inputs)
                for one in (visit, *self.open):
                    one.products += products
            if visit.whole and not isinstance(module, nn.Identity):
                for tensor in _tensors(outputs):
                    self._remember(tensor, frozenset({visit.place}))
            self._look_out(visit, outputs)

    def _keep(self, visit: Visit) -> None:
        self.visits.append(visit)
        if visit.parent is not None:
            self.visits[visit.parent].children.append(visit)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.quiet or not self.open or _torchs(self.open[-1]):
            return func(*args, **kwargs)
        name = _function_name(func)
        if name == "get":  # an attribute, such as x.shape or x.T
            outputs = func(*args, **kwargs)
            if isinstance(outputs, Tensor):
                self._remember(outputs, self.origins(args))
            return outputs
        with self._silence():
            visit = self._begin(name, self.open[-1].name, None, (args, kwargs))
            known = bool(visit.sources) and name not in PASSING
            if known:
                self._look_in(visit, (args, kwargs), lambda x: func(x, *args[1:], **kwargs))
        if known:
            self.open.append(visit)
        try:
            outputs = func(*args, **kwargs)
        finally:
            if known and visit in self.open:
                self.open.remove(visit)
        with self._silence():
            self._made(visit, outputs, known)
        return outputs

    def _made(self, visit: Visit, outputs: Any, known: bool) -> None:
        made = list(_tensors(outputs))
        if visit.kind in ("setitem", "masked_fill_"):
            return
        # Questions (`mask.all()`, `x > 0`) are asked on the way, and no part of it.
        if not known or not made or all(tensor.dtype == torch.bool for tensor in made):
            for tensor in made:
                self._remember(tensor, visit.sources)
            return
        visit.outputs = tuple(_spec(tensor) for tensor in made)
        self._keep(visit)
        visit.place = len(self.visits) - 1
        for tensor in made:
            self._remember(tensor, frozenset({visit.place}))
        self._look_out(visit, outputs)

    @contextmanager
    def _silence(self) -> Iterator[None]:
        before, self.quiet = self.quiet, True
        try:
            with torch.no_grad():
                yield
        finally:
            self.quiet = before

    def _look_in(self, visit: Visit, taken: Any, again: Callable[[Tensor], Tensor]) -> None:
        first = next(_tensors(taken), None)
        if not self.with_values or not visit.whole or first is None or self.watched >= VALUES_AT_MOST:
            return
        self.watched += 1
        # Before the layer runs: it may work in place.
        visit.taken = _values(first)
        if same_kind(visit.kind) in ACTIVATIONS and first.is_floating_point():
            visit.flat = _flat_share(again, first)

    def _look_out(self, visit: Visit, outputs: Any) -> None:
        first = next(_tensors(outputs), None)
        if first is None or (visit.taken is None and visit.parent is not None):
            return
        if self.with_values:
            visit.given = _values(first)
            if visit.given is None:
                return
            if visit.whole and self.pictures < PICTURES_AT_MOST:
                visit.picture = picture_of(first)
                self.pictures += visit.picture is not None
            if first.requires_grad and first.is_floating_point():
                self._back.append((visit, first))
                first.register_hook(lambda gradient, visit=visit: self._came_back(visit, gradient))

    def _came_back(self, visit: Visit, gradient: Tensor) -> None:
        with self._silence():
            visit.gradient = values_of(gradient)

    def _refused(self, error: Exception, given: Any) -> NetworkError:
        lines = str(error).strip().splitlines() or [""]
        line = where(error)
        layers = [visit for visit in self.open if visit.module is not None]
        layer = layers[-1] if layers else None
        shapes = ", ".join(f"{tensor.shape} {tensor.dtype}" for tensor in (layer.inputs if layer else ()))
        if not shapes:
            shapes = (
                ", ".join(f"{tuple(tensor.shape)} {dtype_name(tensor)}" for tensor in _tensors(given))
                or "no tensor"
            )
        named = "the network" if layer is None or not layer.name else f"layer {layer.name}"
        shown = layer.module if layer is not None and layer.whole else (layer or self).module
        brief = str(shown) if len(str(shown)) <= 100 and "\n" not in str(shown) else type(shown).__name__
        return NetworkError(
            f"{named}, {brief}, refused {shapes}:\n{type(error).__name__}: {lines[0][:300]}"
            + (f"\nat {line}" if line else "")
            + (f"\n{hint}" if (hint := _hint(shown, layer) or _takes(shown, error)) else "")
        )


def _torchs(visit: Visit) -> bool:
    """Whether what happens inside is PyTorch's own business."""
    return visit.module is None or (visit.whole and type(visit.module).__module__.startswith("torch."))


def _function_name(func: Any) -> str:
    name = getattr(func, "__name__", "").strip("_")
    return _SYMBOLS.get(name, name)


def _hint(module: nn.Module | None, visit: Visit | None) -> str:
    if visit is None or not visit.inputs or not visit.inputs[0].shape:
        return ""
    came = visit.inputs[0]
    if isinstance(module, nn.Linear) and came.shape[-1] != module.in_features:
        return f"It takes {module.in_features} numbers in the last dimension, and {came.shape[-1]} came."
    if isinstance(module, nn.Conv2d) and (len(came.shape) < 3 or came.shape[-3] != module.in_channels):
        return f"It takes images (N, {module.in_channels}, height, width)."
    if isinstance(module, nn.Embedding) and not came.dtype.startswith("int"):
        return f"It takes whole numbers (int64) from 0 to {module.num_embeddings - 1}."
    if isinstance(module, nn.Embedding):
        return f"It has {module.num_embeddings} rows: ids run from 0 to {module.num_embeddings - 1}."
    return ""


def _takes(module: nn.Module | None, error: Exception) -> str:
    """Returns what `forward` takes, where it was called with something else."""
    if module is None or not isinstance(error, TypeError) or "argument" not in str(error):
        return ""
    names = ", ".join(list(signature(module.forward).parameters)[:8])
    return f"Its forward takes ({names}): a tuple gives these in order, a dictionary by name."


class _Products(TorchDispatchMode):
    """Adds the multiply–adds of every operator to all open visits (those of `torch.utils.flop_counter`, halved)."""

    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        from torch.utils.flop_counter import flop_registry

        self.watch = watch
        self.registry = dict(flop_registry)
        aten = torch.ops.aten
        # In inference mode these come whole; elsewhere they are made of others before they come here.
        self.registry[aten.linear] = self.registry[aten.matmul] = _product
        # The kernel that a CPU takes is missing there.
        self.registry.setdefault(
            aten._scaled_dot_product_flash_attention_for_cpu,
            flop_registry[aten._scaled_dot_product_flash_attention],
        )

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Otherwise the first operator imports torch._dynamo, which takes nearly three seconds (torch 2.13).
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = func(*args, **(kwargs or {}))
        count = self.registry.get(func._overloadpacket)
        watch = self.watch
        if count is None or watch.quiet or not watch.open or isinstance(watch.open[-1].module, _RECURRENT):
            return outputs
        self._add(int(count(*args, **(kwargs or {}), out_val=outputs)) // 2)
        return outputs

    def _add(self, products: int) -> None:
        for visit in self.watch.open:
            visit.products += products


def _product(one: Tensor, other: Tensor, *_: Any, out_val: Tensor) -> int:
    return 2 * out_val.numel() * one.shape[-1]


_RECURRENT = (nn.RNNBase, nn.RNNCellBase)


def recurrent_products(module: nn.Module, given: Sequence[Spec]) -> int:
    """Returns the multiply–adds of a recurrent layer for an input: its fused kernels do not tell theirs.

    Each weight matrix is used once for each step of each sequence.
    """
    if not given or not given[0].shape:
        return 0
    weights = sum(
        parameter.numel() for name, parameter in module.named_parameters() if name.startswith("weight")
    )
    return weights * math.prod(given[0].shape[:-1])


def _values(tensor: Tensor) -> Values | None:
    try:
        return values_of(tensor)
    except (RuntimeError, NotImplementedError):
        # Sparse, nested or batched by vmap: such a tensor has a shape, but no numbers to read.
        return None


def _flat_share(again: Callable[[Tensor], Tensor], taken: Tensor) -> float | None:
    # With saved-tensor hooks of its own: inside a checkpointed block those of the block would count what is saved here.
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(lambda kept: kept, lambda kept: kept):
        x = taken.detach().clone().requires_grad_()
        try:
            # A copy between: an activation in place must not write into a leaf.
            (slope,) = torch.autograd.grad(again(x * 1).sum(), x)
        except Exception:
            return None
    return float((slope.abs() < FLAT_SLOPE).float().mean())


def _back(
    module: nn.Module, outputs: Any, loss: Callable[[Any], Tensor] | None, watch: _Watch, notes: list[str]
) -> tuple[str, dict[str, Values]]:
    """Sends the gradient back; returns of what, and the values of each parameter's."""
    top = next((tensor for tensor in _tensors(outputs) if tensor.is_floating_point()), None)
    if top is None or not top.requires_grad or not top.numel():
        notes.append("No gradient comes back: nothing in the network is trained, or its output has none.")
        return "", {}
    try:
        # Nothing may be added to anyone's `.grad`.
        with torch.enable_grad():
            value = loss(outputs) if loss is not None else _top_output(top)
            trained = {name: tensor for name, tensor in module.named_parameters() if tensor.requires_grad}
            found = torch.autograd.grad(value, list(trained.values()), allow_unused=True)
    except Exception as error:
        said = (str(error).strip().splitlines() or [""])[0]
        notes.append(f"The gradient could not be sent back: {type(error).__name__}: {said[:200]}")
        return "", {}
    gradients = {
        name: values_of(gradient, bins=0) for name, gradient in zip(trained, found) if gradient is not None
    }
    return ("the loss" if loss is not None else "each example's largest output"), gradients


def _top_output(outputs: Tensor) -> Tensor:
    if outputs.dim() < 2:
        return outputs.sum()
    return outputs.flatten(1).max(1).values.sum()


def _arguments(batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(batch, Mapping):
        return (), dict(batch)
    if isinstance(batch, (tuple, list)) and not hasattr(batch, "_fields"):
        return tuple(batch), {}
    return (batch,), {}


def _copied(content: Any, device: torch.device | None) -> Any:
    if isinstance(content, Tensor):
        copied = content.detach().clone()
        return copied if device is None else copied.to(device)
    if isinstance(content, Mapping):
        return {key: _copied(value, device) for key, value in content.items()}
    if isinstance(content, tuple) and hasattr(content, "_fields"):
        return content
    if isinstance(content, (tuple, list)):
        return type(content)(_copied(value, device) for value in content)
    return content


def _tensors(content: Any) -> Iterator[Tensor]:
    if isinstance(content, Tensor):
        if not nn.parameter.is_lazy(content):
            yield content
    elif isinstance(content, Mapping):
        for value in content.values():
            yield from _tensors(value)
    elif isinstance(content, (tuple, list)):
        for value in content:
            yield from _tensors(value)
    elif dataclasses.is_dataclass(content) and not isinstance(content, type):
        for entry in dataclasses.fields(content):
            yield from _tensors(getattr(content, entry.name))


def _spec(tensor: Tensor) -> Spec:
    return Spec(tuple(tensor.shape), dtype_name(tensor), tensor.numel() * tensor.element_size())
