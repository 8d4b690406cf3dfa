"""What a network consists of: a tree of layers with what goes in and comes out, and its parameters."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from netwright.explain.folding import folded
from netwright.explain.trace import Spec, Trace, Visit, is_whole
from netwright.explain.values import Values, dtype_name, values_of

_SIZES = ("parameters", "trainable", "own", "parameter_bytes", "output_bytes", "products")


@dataclass(frozen=True)
class Layer:
    """One call of a layer or function, or a layer or parameter that nothing called.

    `call` of `calls`: a layer that is used several times has a row for each; 0 was never called. `parameters`: all within it, each
    counted once; `own`: those that are its own and not of a layer inside; `shared`: other names of the same weights;
    `products`: multiply–adds.
    """

    name: str
    kind: str
    call: int = 1
    calls: int = 1
    function: bool = False
    whole: bool = True
    settings: str = ""
    inputs: tuple[Spec, ...] = ()
    outputs: tuple[Spec, ...] = ()
    parameters: int = 0
    trainable: int = 0
    own: int = 0
    parameter_bytes: int = 0
    output_bytes: int = 0
    products: int = 0
    shared: tuple[str, ...] = ()
    children: tuple[Layer, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns the same in JSON's types."""
        found = {key: getattr(self, key) for key in _PLAIN}
        for key in ("inputs", "outputs"):
            found[key] = [{"shape": list(spec.shape), "dtype": spec.dtype} for spec in getattr(self, key)]
        return {**found, "children": [child.to_dict() for child in self.children]}


_PLAIN = ("name", "kind", "call", "calls", "function", "settings", "shared", *_SIZES)


@dataclass(frozen=True)
class Parameter:
    """A named parameter. `shared`: its other names; `gradient`: what came back to it, None where nothing did."""

    name: str
    trainable: bool
    shared: tuple[str, ...]
    values: Values
    gradient: Values | None

    def to_dict(self) -> dict[str, Any]:
        gradient = None if self.gradient is None else self.gradient.to_dict()
        return {
            "name": self.name,
            "trainable": self.trainable,
            "shared": list(self.shared),
            **self.values.to_dict(),
            "gradient": gradient,
        }


@dataclass(frozen=True)
class Structure:
    """A network's layers and counts; every parameter and buffer is counted once, however often it is used."""

    root: Layer
    parameters: int
    trainable: int
    parameter_bytes: int
    buffers: int
    buffer_bytes: int
    output_bytes: int
    products: int
    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]

    def to_dict(self) -> dict[str, Any]:
        counts = {key: getattr(self, key) for key in _COUNTS}
        for key in ("inputs", "outputs"):
            counts[key] = [
                {"shape": list(spec.shape), "dtype": spec.dtype, "bytes": spec.bytes}
                for spec in getattr(self, key)
            ]
        return {**counts, "tree": self.root.to_dict()}


_COUNTS = (
    "parameters",
    "trainable",
    "parameter_bytes",
    "buffers",
    "buffer_bytes",
    "output_bytes",
    "products",
)


def structure_of(trace: Trace) -> Structure:
    """Returns the tree of the layers that a traced pass called, in their order, with those that it did not."""
    root = trace.visits[0]
    tree = _Tree(trace).layer(root)
    parameters = _unique(trace.module.parameters())
    buffers = _unique(trace.module.buffers())
    outputs = sum(spec.bytes for visit in trace.visits if visit.whole for spec in visit.outputs)
    return Structure(
        root=tree,
        parameters=sum(tensor.numel() for tensor in parameters),
        trainable=sum(tensor.numel() for tensor in parameters if tensor.requires_grad),
        parameter_bytes=_bytes(parameters),
        buffers=sum(tensor.numel() for tensor in buffers),
        buffer_bytes=_bytes(buffers),
        output_bytes=outputs,
        products=root.products,
        inputs=trace.inputs,
        outputs=trace.outputs,
    )


def parameters_of(trace: Trace) -> list[Parameter]:
    """Returns the named parameters, each once under its first name, with their values and gradients."""
    names = _all_names(trace.module)
    rows = []
    for name, parameter in trace.module.named_parameters():
        others = tuple(other for other in names[id(parameter)] if other != name)
        gradient = trace.parameter_gradients.get(name)
        rows.append(Parameter(name, parameter.requires_grad, others, values_of(parameter, bins=0), gradient))
    return rows


def folded_layers(children: Sequence[Layer]) -> list[tuple[list[Layer], int]]:
    """Returns layers in runs of equal ones: (the first unit, how often it comes)."""
    return folded(children, likeness, worth=_worth_folding)


