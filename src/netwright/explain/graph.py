"""From a traced pass to boxes and the arrows between them, as a person would draw it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from torch import nn

from netwright.explain.folding import folded
from netwright.explain.formulas import ACTIVATIONS, same_kind
from netwright.explain.trace import Spec, Trace, Visit

# More than a person takes in: blocks are then closed, the innermost first.
BOXES_AT_MOST = 48
ITEMS_AT_MOST = 120
LINES_AT_MOST = 4
LETTERS_AT_MOST = 40
Tone = Literal["end", "layer", "shape", "join"]
_JOINS = {
    "add": "+",
    "sub": "−",
    "mul": "×",
    "div": "÷",
    "cat": "concatenate",
    "concat": "concatenate",
    "matmul": "matrix product",
}
# What goes into the box of the layer before it, in place of a box of its own.
_FOLLOWING = ACTIVATIONS | {"Softmax", "LogSoftmax", "GLU", "RMSNorm"}
_FOLLOWING |= {kind for n in (1, 2, 3) for kind in (f"BatchNorm{n}d", f"InstanceNorm{n}d", f"Dropout{n}d")}
_FOLLOWING |= {"Dropout", "LayerNorm", "GroupNorm", "AlphaDropout", "Identity"}


@dataclass(eq=False)
class Box:
    """A layer: `lines`, the first of which is its title; `ends` the leaf visits in it, by place."""

    lines: list[str]
    name: str
    shape: str
    tone: Tone
    ends: list[int]
    key: Hashable
    follows: bool = False
    count: int = 1


@dataclass(eq=False)
class Frame:
    """Boxes and frames that belong together, `times` of them one after the other."""

    title: str
    name: str
    shape: str
    items: list[Box | Frame]
    key: Hashable
    times: int = 1

    @property
    def ends(self) -> list[int]:
        return [end for item in self.items for end in item.ends]

    @property
    def count(self) -> int:
        """The layers that it stands for."""
        return self.times * sum(item.count for item in self.items)


@dataclass
class Graph:
    """`root` holds everything; an arrow leads from one leaf's place to another's."""

    root: Frame
    arrows: set[tuple[int, int]]
    title: str
    notes: list[str] = field(default_factory=list)


def graph_of(trace: Trace) -> Graph:
    """Returns the boxes of a traced pass, equal blocks in a row drawn once, and what flows between them."""
    network = trace.visits[0]
    kept = _kept(trace)
    arrows = {(source, visit.place) for visit in kept.values() for source in _sources(visit, kept)}
    root = _frame(network, kept) if not network.whole or network.children else None
    if root is None or not root.items:
        root = Frame("", "", "", [_box(network)], "")
        arrows = {(source, network.place) for source in network.sources}
        ends = {network.place}
    else:
        ends = set(trace.ends) & set(root.ends) or set(root.ends[-1:])
    graph = Graph(root, arrows, network.kind)
    _fold(graph, root, ends)
    _add_ends(graph, trace, ends)
    _merge(graph, root)
    root.items = [_opened(item) for item in root.items]
    _close(root)
    _shorten(graph)
    _name_within(root)
    return graph


def inside(item: Box | Frame) -> Iterator[Box]:
    """Yields the boxes in an item."""
    if isinstance(item, Box):
        yield item
    else:
        for inner in item.items:
            yield from inside(inner)


def _kept(trace: Trace) -> dict[int, Visit]:
    """Returns the leaves to draw, by place: every layer, and the functions that lead to the output or to a layer."""
    whole: dict[int, int] = {}
    leaves: dict[int, Visit] = {}
    for visit in trace.visits:
        around = whole.get(visit.parent) if visit.parent is not None else None
        if around is not None:
            whole[visit.place] = around
        elif visit.whole and visit.parent is not None:
            whole[visit.place] = visit.place
            if visit.outputs:
                leaves[visit.place] = visit
    # What a layer's inside gave counts as the layer's.
    leaves = {
        place: replace(
            visit, sources=frozenset(whole.get(source, source) for source in visit.sources) - {place}
        )
        for place, visit in leaves.items()
    }
    needed = {whole.get(place, place) for place in trace.ends}
    needed |= {place for place, visit in leaves.items() if not visit.is_function}
    waiting = list(needed)
    while waiting:
        visit_or_none = leaves.get(waiting.pop())
        new = (visit_or_none.sources if visit_or_none is not None else frozenset()) - needed
        needed |= new
        waiting += new
    kept = {place: visit for place, visit in leaves.items() if place in needed}
    return _without_identities(kept)


def _without_identities(kept: dict[int, Visit]) -> dict[int, Visit]:
    return {place: visit for place, visit in kept.items() if not isinstance(visit.module, nn.Identity)}


def _sources(visit: Visit, kept: dict[int, Visit]) -> frozenset[int]:
    found = frozenset(source for source in visit.sources if source < 0 or source in kept)
    if not found and visit.inputs and visit.inputs[0].dtype.startswith(("float", "bfloat", "half")):
        # Made by code that torch functions do not show: the step before is the best guess.
        before = [place for place in kept if place < visit.place]
        return frozenset(before[-1:]) or frozenset({-1})
    return found


def _frame(visit: Visit, kept: dict[int, Visit]) -> Frame:
    items: list[Box | Frame] = []
    for child in visit.children:
        if child.place in kept:
            items.append(_box(kept[child.place]))
        elif child.children and not (child.whole and child.parent is not None):
            inner = _frame(child, kept)
            if inner.items:
                items.append(inner)
    key = (visit.kind, tuple(item.key for item in items))
    return Frame(visit.kind, visit.name, _shapes(visit), items, key)


def _box(visit: Visit) -> Box:
    kind = same_kind(visit.kind)
    joins = visit.is_function and len(visit.sources) > 1
    title = _JOINS.get(visit.kind, visit.kind) if visit.is_function else _titled(visit)
    tone: Tone = "join" if joins else "layer" if _learns(visit) else "shape"
    name = "" if visit.is_function else visit.name
    key = (title, tuple(spec.shape for spec in (*visit.inputs, *visit.outputs)), _learns(visit))
    follows = kind in _FOLLOWING and len(visit.sources) == 1
    return Box([title], name, _shapes(visit), tone, [visit.place], key, follows)


def _learns(visit: Visit) -> bool:
    return visit.module is not None and any(True for _ in visit.module.parameters())


def _titled(visit: Visit) -> str:
    module = visit.module
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d)):
        stride = "" if set(module.stride) == {1} else f", stride {module.stride[0]}"
        return f"{visit.kind} {'×'.join(map(str, module.kernel_size))}{stride}"
    if isinstance(module, nn.RNNBase):
        layers = f", {module.num_layers} layers" if module.num_layers > 1 else ""
        return f"{visit.kind} {module.hidden_size}{layers}{', both ways' if module.bidirectional else ''}"
    if isinstance(module, nn.MultiheadAttention):
        return f"Attention, {module.num_heads} head{'s' if module.num_heads > 1 else ''}"
    if isinstance(module, nn.Embedding):
        return f"Embedding of {module.num_embeddings:,}"
    return visit.kind


def _shapes(visit: Visit) -> str:
    given = visit.outputs[0].size.replace(" ", "") if visit.outputs else ""
    taken = visit.inputs[0].size.replace(" ", "") if visit.inputs else ""
    if not taken or taken == given or (visit.is_function and len(visit.inputs) > 1):
        return given
    return f"{taken} → {given}"


def _fold(graph: Graph, frame: Frame, ends: set[int]) -> None:
    """Draws runs of equal items once, the innermost first; arrows from the last of them start at the first."""
    for item in frame.items:
        if isinstance(item, Frame):
            _fold(graph, item, ends)
            item.key = (item.title, tuple(inner.key for inner in item.items), item.times)

    def worth(items: Sequence[Box | Frame], times: int) -> bool:
        several = any(isinstance(item, Frame) for item in items) or (times > 2 and len(items) // times > 1)
        return several and _is_chain(graph, items, times, ends)

    made: list[Box | Frame] = []
    for unit, times in folded(frame.items, lambda item: item.key, worth=worth):
        if times == 1:
            made += unit
            continue
        place = frame.items.index(unit[0])
        last = frame.items[place + len(unit) * (times - 1) : place + len(unit) * times]
        dropped = frame.items[place + len(unit) : place + len(unit) * times]
        _redirect(graph, unit, last, dropped, ends)
        only = unit[0]
        if len(unit) == 1 and isinstance(only, Frame):
            only.times *= times
            made.append(only)
        else:
            made.append(Frame("", "", "", list(unit), ("run", times, *(item.key for item in unit)), times))
    frame.items = made


def _is_chain(graph: Graph, items: Sequence[Box | Frame], times: int, ends: set[int]) -> bool:
    """Whether each unit takes only what the one before gave, and things that all of them take."""
    length = len(items) // times
    units = [
        {end for item in items[i * length : (i + 1) * length] for end in item.ends} for i in range(times)
    ]
    taken = [{a for a, b in graph.arrows if b in unit and a not in unit} for unit in units]
    everyones = set.intersection(*(came - before for came, before in zip(taken[1:], units)))
    for place in range(1, times):
        before, unit = units[place - 1], units[place]
        if not taken[place] & before or taken[place] - before - everyones:
            return False
        if any(a in before and b not in before | unit for a, b in graph.arrows) or ends & before:
            return False
    return True


def _redirect(
    graph: Graph,
    first: Sequence[Box | Frame],
    last: Sequence[Box | Frame],
    dropped: Sequence[Box | Frame],
    ends: set[int],
) -> None:
    gone = {end for item in dropped for end in item.ends}
    stands = dict(
        zip(
            (end for item in last for end in item.ends),
            (end for item in first for end in item.ends),
            strict=True,
        )
    )
    graph.arrows = {
        (stands.get(a, a), b) for a, b in graph.arrows if b not in gone and (a in stands or a not in gone)
    }
    for end in ends & set(stands):
        ends.remove(end)
        ends.add(stands[end])


def _close(root: Frame) -> None:
    """Makes boxes of the innermost frames while there are more boxes than a person takes in."""
    while sum(1 for _ in inside(root)) > BOXES_AT_MOST:
        depth = _depth(root)
        if depth == 0:
            return
        _close_at(root, depth)


def _depth(frame: Frame) -> int:
    return max((1 + _depth(item) for item in frame.items if isinstance(item, Frame)), default=0)


def _close_at(frame: Frame, depth: int) -> None:
    for place, item in enumerate(frame.items):
        if not isinstance(item, Frame):
            continue
        if depth > 1:
            _close_at(item, depth - 1)
            continue
        layers = f"{item.count} layers" if item.count > 1 else "1 layer"
        title = item.title or " + ".join(dict.fromkeys(box.lines[0] for box in inside(item)))
        times = f" × {item.times}" if item.times > 1 else ""
        frame.items[place] = Box(
            [cut(title) + times, layers],
            item.name,
            item.shape,
            "layer",
            item.ends,
            item.key,
            count=item.count,
        )


def _add_ends(graph: Graph, trace: Trace, ends: set[int]) -> None:
    taken = {source for source, _ in graph.arrows if source < 0}
    inputs: list[Box | Frame] = [
        _end("input" if len(trace.inputs) == 1 else f"input {index + 1}", spec, -1 - index)
        for index, spec in enumerate(trace.inputs)
        if -1 - index in taken
    ]
    beyond = max((visit.place for visit in trace.visits), default=0) + 1
    output: list[Box | Frame] = [_end("output", trace.outputs[0], beyond)] if trace.outputs else []
    if output:
        graph.arrows |= {(end, beyond) for end in ends}
    graph.root.items = [*inputs, *graph.root.items, *output]


def _end(title: str, spec: Spec, place: int) -> Box:
    return Box([title], "", f"{spec.size}  {spec.dtype}", "end", [place], title)


def _shorten(graph: Graph) -> None:
    """Leaves out the middle of a list that nobody would read, and says so."""
    items = graph.root.items
    if len(items) <= ITEMS_AT_MOST:
        return
    left_out = items[ITEMS_AT_MOST // 2 : -ITEMS_AT_MOST // 2]
    gone = {end for item in left_out for end in item.ends}
    stand_in = left_out[0].ends[0]
    box = Box([f"… {len(left_out)} more"], "", "", "shape", [stand_in], "more")
    graph.root.items = [*items[: ITEMS_AT_MOST // 2], box, *items[-ITEMS_AT_MOST // 2 :]]
    moved = {(stand_in if a in gone else a, stand_in if b in gone else b) for a, b in graph.arrows}
    graph.arrows = {(a, b) for a, b in moved if a != b and a < b}
    graph.notes.append(f"{len(left_out)} calls in the middle are not drawn.")


def _merge(graph: Graph, frame: Frame) -> None:
    """Puts activations, norms and dropout into the box of the layer before them, where nothing else takes its output."""
    items = list(frame.items)
    for item in list(items):
        if isinstance(item, Frame):
            _merge(graph, item)
            continue
        if not item.follows or item.tone == "end":
            continue
        sources = {a for a, b in graph.arrows if b in item.ends}
        before = next((one for one in items if isinstance(one, Box) and sources & set(one.ends)), None)
        if before is None or before.tone == "end" or len(before.lines) >= LINES_AT_MOST or len(sources) != 1:
            continue
        if {b for a, b in graph.arrows if a in before.ends and b not in before.ends} != set(item.ends[:1]):
            continue
        before.lines += item.lines
        before.ends += item.ends
        before.count += item.count
        before.shape = _joined(before.shape, item.shape)
        items.remove(item)
        graph.arrows = {(a, b) for a, b in graph.arrows if not (a in before.ends and b in before.ends)}
    frame.items = items


def _joined(first: str, second: str) -> str:
    taken, given = first.split(" → ")[0], second.split(" → ")[-1]
    return given if taken == given or " → " not in first + second else f"{taken} → {given}"


def _opened(item: Box | Frame) -> Box | Frame:
    """Returns the item without frames that hold only one thing."""
    if isinstance(item, Box):
        return item
    item.items = [_opened(inner) for inner in item.items]
    if len(item.items) > 1:
        return item
    inner = item.items[0]
    if isinstance(inner, Frame) and (item.times == 1 or inner.times == 1):
        inner.times *= item.times
        return inner
    return item if item.times > 1 or isinstance(inner, Frame) else inner


def _name_within(frame: Frame, around: str = "") -> None:
    """Takes from each name the part that the frame around it says already."""
    for item in frame.items:
        whole = item.name
        if around and whole.startswith(f"{around}."):
            item.name = whole[len(around) + 1 :]
        if isinstance(item, Frame):
            _name_within(item, whole or around)


def cut(text: str) -> str:
    """Returns the text at a length that fits a box.

    >>> cut("a" * 50)[-3:]
    'aa…'
    """
    return text if len(text) <= LETTERS_AT_MOST else text[: LETTERS_AT_MOST - 1] + "…"


def called(frame: Frame) -> str:
    """Returns what is written over a frame: `encoder.layers · TransformerEncoderLayer × 6`."""
    own = frame.name
    if frame.times > 1 and own.rpartition(".")[2].isdecimal():
        # The number of the first of several is none of theirs.
        own = own.rpartition(".")[0]
    name = " · ".join(cut(part) for part in (own, frame.title) if part)
    times = f"× {frame.times}" if frame.times > 1 else ""
    return " ".join(part for part in (name, times) if part) or "together"
