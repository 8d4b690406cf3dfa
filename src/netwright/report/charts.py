"""Curves, scatters and histograms as SVG that takes its colours from the page.

matplotlib draws with stand-in colours, which are then replaced by CSS variables: one drawing looks right on
a light and on a dark page. Everything that would make two equal charts differ (dates, random ids), or two
charts on one page clash (equal ids, matplotlib's page-wide style), is taken out.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup, escape

POINTS_AT_MOST = 600
DOTS_AT_MOST = 1000
# Chosen so that no two are equal and none is a colour that matplotlib writes by itself.
COLOURS = {
    name: f"#0d0e{index:02x}"
    for index, name in enumerate(("ink", "muted", "grid", "first", "second", "wrong"))
}
NARROW, WIDE = (4.8, 2.7), (10.2, 3.3)
# The width of a letter of an event's label, as large as a telephone shows it; how many rows and letters of labels there are at most.
LETTER_INCHES, EVENT_ROWS, EVENT_LETTERS = 0.11, 3, 12


@dataclass(frozen=True)
class Series:
    """One curve: `x` and `y` (N,), `colour` a name of COLOURS, `faint` for what lies behind the others."""

    x: Sequence[float]
    y: Sequence[float]
    colour: str
    faint: bool = False
    dashed: bool = False
    steps: bool = False


@dataclass(frozen=True)
class Event:
    """Something that happened at `at` on the x axis: a line from bottom to top, with a short `label` above it."""

    at: float
    label: str
    colour: str


def thin(x: np.ndarray, y: np.ndarray, points: int = POINTS_AT_MOST) -> tuple[np.ndarray, np.ndarray]:
    """Returns at most `points` of a curve: of each of `points`/2 equal stretches the lowest and the highest.

    `x`, `y`: (N,) finite. Spikes survive, which an average or every n-th point would hide.

    >>> x, y = thin(np.arange(10_000), np.eye(1, 10_000, 1234)[0])
    >>> len(x) <= 600, y.max()
    (True, np.float64(1.0))
    """
    if len(x) <= points:
        return x, y
    kept = []
    for stretch in np.array_split(np.arange(len(x)), points // 2):
        kept += sorted({int(stretch[y[stretch].argmin()]), int(stretch[y[stretch].argmax()])})
    return x[kept], y[kept]


def curves(
    series: Sequence[Series],
    *,
    name: str,
    label: str,
    across: str,
    shares: bool = False,
    logarithmic: bool = False,
    mark: tuple[float, float] | None = None,
    events: Sequence[Event] = (),
    inches: tuple[float, float] = NARROW,
) -> Markup:
    """Returns an SVG of curves over one x axis.

    `name`: what keeps its ids apart from those of other charts · `label`: the text for those who do not see
    it · `across`: the name of the x axis · `shares`: y is in shares of 1 and is written in percent ·
    `logarithmic`: upwards, if the values are positive and span a factor of 30 · `mark`: a point to ring ·
    `events`: lines from bottom to top, from left to right · `inches`: width and height. Values that are not finite are left out.
    """
    with _axes(name, label, inches) as (axes, drawn):
        heights = [_draw(axes, one) for one in series]
        if mark is not None:
            axes.plot(*mark, "o", markersize=9, fillstyle="none", color=COLOURS["ink"], markeredgewidth=1.2)
        _scale(axes, np.concatenate(heights), shares=shares, logarithmic=logarithmic)
        axes.set_xlabel(across)
        _draw_events(axes, events, letter=LETTER_INCHES / inches[0])
    return drawn[0]


def _draw_events(axes: Any, events: Sequence[Event], *, letter: float) -> None:
    """Draws a line for each event, and its label where there is room for it in one of three rows above the curves.

    `letter`: the width of one as a share of the axis.
    """
    left, right = axes.get_xlim()
    left, right = min([left, *(one.at for one in events)]), max([right, *(one.at for one in events)])
    if events:
        axes.set_xlim(left, right)
    ends = [-1.0] * EVENT_ROWS
    for one in events:
        colour = COLOURS[one.colour]
        axes.axvline(one.at, color=colour, linewidth=1.1, linestyle=(0, (2, 2)))
        place, width = (one.at - left) / (right - left), letter * (len(one.label) + 2)
        side, begins = ("left", place) if place + width <= 1 else ("right", place - width)
        row = next((row for row, end in enumerate(ends) if end <= begins), None)
        if row is None or len(one.label) > EVENT_LETTERS:
            continue
        ends[row] = begins + width
        label = {"fontsize": 8.5, "ha": side, "va": "bottom", "transform": axes.transAxes}
        axes.text(place, 1.02 + 0.085 * row, one.label, color=colour, **label)


def _draw(axes: Any, one: Series) -> np.ndarray:
    """Draws one curve and returns the heights it was drawn at."""
    x, y = np.asarray(one.x, dtype=float), np.asarray(one.y, dtype=float)
    finite = np.isfinite(y)
    x, y = thin(x[finite], y[finite])
    axes.plot(
        x,
        y,
        color=COLOURS[one.colour],
        linewidth=0.8 if one.faint else 1.9,
        alpha=0.45 if one.faint else 1.0,
        marker="o" if len(x) <= 12 and not one.faint and not one.steps else None,
        markersize=4,
        linestyle=(0, (5, 1.2)) if one.dashed else "-",
        drawstyle="steps-post" if one.steps else "default",
        solid_joinstyle="round",
    )
    return y


def _scale(axes: Any, values: np.ndarray, *, shares: bool, logarithmic: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    if logarithmic and len(values) and values.min() > 0 and values.max() > 30 * values.min():
        axes.set_yscale("log")
        few = values.max() < 500 * values.min()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=8))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(axis="y", which="minor", length=0)
        return
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    shown = (lambda value, _: f"{100 * value:.6g} %") if shares else (lambda value, _: f"{value:.6g}")
    axes.yaxis.set_major_formatter(FuncFormatter(shown))


def scatter(true: np.ndarray, predicted: np.ndarray, *, name: str, label: str) -> Markup:
    """Returns an SVG of predicted over true values with the line on which they are equal.

    `true`, `predicted`: (N,) finite. Of more than 1,000 points the 50 furthest from the line and evenly spaced
    others are drawn.
    """
    if len(true) > DOTS_AT_MOST:
        furthest = np.argsort(-np.abs(predicted - true), kind="stable")[:50]
        spaced = np.linspace(0, len(true) - 1, DOTS_AT_MOST - 50).astype(int)
        kept = np.union1d(furthest, spaced)
        true, predicted = true[kept], predicted[kept]
    with _axes(name, label) as (axes, drawn):
        ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
        axes.plot(ends, ends, color=COLOURS["muted"], linewidth=1, linestyle=(0, (4, 3)))
        axes.plot(true, predicted, "o", markersize=3.4, markeredgewidth=0, alpha=0.45, color=COLOURS["first"])
        axes.set_xlabel("true")
        axes.set_ylabel("predicted")
    return drawn[0]


def shares(
    series: Sequence[Series],
    *,
    name: str,
    label: str,
    across: str,
    up: str,
    inches: tuple[float, float] = NARROW,
) -> Markup:
    """Returns an SVG of curves whose x and y are both shares of 1, written in percent, over the line on which they are equal."""
    from matplotlib.ticker import FuncFormatter

    with _axes(name, label, inches) as (axes, drawn):
        axes.plot([0, 1], [0, 1], color=COLOURS["muted"], linewidth=1, linestyle=(0, (4, 3)))
        for one in series:
            _draw(axes, one)
        percent = FuncFormatter(lambda value, _: f"{100 * value:.6g} %")
        axes.xaxis.set_major_formatter(percent)
        axes.yaxis.set_major_formatter(percent)
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel(across)
        axes.set_ylabel(up)
    return drawn[0]


@dataclass(frozen=True)
class Dot:
    """One line of `dots`: its label, the value, its interval (None: unknown), and a name of COLOURS."""

    label: str
    value: float
    interval: Sequence[float] | None
    colour: str


def dots(
    points: Sequence[Dot],
    *,
    name: str,
    label: str,
    across: str,
    shares: bool = False,
    inches: tuple[float, float] = NARROW,
) -> Markup:
    """Returns an SVG of values with their intervals, one below the other, the first at the top."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    with _axes(name, label, inches) as (axes, drawn):
        for place, point in enumerate(points):
            colour = COLOURS[point.colour]
            if point.interval is not None:
                axes.plot(point.interval, [place, place], color=colour, linewidth=1.9, solid_capstyle="round")
            axes.plot(point.value, place, "o", color=colour, markersize=6)
        axes.set_ylim(len(points) - 0.4, -0.6)
        axes.set_yticks(range(len(points)), [point.label for point in points])
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x", color=COLOURS["grid"], linewidth=0.8)
        shown = (lambda value, _: f"{100 * value:.6g} %") if shares else (lambda value, _: f"{value:.6g}")
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(shown))
        axes.set_xlabel(across)
    return drawn[0]