def likeness(layer: Layer) -> Hashable:
    """Returns what two layers have in common if one stands for the other: everything but names and numbers."""
    shapes = tuple(spec.shape for spec in (*layer.inputs, *layer.outputs))
    inner = tuple(likeness(child) for child in layer.children)
    return (layer.kind, layer.settings, shapes, layer.parameters, layer.call == 0, layer.calls == 1, inner)


def _worth_folding(layers: Sequence[Layer], times: int) -> bool:
    # Three equal layers side by side (query, key, value) are better named than counted.
    return any(layer.children for layer in layers) or times > 4


class _Tree:
    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.names = _all_names(trace.module)
        self.called = {visit.module for visit in trace.visits if visit.module is not None}
        self.calls: dict[int, int] = {}
        for visit in trace.visits:
            if visit.module is not None:
                self.calls[id(visit.module)] = self.calls.get(id(visit.module), 0) + 1
        self.seen: dict[int, int] = {}

    def layer(self, visit: Visit) -> Layer:
        outputs = sum(spec.bytes for spec in visit.outputs)
        if visit.module is None:
            return Layer(
                visit.name,
                visit.kind,
                function=True,
                inputs=visit.inputs,
                outputs=visit.outputs,
                output_bytes=outputs,
                products=visit.products,
            )
        module = visit.module
        call = self.seen[id(module)] = self.seen.get(id(module), 0) + 1
        hidden = visit.whole and visit.parent is not None
        children = [] if hidden else [self.layer(child) for child in visit.children]
        if not is_whole(module) and call == 1:
            children = [*self._own_parameters(visit.name, module), *children, *self._never_called(visit)]
        return replace(
            self._still(visit.name, module),
            call=call,
            calls=self.calls[id(module)],
            whole=visit.whole,
            inputs=visit.inputs,
            outputs=visit.outputs,
            output_bytes=outputs,
            products=visit.products,
            children=tuple(children),
        )

    def _still(self, name: str, module: nn.Module) -> Layer:
        """Returns what can be said of a module without calling it."""
        parameters = _unique(module.parameters())
        return Layer(
            name,
            type(module).__name__,
            call=0,
            calls=0,
            settings=_settings(module),
            parameters=sum(tensor.numel() for tensor in parameters),
            trainable=sum(tensor.numel() for tensor in parameters if tensor.requires_grad),
            own=sum(tensor.numel() for tensor in _unique(module.parameters(recurse=False))),
            parameter_bytes=_bytes(parameters),
            shared=self._shared(name, module),
        )

    def _shared(self, name: str, module: nn.Module) -> tuple[str, ...]:
        """Returns the other names of the parameters that are this module's own."""
        others = [
            other
            for key, parameter in module.named_parameters(recurse=False)
            for other in self.names[id(parameter)]
            if other != (f"{name}.{key}" if name else key)
        ]
        return tuple(dict.fromkeys(others))

    def _own_parameters(self, name: str, module: nn.Module) -> list[Layer]:
        return [
            Layer(
                f"{name}.{key}" if name else key,
                "Parameter",
                outputs=(Spec(tuple(parameter.shape), dtype_name(parameter), _bytes([parameter])),),
                parameters=parameter.numel(),
                trainable=parameter.numel() if parameter.requires_grad else 0,
                own=parameter.numel(),
                parameter_bytes=_bytes([parameter]),
                shared=tuple(
                    other
                    for other in self.names[id(parameter)]
                    if other != (f"{name}.{key}" if name else key)
                ),
            )
            for key, parameter in module.named_parameters(recurse=False)
        ]

    def _never_called(self, visit: Visit) -> list[Layer]:
        assert visit.module is not None
        found: list[Layer] = []
        for key, child in visit.module.named_children():
            name = f"{visit.name}.{key}" if visit.name else key
            if not any(part in self.called for part in child.modules()):
                if not isinstance(child, (nn.ModuleList, nn.ModuleDict)) or any(
                    True for _ in child.children()
                ):
                    found.append(self._still(name, child))
            elif child not in self.called:
                # A list of layers: those inside are called by the module around it.
                found += self._never_called(Visit(0, name, "", None, child))
        return found


def _settings(module: nn.Module) -> str:
    """Returns the arguments with which a layer was made, as it prints them."""
    if not is_whole(module):
        return ""
    try:
        return module.extra_repr()
    except Exception:  # a stranger's code, for print only
        return ""


def _all_names(module: nn.Module) -> dict[int, list[str]]:
    names: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return names


def _unique(tensors: Any) -> list[Tensor]:
    return list({id(tensor): tensor for tensor in tensors}.values())


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
