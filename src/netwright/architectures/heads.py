"""What a network is made of, for transfer: the layer that gives its outputs, and the stages before it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from netwright.architectures.trial import untouched
from netwright.errors import NetworkError

# The layers that can be made anew with another number of outputs.
HEADS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
)


def find_head(network: nn.Module, example: Tensor) -> str:
    """Returns the name of the layer from which the network's outputs come: the last linear layer or convolution that it calls.

    `example` (1, ...) is prepared. Raises NetworkError where that layer gives another number of outputs than the network.

    >>> find_head(nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), torch.zeros(1, 4))
    '3'
    """
    called: list[str] = []
    layers = {name: module for name, module in network.named_modules() if isinstance(module, HEADS)}
    if isinstance(network, HEADS):
        raise NetworkError(
            "the network is one layer: there is nothing to keep when its outputs are made anew"
        )

    def note(name: str) -> Any:
        return lambda *_: called.append(name)

    hooks = [layer.register_forward_hook(note(name)) for name, layer in layers.items()]
    try:
        with untouched(network), torch.no_grad():
            outputs = network(example.to(_place(network, example)))
    finally:
        for hook in hooks:
            hook.remove()
    last = called[-1] if called else None
    count = outputs.shape[1] if isinstance(outputs, Tensor) and outputs.dim() > 1 else None
    # A forecast of several columns is a layer's outputs in rows and columns.
    if last is not None and count is not None and _outputs_of(layers[last]) in (count, outputs[0].numel()):
        return last
    known = ", ".join(list(dict.fromkeys(called))[-5:]) or "none"
    came = f"the last that is called, {last}, gives {_outputs_of(layers[last])}" if last else "none is called"
    raise NetworkError(
        f"which layer gives the network's {count} outputs cannot be told: {came}.\n"
        f"Name it with --set transfer.head=NAME; the last linear layers and convolutions: {known}"
    )


def replace_head(network: nn.Module, name: str, num_outputs: int) -> nn.Module:
    """Puts a new layer with `num_outputs` outputs and fresh weights in the place of the layer `name`, and returns it.

    A linear layer or a convolution is replaced by one of its kind; a module of several by one linear layer that takes what
    its first one took. Raises NetworkError.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))
    >>> replace_head(net, "1", 10)
    Linear(in_features=8, out_features=10, bias=True)
    """
    old = layer_named(network, name)
    new = _like(old, name, num_outputs)
    first = next(old.parameters(), None)
    if first is not None:
        new.to(device=first.device, dtype=first.dtype)
    new.train(old.training)
    # The same layer may have several names.
    for other in [key for key, module in network.named_modules(remove_duplicate=False) if module is old]:
        network.set_submodule(other, new)
    return new


def layer_named(network: nn.Module, name: str) -> nn.Module:
    """Returns the module of that name inside the network; raises NetworkError, offering the near ones."""
    modules = {key: module for key, module in network.named_modules() if key}
    if name in modules:
        return modules[name]
    near = difflib.get_close_matches(name, modules, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(list(modules)[-5:])}"
    raise NetworkError(f"transfer.head: the network has no module {name!r}: {hint}")


def _like(old: nn.Module, name: str, num_outputs: int) -> nn.Module:
    if isinstance(old, nn.Linear):
        return nn.Linear(old.in_features, num_outputs, bias=old.bias is not None)
    if isinstance(old, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        kind = next(kind for kind in HEADS[1:] if isinstance(old, kind))
        return kind(
            old.in_channels,
            num_outputs,
            old.kernel_size,  # type: ignore[arg-type]
            old.stride,  # type: ignore[arg-type]
            old.padding,  # type: ignore[arg-type]
            old.dilation,  # type: ignore[arg-type]
            bias=old.bias is not None,
        )
    inner = next((module for module in old.modules() if isinstance(module, nn.Linear)), None)
    if inner is None:
        raise NetworkError(
            f"transfer.head: {name} is a {type(old).__name__} without a linear layer, so how many numbers a new one takes is "
            "not known.\nName the last linear layer or convolution."
        )
    return nn.Linear(inner.in_features, num_outputs)


def _outputs_of(layer: nn.Module) -> int:
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels  # type: ignore[return-value]


def stages_before(network: nn.Module, head: str, example: Tensor, *, count: int) -> list[list[str]]:
    """Returns the names of the parts before the head in at most `count` stages, from the first that is computed to the last.

    A part is a layer with weights or a block of them: what is listed in a Sequential or ModuleList, however deep; a norm goes
    with the part before it. The stages have about as many parts each. Parts that the network does not call by themselves
    stand where they are defined.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> stages_before(net, "4", torch.zeros(1, 4), count=2)
    [['0', '1'], ['2']]
    """
    parts = [name for name in _parts(network, head) if name != head]
    times = _first_calls(network, parts, example)
    order: list[tuple[int, int, str]] = []
    latest = -1
    for place, name in enumerate(parts):
        latest = times.get(name, latest)
        order.append((latest, place, name))
    groups: list[list[str]] = []
    for _, _, name in sorted(order):
        if groups and isinstance(network.get_submodule(name), NORMS):
            groups[-1].append(name)
        else:
            groups.append([name])
    return [[name for group in part for name in group] for part in _cut(groups, count)]


def _cut(groups: Sequence[list[str]], count: int) -> list[list[list[str]]]:
    count = min(count, len(groups))
    edges = [round(index * len(groups) / count) for index in range(count + 1)] if count else [0]
    return [list(groups[begin:end]) for begin, end in pairwise(edges)]


def _parts(module: nn.Module, head: str, name: str = "") -> Iterator[str]:
    for key, child in module.named_children():
        inner = f"{name}.{key}" if name else key
        if not any(True for _ in child.parameters()):
            continue
        listed = isinstance(child, (nn.Sequential, nn.ModuleList, nn.ModuleDict)) or _holds_blocks(child)
        if inner != head and (listed or head.startswith(f"{inner}.")):
            yield from _parts(child, head, inner)
        else:
            yield inner


def _holds_blocks(module: nn.Module) -> bool:
    """Whether somewhere inside a list of at least two modules with weights has one that is more than a layer."""
    for inner in module.modules():
        if isinstance(inner, (nn.Sequential, nn.ModuleList)):
            with_weights = [child for child in inner.children() if any(True for _ in child.parameters())]
            if len(with_weights) > 1 and any(any(True for _ in child.children()) for child in with_weights):
                return True
    return False


def _first_calls(network: nn.Module, parts: Sequence[str], example: Tensor) -> dict[str, int]:
    times: dict[str, int] = {}

    def note(name: str) -> Any:
        def noted(*_: Any) -> None:
            times.setdefault(name, len(times))

        return noted

    hooks = [network.get_submodule(name).register_forward_pre_hook(note(name)) for name in parts]
    try:
        with untouched(network), torch.no_grad():
            network(example.to(_place(network, example)))
    finally:
        for hook in hooks:
            hook.remove()
    return times


def _place(network: nn.Module, example: Tensor) -> torch.device:
    return next((tensor.device for tensor in [*network.parameters(), *network.buffers()]), example.device)