def histogram(values: np.ndarray, *, name: str, label: str, across: str) -> Markup:
    """Returns an SVG histogram of (N,) finite values with a line at 0."""
    with _axes(name, label) as (axes, drawn):
        counts, edges = np.histogram(values, bins=int(np.clip(np.sqrt(len(values)) * 1.5, 5, 50)))
        axes.stairs(counts, edges, fill=True, color=COLOURS["first"], alpha=0.75)
        axes.axvline(0, color=COLOURS["muted"], linewidth=1, linestyle=(0, (4, 3)))
        axes.set_xlabel(across)
        axes.set_ylabel("examples")
    return drawn[0]


@contextmanager
def _axes(name: str, label: str, inches: tuple[float, float] = NARROW) -> Iterator[tuple[Any, list[Markup]]]:
    """Gives axes to draw on; after the block the list beside them holds the SVG."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    drawn: list[Markup] = []
    with matplotlib.rc_context():
        # A matplotlibrc of the user's would otherwise change the report.
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "svg.fonttype": "none",
                "svg.hashsalt": name,
                "font.size": 9.5,
                "text.color": COLOURS["muted"],
                "axes.labelcolor": COLOURS["muted"],
                "axes.edgecolor": COLOURS["grid"],
                "xtick.color": COLOURS["grid"],
                "ytick.color": COLOURS["grid"],
                "xtick.labelcolor": COLOURS["muted"],
                "ytick.labelcolor": COLOURS["muted"],
                "axes.formatter.useoffset": False,
                "path.simplify": False,
            }
        )
        # The width to spare is for the larger letters that the page sets on a telephone.
        figure = Figure(figsize=inches, layout=ConstrainedLayoutEngine(w_pad=0.14))
        axes = figure.add_subplot()
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.grid(axis="y", color=COLOURS["grid"], linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", length=3)
        yield axes, drawn
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawn.append(_inline(text.getvalue(), name=name, label=label))


def _inline(svg: str, *, name: str, label: str) -> Markup:
    """Returns matplotlib's SVG file as an element of the page."""
    box = re.search(r'viewBox="([^"]+)"', svg)
    assert box is not None
    inner = svg[svg.index(">", box.end()) + 1 : svg.rindex("</svg>")]
    inner = re.sub(r"<metadata>.*?</metadata>", "", inner, flags=re.DOTALL)
    inner = re.sub(r"<style.*?</style>", "", inner, flags=re.DOTALL)
    inner = re.sub(r'\bid="', f'id="{name}-', inner)
    inner = inner.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'href="#{name}-')
    inner = re.sub(r"font: [^;\"]*?([\d.]+)px[^;\"]*", r"font-size: \1px", inner)
    for colour, stand_in in COLOURS.items():
        inner = inner.replace(stand_in, f"var(--{colour})")
    inner = re.sub(r"\n\s*", "\n", inner)
    return Markup(f'<svg viewBox="{box[1]}" role="img" aria-label="{escape(label)}">{inner}</svg>')
