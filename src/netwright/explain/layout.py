"""Where the boxes of a diagram lie: in rows from top to bottom, frames around what they hold.

Rows by the longest path, order and places within a row by the mean of their neighbours, as Sugiyama, Tagawa and Toda, "Methods for
Visual Understanding of Hierarchical System Structures", 1981. A frame is laid out by itself and is then one box of the frame
around it, so that nothing can overlap.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from netwright.explain.graph import Box, Frame, Graph, called, cut

# Pixels. A letter's width is that of a wide sans serif, so that text fits whatever the reader's font is.
TITLE, TEXT, LINE, LETTER = 13, 11.5, 16, 0.65
BETWEEN_ROWS, BETWEEN, LANE, MARGIN, STRIP = 26, 22, 14, 14, 24
SWEEPS = 12


@dataclass(eq=False)
class Place:
    """Where an item lies: `x` its middle, `y` its top, in the frame that holds it. Without an item it is a bend of an arrow."""

    item: Box | Frame | None
    row: int
    width: float
    height: float
    x: float = 0.0
    y: float = 0.0
    above: list[Place] = field(default_factory=list)
    below: list[Place] = field(default_factory=list)
    inner: Layout | None = None
    port: bool = False

    @property
    def bends(self) -> bool:
        return self.item is None and not self.port


@dataclass(eq=False)
class Layout:
    """The places in a frame, its arrows as lists of places from start to end, and its size."""

    places: list[Place]
    arrows: list[list[Place]]
    width: float
    height: float


def box_size(box: Box) -> tuple[float, float]:
    """Returns the width and height of a box for its text."""
    texts = [(cut(box.lines[0]), TITLE), *((cut(line), TEXT) for line in box.lines[1:])]
    texts += [(cut(text), TEXT) for text in (box.name, box.shape) if text]
    width = max(len(text) * size * LETTER for text, size in texts) + 20
    return max(64.0, round(width)), 12 + LINE * len(texts)


def lay_out(graph: Graph, frame: Frame | None = None) -> Layout:
    """Returns where everything in a graph lies, from (0, 0) at the top left."""
    root = frame is None
    frame = frame or graph.root
    places = [_place(graph, item) for item in frame.items]
    arrows = _between(graph, places, root=root)
    _set_rows(places, arrows)
    chains = [_chain(places, start, end) for start, end in arrows]
    rows = _rows(places)
    _set_order(rows)
    _set_x(rows)
    _straighten(rows, chains)
    height = _set_y(rows, 0.0 if root else STRIP)
    width = _shift(places, MARGIN)
    if not root:
        width = max(width, len(called(frame)) * TEXT * LETTER + 24)
        missing = width - max(place.x + place.width / 2 for place in places) - MARGIN
        for place in places:
            place.x += max(0.0, missing) / 2
    return Layout(places, chains, width, height)


def _place(graph: Graph, item: Box | Frame) -> Place:
    if isinstance(item, Box):
        return Place(item, 0, *box_size(item))
    inner = lay_out(graph, item)
    return Place(item, 0, inner.width, inner.height, inner=inner)


def _between(graph: Graph, places: list[Place], *, root: bool) -> list[tuple[Place, Place]]:
    """Returns the arrows between items of a frame; those that come in or go out pass a port of their own."""
    at = {end: place for place in places if place.item is not None for end in place.item.ends}
    entry, leaving = Place(None, 0, 8, 0, port=True), Place(None, 0, 8, 0, port=True)
    found: dict[tuple[int, int], tuple[Place, Place]] = {}
    for a, b in sorted(graph.arrows):
        if a not in at and b not in at:
            continue
        start, end = at.get(a, entry), at.get(b, leaving)
        if start is not end:
            found[id(start), id(end)] = (start, end)
    pairs = list(found.values())
    if root:
        return [(a, b) for a, b in pairs if not a.port and not b.port]
    for port in (entry, leaving):
        if any(port in pair for pair in pairs):
            places.insert(0, port) if port is entry else places.append(port)
    return pairs


def _set_rows(places: list[Place], arrows: Sequence[tuple[Place, Place]]) -> None:
    order = {id(place): index for index, place in enumerate(places)}
    # Items come in the order in which they ran: an arrow never leads back.
    forward = sorted(
        ((a, b) for a, b in arrows if order[id(a)] < order[id(b)]), key=lambda pair: order[id(pair[0])]
    )
    for start, end in forward:
        end.row = max(end.row, start.row + 1)
    # What nothing leads to, such as a second input, stands right above what takes it.
    for start in reversed(places):
        rows = [end.row for a, end in forward if a is start]
        if rows and not any(end is start for _, end in forward) and not start.port:
            start.row = max(start.row, min(rows) - 1)
    last = max((place.row for place in places), default=0)
    for place in places:
        if place.port and any(end is place for _, end in forward):
            place.row = max(last, place.row)


def _chain(places: list[Place], start: Place, end: Place) -> list[Place]:
    """Returns an arrow as places from start to end, with a bend in each row that it passes."""
    chain = [start]
    for row in range(start.row + 1, end.row):
        bend = Place(None, row, LANE, 0)
        places.append(bend)
        chain.append(bend)
    chain.append(end)
    for one, other in itertools.pairwise(chain):
        one.below.append(other)
        other.above.append(one)
    return chain


def _rows(places: Sequence[Place]) -> list[list[Place]]:
    rows: list[list[Place]] = [[] for _ in range(1 + max((place.row for place in places), default=0))]
    for place in places:
        rows[place.row].append(place)
    return [row for row in rows if row]


def _set_order(rows: list[list[Place]]) -> None:
    for sweep in range(4):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            middle = {id(place): index for other in rows for index, place in enumerate(other)}

            def wanted(
                place: Place, middle: dict[int, int] = middle, sweep: int = sweep
            ) -> tuple[float, bool]:
                near = place.above if sweep % 2 == 0 else place.below
                places = [middle[id(other)] for other in near] or [middle[id(place)]]
                # Skips run on the right of what they skip.
                return (sum(places) / len(places), place.bends)

            row.sort(key=wanted)


def _set_x(rows: list[list[Place]]) -> None:
    for row in rows:
        x = -sum(place.width + BETWEEN for place in row) / 2
        for place in row:
            place.x = x + place.width / 2
            x += place.width + BETWEEN
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            for place in row:
                near = (place.above if sweep % 2 == 0 else place.below) or [*place.above, *place.below]
                # A bend follows bends, so that a long arrow is straight; a box follows boxes.
                alike = [other for other in near if other.bends == place.bends] or near
                if alike:
                    place.x = sum(other.x for other in alike) / len(alike)
            _part(row)


def _part(row: list[Place]) -> None:
    """Moves the items of a row apart, boxes before bends: a box stays in line with the one above it."""
    boxes = [place for place in row if not place.bends]
    for one, other in itertools.pairwise(boxes):
        lanes = row.index(other) - row.index(one) - 1
        least = (one.width + other.width) / 2 + BETWEEN + lanes * (LANE + BETWEEN / 2)
        missing = least - (other.x - one.x)
        if missing > 0:
            for place in boxes[: boxes.index(other)]:
                place.x -= missing / 2
            for place in boxes[boxes.index(other) :]:
                place.x += missing / 2
    for before, place in zip([None, *row], row):
        if place.bends and before is not None:
            gap = BETWEEN / 2 if before.bends else BETWEEN * 0.7
            place.x = max(place.x, before.x + (before.width + place.width) / 2 + gap)
    for place, after in reversed(list(itertools.pairwise(row))):
        if place.bends:
            gap = BETWEEN / 2 if after.bends else BETWEEN * 0.7
            place.x = min(place.x, after.x - (after.width + place.width) / 2 - gap)


def _straighten(rows: list[list[Place]], chains: list[list[Place]]) -> None:
    """Moves the bends of a long arrow into one line on the right, where there is room."""
    long = [chain[1:-1] for chain in chains if len(chain) > 3]
    for bends in sorted(long, key=lambda bends: -max(bend.x for bend in bends)):
        x = max(bend.x for bend in bends)
        if all(_is_free(next(row for row in rows if bend in row), bend, x) for bend in bends):
            for bend in bends:
                bend.x = x


def _is_free(row: list[Place], bend: Place, x: float) -> bool:
    after = row[row.index(bend) + 1 :]
    return not after or x + (bend.width + after[0].width) / 2 + BETWEEN / 4 <= after[0].x


def _set_y(rows: list[list[Place]], top: float) -> float:
    y = top
    for number, row in enumerate(rows):
        height = max(place.height for place in row)
        if number:
            y += BETWEEN_ROWS if height else BETWEEN_ROWS / 2
        for place in row:
            place.y = y + (height - place.height) / 2
            if place.bends:
                place.y, place.height = y, height
        y += height
    return y


def _shift(places: Sequence[Place], margin: float) -> float:
    left = min(place.x - place.width / 2 for place in places)
    for place in places:
        place.x += margin - left
    return max(place.x + place.width / 2 for place in places) + margin
