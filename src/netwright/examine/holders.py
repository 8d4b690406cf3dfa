"""Finds which of the user's variables keep the graphs of past steps alive.

Called at most a few times in a run, and only once graphs were seen to pile up. It looks into the variables of the user's
frames on the stack, keeps nothing, and leaves frames as they were: the dictionary of local variables that Python makes for
it is emptied again (frames that use `locals()` themselves are passed over).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

from torch import Tensor

MOST_NODES = 1_000
MOST_THINGS = 20_000
MOST_ENTRIES = 200
_PLAIN = (str, bytes, int, float, type, type(None), ModuleType, CodeType, FunctionType)
_OPTIMIZED = 1  # flag of code whose variables are not a dictionary


@dataclass(frozen=True)
class Holder:
    """A variable of the user that holds tensors with the graphs of past steps."""

    name: str  #: "losses", "self.history", "total"
    kind: str  #: class of the value: Tensor, list, dict, ...
    tensors: int  #: how many tensors in it have such a graph
    scalar: bool  #: they are single numbers
    code: CodeType  #: of the frame in which it was found


def find_holder(frames: list[FrameType], old: Collection[int]) -> Holder | None:
    """Returns the variable that holds most tensors whose graph contains one of the tokens with these identities."""
    best: Holder | None = None
    for frame in frames:
        names = frame.f_code.co_names
        local = bool(frame.f_code.co_flags & _OPTIMIZED)
        if local and "locals" in names:
            continue
        variables = frame.f_locals if local else frame.f_globals
        try:
            for name, value in list(variables.items()):
                for path, kind, found in _search(name, value, old):
                    scalar = all(entry.dim() == 0 for entry in found)
                    if best is None or len(found) > best.tensors:
                        best = Holder(path, kind, len(found), scalar, frame.f_code)
        finally:
            if local and isinstance(variables, dict):
                variables.clear()
        del variables
        if best is not None:
            return best
    return best


def _search(name: str, value: Any, old: Collection[int]) -> Iterator[tuple[str, str, list[Tensor]]]:
    """Yields the paths below a variable at which tensors with an old graph stand, with these tensors."""
    budget = [MOST_THINGS]
    seen: set[int] = set()
    queue = deque([(name, value, 0)])
    while queue and budget[0] > 0:
        path, thing, depth = queue.popleft()
        if isinstance(thing, _PLAIN) or id(thing) in seen or depth > 3:
            continue
        seen.add(id(thing))
        budget[0] -= 1
        if isinstance(thing, Tensor):
            if has_graph_of(thing, old):
                yield path, type(thing).__name__, [thing]
        elif isinstance(thing, (list, tuple, deque, set)):
            entries = list(thing)[:MOST_ENTRIES]
            budget[0] -= len(entries)
            flat = [
                part for entry in entries for part in (entry if isinstance(entry, (list, tuple)) else [entry])
            ]
            held = [entry for entry in flat if isinstance(entry, Tensor) and has_graph_of(entry, old)]
            if held:
                yield path, type(thing).__name__, held
            else:
                queue.extend((path, entry, depth + 1) for entry in entries[:8] if isinstance(entry, dict))
        elif isinstance(thing, dict):
            for key, entry in list(thing.items())[:MOST_ENTRIES]:
                if isinstance(key, str):
                    queue.append((f"{path}['{key}']", entry, depth + 1))
        elif isinstance(getattr(thing, "__dict__", None), dict):
            for key, entry in list(vars(thing).items())[:MOST_ENTRIES]:
                if not key.startswith("__"):
                    queue.append((f"{path}.{key}", entry, depth + 1))


def has_graph_of(tensor: Tensor, old: Collection[int]) -> bool:
    """Returns whether the graph behind a tensor contains one of the tokens with these identities."""
    if type(tensor) is not Tensor or tensor.is_leaf:
        return False
    try:
        root = tensor.grad_fn
    except RuntimeError:
        return False
    seen = {root}
    queue: deque[Any] = deque([root])
    while queue and len(seen) < MOST_NODES:
        node = queue.popleft()
        if node is None:
            continue
        known = node.metadata
        if known and (id(known.get("netwright")) in old or id(known.get("netwright base")) in old):
            return True
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                queue.append(following)
    return False


def base_of(node: Any, most: int = 400) -> Any:
    """Returns a node at the bottom of a graph: what every stored result of the network keeps alive."""
    for _ in range(most):
        below = next(
            (
                following
                for following, _ in node.next_functions
                if following is not None and "AccumulateGrad" not in following.name()
            ),
            None,
        )
        if below is None:
            break
        node = below
    return node
