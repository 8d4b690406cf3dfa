"""A network as a drawing: SVG, Mermaid or DOT."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from html import escape
from itertools import count
from typing import Any

from torch import nn

from netwright.errors import NetwrightError
from netwright.explain.graph import Box, Frame, Graph, called, cut, graph_of
from netwright.explain.layout import LINE, TEXT, TITLE, Layout, Place, lay_out
from netwright.explain.trace import Trace, trace

_STYLE = """
.nw-diagram { --nw-ink: #1b1e23; --nw-soft: #59626e; --nw-line: #737c88; --nw-paper: #ffffff; --nw-frame: #a9b1bb; --nw-tint: #59626e0f;
  --nw-layer: #e6eefb; --nw-layer-edge: #1f5fc4; --nw-shape: #f2f3f1; --nw-shape-edge: #8a939e; --nw-join: #fdeee0; --nw-join-edge: #b24a00; --nw-end-edge: #0b6b5d;
  color: var(--nw-ink); font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
@media screen and (prefers-color-scheme: dark) { .nw-diagram { --nw-ink: #e8eaed; --nw-soft: #a3abb6; --nw-line: #98a1ad; --nw-paper: #1b1e22; --nw-frame: #525b66; --nw-tint: #a3abb612;
  --nw-layer: #1c2b45; --nw-layer-edge: #82b4ff; --nw-shape: #24292e; --nw-shape-edge: #7c8692; --nw-join: #3a2816; --nw-join-edge: #ffae70; --nw-end-edge: #5fd0bd; } }
.nw-diagram text { fill: var(--nw-ink); text-anchor: middle; stroke: none; }
.nw-diagram .soft { fill: var(--nw-soft); } .nw-diagram .title { font-weight: 640; }
.nw-diagram rect { stroke-width: 1.2; rx: 6px; }
.nw-diagram .layer { fill: var(--nw-layer); stroke: var(--nw-layer-edge); } .nw-diagram .shape { fill: var(--nw-shape); stroke: var(--nw-shape-edge); }
.nw-diagram .join { fill: var(--nw-join); stroke: var(--nw-join-edge); } .nw-diagram .end { fill: var(--nw-paper); stroke: var(--nw-end-edge); }
.nw-diagram .frame { fill: var(--nw-tint); stroke: var(--nw-frame); stroke-dasharray: 4 3; } .nw-diagram .name { text-anchor: start; }
.nw-diagram .stacked { fill: none; stroke: var(--nw-frame); }
.nw-diagram path { fill: none; stroke: var(--nw-line); stroke-width: 1.4; } .nw-diagram .head { fill: var(--nw-line); stroke: none; }
"""
# To this share a narrow page shrinks it, so that its letters can still be read; further it scrolls.
LEAST = 0.78


@dataclass(frozen=True)
class Diagram:
    """A network's boxes and arrows.

    >>> import torch
    >>> print(diagram_of(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), torch.zeros(1, 4)).mermaid())
    flowchart TD
      b1["input<br>1 × 4  float32"]
      b2["<b>Linear</b><br>ReLU<br>0<br>1×4 → 1×8"]
      b3["output<br>1 × 8  float32"]
      b1 --> b2
      b2 --> b3
    """

    graph: Graph

    @cached_property
    def _layout(self) -> Layout:
        return lay_out(self.graph)

    def svg(self) -> str:
        """Returns the drawing as one `<svg>` element: text as text, light and dark by itself, no ids but one."""
        layout = self._layout
        width, height = round(layout.width), round(layout.height) + 12
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="nw-diagram" role="img" width="{width}" height="{height}" '
            f'viewBox="0 -6 {width} {height}" style="min-width: {round(width * LEAST)}px; max-width: 100%; height: auto">',
            f"<title>{escape(self.in_words())}</title>",
            f"<style>{_STYLE}</style>",
            *_drawn(layout, 0, 0),
            "</svg>",
        ]
        return "\n".join(parts)

    def inline(self) -> str:
        """Returns the drawing for an HTML page, which needs no namespace: a page of ours names no address."""
        return self.svg().replace(' xmlns="http://www.w3.org/2000/svg"', "", 1)

    def mermaid(self) -> str:
        """Returns the drawing as a Mermaid flowchart."""
        names: dict[int, str] = {}
        lines = ["flowchart TD", *_mermaid(self.graph.root.items, names, count(1), "  ")]
        return "\n".join([*lines, *(f"  {a} --> {b}" for a, b in self._arrows(names))])

    def dot(self) -> str:
        """Returns the drawing in Graphviz's language."""
        names: dict[int, str] = {}
        head = ["digraph network {", "  node [shape=box, style=rounded, fontname=sans];"]
        lines = [*head, *_dot(self.graph.root.items, names, count(1), "  ")]
        return "\n".join([*lines, *(f"  {a} -> {b};" for a, b in self._arrows(names)), "}"])

    def text(self, suffix: str) -> str:
        """Returns what a file of this ending holds; raises NetwrightError for endings other than .svg, .mmd and .dot."""
        check_ending(suffix)
        return {".svg": self.svg, ".mmd": self.mermaid, ".dot": self.dot}[suffix]() + "\n"

    def in_words(self) -> str:
        """Returns one sentence on what is drawn, for those who do not see it."""
        said = [_said(item) for item in self.graph.root.items]
        told = ", then ".join(said[:30]) + (f", and {len(said) - 30} more" if len(said) > 30 else "")
        return f"Diagram of {self.graph.title}: {told}."

    def _arrows(self, names: dict[int, str]) -> list[tuple[str, str]]:
        pairs = [(names[a], names[b]) for a, b in sorted(self.graph.arrows) if a in names and b in names]
        return list(dict.fromkeys(pair for pair in pairs if pair[0] != pair[1]))


def check_ending(suffix: str) -> None:
    """Raises NetwrightError for a file's ending that no diagram is written with."""
    if suffix not in (".svg", ".mmd", ".dot"):
        came = f"not {suffix}" if suffix else "and the name has no ending"
        raise NetwrightError(f"a diagram is written as .svg, .mmd (Mermaid) or .dot (Graphviz), {came}")


def diagram_of(module: nn.Module, batch: Any) -> Diagram:
    """Returns the diagram of a module as one forward pass on `batch` (see `trace`) uses it; raises NetworkError if it cannot run."""
    return diagram_of_trace(trace(module, batch, values=False))


def diagram_of_trace(watched: Trace) -> Diagram:
    """Returns the diagram of a traced pass."""
    return Diagram(graph_of(watched))


def _said(item: Box | Frame) -> str:
    if isinstance(item, Box):
        return " and ".join(item.lines) + (f" ({item.shape})" if item.shape else "")
    return called(item)


def _drawn(layout: Layout, left: float, top: float) -> Iterator[str]:
    for chain in layout.arrows:
        yield _arrow(chain, left, top)
    for place in layout.places:
        x, y = left + place.x - place.width / 2, top + place.y
        if isinstance(place.item, Box):
            yield from _box(place.item, place, left, top)
        elif place.item is not None and place.inner is not None:
            if place.item.times > 1:
                yield f'<rect class="stacked" x="{x + 5:.1f}" y="{y - 5:.1f}" width="{place.width:.1f}" height="{place.height:.1f}"/>'
                yield f'<rect class="end" style="stroke: none" x="{x:.1f}" y="{y:.1f}" width="{place.width:.1f}" height="{place.height:.1f}"/>'
            yield f'<rect class="frame" x="{x:.1f}" y="{y:.1f}" width="{place.width:.1f}" height="{place.height:.1f}"/>'
            yield f'<text class="name soft" x="{x + 10:.1f}" y="{y + 16:.1f}" font-size="{TEXT}">{_text(called(place.item))}</text>'
            yield from _drawn(place.inner, x, y)


def _box(box: Box, place: Place, left: float, top: float) -> Iterator[str]:
    x, y = left + place.x, top + place.y
    yield (
        f'<rect class="{box.tone}" x="{x - place.width / 2:.1f}" y="{y:.1f}" width="{place.width:.1f}" height="{place.height:.1f}"/>'
    )
    lines = [("title", TITLE, box.lines[0]), *(("", TEXT, line) for line in box.lines[1:])]
    lines += [("soft", TEXT, text) for text in (box.name, box.shape) if text]
    for number, (style, size, text) in enumerate(lines):
        kind = f' class="{style}"' if style else ""
        yield f'<text{kind} x="{x:.1f}" y="{y + 6 + LINE * (number + 0.75):.1f}" font-size="{size}">{_text(cut(text))}</text>'


def _arrow(chain: list[Place], left: float, top: float) -> str:
    """Returns an arrow that leaves downwards and arrives from above; the ends of several spread over the side of a box."""
    first, last = chain[0], chain[-1]
    x, y = _spread(first, first.below, chain[1]), first.y + first.height
    path = [f"M{left + x:.1f} {top + y:.1f}"]
    for number, place in enumerate(chain[1:], 1):
        end = number == len(chain) - 1
        to = _spread(last, last.above, chain[-2]) if end else place.x
        below = place.y - (5 if end and not last.port else 0)
        half = (y + below) / 2
        if abs(to - x) < 0.5:
            path.append(f"V{top + below:.1f}")
        else:
            path.append(
                f"C{left + x:.1f} {top + half:.1f} {left + to:.1f} {top + half:.1f} {left + to:.1f} {top + below:.1f}"
            )
        x, y = to, place.y + place.height
        if not end:
            path.append(f"V{top + y:.1f}")
    drawn = f'<path d="{"".join(path)}"/>'
    if not last.port:
        tip = (left + x, top + last.y)
        drawn += f'<path class="head" d="M{tip[0] - 4:.1f} {tip[1] - 7:.1f}L{tip[0] + 4:.1f} {tip[1] - 7:.1f}L{tip[0]:.1f} {tip[1]:.1f}Z"/>'
    return drawn


def _spread(place: Place, others: list[Place], other: Place) -> float:
    if len(others) < 2 or place.bends or place.port:
        return place.x
    ordered = sorted(others, key=lambda one: one.x)
    step = min(16.0, place.width / (len(ordered) + 1))
    # One that stands in line keeps its straight arrow.
    straight = min(range(len(ordered)), key=lambda index: abs(ordered[index].x - place.x))
    return place.x + (ordered.index(other) - straight) * step


def _text(text: str) -> str:
    # Control characters are not allowed in XML.
    return escape("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text))


def _mermaid(
    items: list[Box | Frame], names: dict[int, str], numbers: Iterator[int], indent: str
) -> Iterator[str]:
    for item in items:
        if isinstance(item, Box):
            name = _name(item, names)
            title = item.lines[0] if item.tone == "end" else f"<b>{_quoted(item.lines[0])}</b>"
            rest = [_quoted(text) for text in (*item.lines[1:], item.name, item.shape) if text]
            yield f'{indent}{name}["{"<br>".join([title, *rest])}"]'
        else:
            yield f'{indent}subgraph f{next(numbers)}["{_quoted(called(item))}"]'
            yield from _mermaid(item.items, names, numbers, indent + "  ")
            yield f"{indent}end"


def _dot(
    items: list[Box | Frame], names: dict[int, str], numbers: Iterator[int], indent: str
) -> Iterator[str]:
    for item in items:
        if isinstance(item, Box):
            name = _name(item, names)
            texts = [text for text in (*item.lines, item.name, item.shape) if text]
            written = "\\n".join(re.sub(r'(["\\])', r"\\\1", _printable(text)) for text in texts)
            yield f'{indent}{name} [label="{written}"];'
        else:
            label = re.sub(r'(["\\])', r"\\\1", _printable(called(item)))
            yield f'{indent}subgraph cluster_{next(numbers)} {{ label="{label}";'
            yield from _dot(item.items, names, numbers, indent + "  ")
            yield f"{indent}}}"


def _name(box: Box, names: dict[int, str]) -> str:
    name = f"b{len(set(names.values())) + 1}"
    names.update(dict.fromkeys(box.ends, name))
    return name


def _quoted(text: str) -> str:
    return escape(_printable(text)).replace("&#x27;", "#39;").replace("&quot;", "#quot;")


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
