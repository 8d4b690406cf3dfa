"""What a network is and what it did with an example: text for the terminal, one self-contained page, and a notebook's view."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from netwright.report import figures

if TYPE_CHECKING:
    from netwright.explain.diagram import Diagram
    from netwright.explain.structure import Layer, Parameter, Structure
    from netwright.explain.tour import Stop, Tour
    from netwright.explain.values import Values

# What keeps the page under 3 MB, and the terminal readable; what is left out is counted, and in the JSON.
ROWS_AT_MOST, STOPS_AT_MOST, LINES_AT_MOST, PARAMETERS_AT_MOST = 400, 200, 60, 300
STOPS_AT_FIRST = 24
LETTERS_AT_MOST = 60
BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Seen:
    """What is shown. `source`: what the input is, in a sentence; `picture`: of the example, uint8, where it is one; `together`: the
    tour of a mini-batch of 3; `words`: terms, each with a plain sentence."""

    title: str
    source: str
    structure: Structure
    tour: Tour
    parameters: Sequence[Parameter]
    diagram: Diagram
    words: Mapping[str, str]
    together: Tour | None = None
    picture: np.ndarray | None = None
    notes: Sequence[str] = field(default_factory=tuple)


def as_text(seen: Seen) -> str:
    """Returns tree, tour, formulas, parameters and words as plain text."""
    parts = [
        f"{figures.printable(seen.title)}\n{counts(seen.structure)}",
        "\n".join([figures.printable(seen.source), *map(figures.printable, seen.notes)]).strip(),
        _tree_text(seen.structure),
        _tour_text(seen),
        _formulas_text(seen.tour),
        _parameters_text(seen.parameters),
        "Words\n" + "\n".join(f"  {word}: {said}" for word, said in seen.words.items()),
    ]
    return "\n\n".join(part for part in parts if part)


def tree_text(structure: Structure) -> str:
    """Returns the tree of layers alone."""
    return _tree_text(structure)


def counts(structure: Structure) -> str:
    """Returns the few numbers of a network in a line."""
    frozen = structure.parameters - structure.trainable
    said = [
        f"{structure.parameters:,} parameters ({_size(structure.parameter_bytes)})"
        + (f", {frozen:,} of them frozen" if frozen else ""),
        f"{structure.products:,} multiply–adds",
        f"{_size(structure.output_bytes)} of layers' outputs",
    ]
    if structure.buffers:
        said.insert(1, f"{structure.buffers:,} numbers in buffers")
    return " · ".join(said)


def write_tour(path: str | os.PathLike[str], seen: Seen) -> Path:
    """Writes the page and returns its path; raises RunFolderError where it cannot be written."""
    from netwright.report.html import write_page

    return write_page(path, render_tour(seen))


def render_tour(seen: Seen) -> str:
    """Returns the page as HTML."""
    return _rendered("tour.html.jinja", seen)


def render_cell(seen: Seen) -> str:
    """Returns what a notebook shows: the page's parts, with a style that does not leave the cell."""
    return _rendered("tour_cell.html.jinja", seen)


def _rendered(template: str, seen: Seen) -> str:
    from netwright.report import pictures
    from netwright.report.html import page_templates

    structure, tour = seen.structure, seen.tour
    rows = list(_rows(structure.root, 0))
    return (
        page_templates()
        .get_template(template)
        .render(
            title=_cut(seen.title, 120),
            source=_cut(seen.source, 300),
            notes=[_cut(note, 400) for note in seen.notes],
            picture=None if seen.picture is None else pictures.data_uri(seen.picture),
            facts=_facts(structure),
            svg=Markup(seen.diagram.inline()),
            rows=rows[:ROWS_AT_MOST],
            rows_left_out=max(0, len(rows) - ROWS_AT_MOST),
            stops_at_first=STOPS_AT_FIRST,
            stops=[_stop(stop, number, seen) for number, stop in enumerate(tour.stops[:STOPS_AT_MOST])],
            stops_left_out=max(0, len(tour.stops) - STOPS_AT_MOST) + tour.more,
            back_from=tour.back_from,
            formulas=tour.formulas,
            parameters=[_parameter(one) for one in seen.parameters[:PARAMETERS_AT_MOST]],
            parameters_left_out=max(0, len(seen.parameters) - PARAMETERS_AT_MOST),
            words=seen.words,
        )
    )


def _facts(structure: Structure) -> list[tuple[str, str]]:
    facts = [
        ("Parameters", f"{structure.parameters:,}"),
        ("In memory", _size(structure.parameter_bytes)),
        ("Multiply–adds", f"{structure.products:,}"),
        ("Layers' outputs", _size(structure.output_bytes)),
        ("Input", ", ".join(spec.size for spec in structure.inputs) or "–"),
        ("Output", ", ".join(spec.size for spec in structure.outputs[:3]) or "–"),
    ]
    if structure.trainable != structure.parameters:
        facts.insert(1, ("Trained", f"{structure.trainable:,}"))
    return [(name, _cut(value, LETTERS_AT_MOST)) for name, value in facts]


@dataclass(frozen=True)
class _Row:
    """A line of the tree. `kind` "" is a remark."""

    depth: int
    name: str
    kind: str
    shapes: str
    parameters: str
    products: str
    remark: str
    settings: str = ""


def _rows(layer: Layer, depth: int, around: str = "") -> Iterator[_Row]:
    from netwright.explain.structure import folded_layers

    yield _row(layer, depth, around)
    for unit, times in folded_layers(layer.children):
        for child in unit:
            yield from _rows(child, depth + 1, layer.name or around)
        if times > 1:
            more = sum(child.parameters for child in unit if child.call <= 1)
            what = "this" if len(unit) == 1 else f"these {len(unit)}"
            often = "once more" if times == 2 else f"{times - 1} times more"
            each = f", {'each ' if times > 2 else ''}with {more:,} parameters of its own" if more else ""
            yield _Row(depth + 1, "", "", "", "", "", f"… {what} {often}{each}")


def _row(layer: Layer, depth: int, around: str) -> _Row:

    name = layer.name.removeprefix(f"{around}.") if around else layer.name
    remarks = []
    if layer.call == 0:
        remarks.append("never called")
    elif layer.calls > 1:
        remarks.append(f"call {layer.call} of {layer.calls}")
    if layer.shared:
        remarks.append(f"shares weights with {', '.join(layer.shared[:3])}")
    if layer.parameters and not layer.trainable:
        remarks.append("frozen")
    again = layer.call > 1 and layer.parameters
    return _Row(
        depth,
        "" if layer.function else _cut(name, LETTERS_AT_MOST),
        _cut(f"{layer.kind}()" if layer.function else layer.kind, LETTERS_AT_MOST),
        _cut(_shapes(layer), 70),
        "again" if again else f"{layer.parameters:,}" if layer.parameters else "",
        f"{layer.products:,}" if layer.products else "",
        "; ".join(remarks),
        _cut(layer.settings, 90),
    )


def _shapes(layer: Layer) -> str:
    given = ", ".join(_short(spec.shape) for spec in layer.outputs[:3])
    taken = ", ".join(_short(spec.shape) for spec in layer.inputs[:3])
    return f"{taken} → {given}" if taken else given


def _short(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "number"


def _tree_text(structure: Structure) -> str:
    rows = list(_rows(structure.root, 0))
    table = [("layer", "in → out", "parameters", "multiply–adds", "")]
    for row in rows[:ROWS_AT_MOST]:
        name = "  " * row.depth + " ".join(part for part in (row.name, row.kind) if part)
        table.append((name or "", row.shapes, row.parameters, row.products, row.remark))
        if not row.kind:
            table[-1] = ("  " * row.depth + row.remark, "", "", "", "")
    text = _columns(table, ">2>3")
    return text + (f"\n… {len(rows) - ROWS_AT_MOST:,} more rows" if len(rows) > ROWS_AT_MOST else "")


def _tour_text(seen: Seen) -> str:
    tour = seen.tour
    if not tour.stops:
        return ""
    table = [("layer", "gave", "range", "mean ± deviation", "zeros", "saturated", "values", "gradient")]
    for stop in tour.stops[:LINES_AT_MOST]:
        gradient = "" if stop.gradient_size is None else figures.exponent(stop.gradient_size)
        flat = "" if stop.flat is None else _percent(stop.flat)
        table.append(
            (
                _stop_name(stop),
                _short(stop.given.shape),
                _range(stop.given),
                _spread(stop.given),
                _percent(stop.given.zeros),
                flat,
                _bars(stop.given.histogram) + _bad(stop.given),
                gradient,
            )
        )
    head = "The tour: what each layer gave" + (
        f", and the size of the gradient of {tour.back_from}" if tour.back_from else ""
    )
    left = len(tour.stops) - LINES_AT_MOST
    text = f"{head}\n{_columns(table, '>4>5>7')}"
    if tour.stops and left > 0:
        text += f"\n… {left:,} more layers, in --json and --html"
    return text + (f"\n… {tour.more:,} calls more, of which only shapes were taken" if tour.more else "")


def _formulas_text(tour: Tour) -> str:
    lines = ["What these layers compute"] if tour.formulas else []
    for kind, formula in tour.formulas.items():
        lines += [
            f"  {kind}: {formula.formula}",
            f"      {formula.means}",
            f"      On the way back: {formula.back}",
        ]
    return "\n".join(lines)


def _parameters_text(parameters: Sequence[Parameter]) -> str:
    if not parameters:
        return "No parameters: nothing here is trained."
    table = [("parameter", "size", "range", "mean ± deviation", "first values", "gradient", "")]
    for one in parameters[:LINES_AT_MOST]:
        shown = _parameter(one)
        table.append(
            (
                shown["name"],
                shown["size"],
                shown["range"],
                shown["spread"],
                shown["first"],
                shown["gradient"],
                shown["remark"],
            )
        )
    left = len(parameters) - LINES_AT_MOST
    more = f"\n… {left:,} more, in --json and --html" if left > 0 else ""
    return f"The parameters\n{_columns(table, '>5')}{more}"


def _parameter(one: Parameter) -> dict[str, str]:
    values = one.values
    gradient = "" if one.gradient is None else figures.exponent(_root(one.gradient))
    remarks = ([] if one.trainable else ["frozen"]) + (
        [f"also {', '.join(one.shared[:3])}"] if one.shared else []
    )
    return {
        "name": _cut(one.name, LETTERS_AT_MOST),
        "size": _short(values.shape),
        "range": _range(values),
        "spread": _spread(values),
        "first": ", ".join(f"{value:+.4f}" for value in values.first),
        "gradient": gradient,
        "remark": "; ".join([*remarks, *([_bad(values).strip()] if _bad(values) else [])]),
    }


def _root(values: Values) -> float:
    return ((values.mean or 0.0) ** 2 + (values.deviation or 0.0) ** 2) ** 0.5


def _stop(stop: Stop, number: int, seen: Seen) -> dict[str, Any]:
    """Returns what the page shows of a stop."""
    from netwright.explain.formulas import ACTIVATIONS, same_kind
    from netwright.report import pictures

    others = seen.together.stops if seen.together is not None else ()
    beside = others[number] if number < len(others) and others[number].name == stop.name else None
    changes = [("received", stop.taken)] if same_kind(stop.kind) in ACTIVATIONS else []
    return {
        "name": _stop_name(stop),
        "kind": stop.kind,
        "shapes": f"{_short(stop.taken.shape)} → {_short(stop.given.shape)}",
        "sides": [
            {
                "name": name,
                "range": _range(values),
                "spread": _spread(values),
                "zeros": _percent(values.zeros),
                "svg": _histogram(values, name),
                "bad": _bad(values).strip(),
            }
            for name, values in [*changes, ("gave", stop.given)]
        ],
        "saturated": None if stop.flat is None else _percent(stop.flat),
        "gradient": None if stop.gradient_size is None else figures.exponent(stop.gradient_size),
        "three": None
        if beside is None
        else f"{_short(beside.given.shape)}: {_range(beside.given)}, {_spread(beside.given)}",
        "picture": None if stop.picture is None else pictures.data_uri(stop.picture),
        "tall": stop.picture is not None and stop.picture.shape[0] > 24,
    }


def _stop_name(stop: Stop) -> str:
    if stop.function:
        return _cut(f"{stop.kind}()", LETTERS_AT_MOST)
    return _cut(f"{stop.name} {stop.kind}".strip(), LETTERS_AT_MOST)


def _histogram(values: Values, name: str) -> Markup:
    """Returns a small histogram as SVG; the text beside it says its ends."""
    counts = values.histogram
    if not counts or not max(counts):
        return Markup("")
    highest = max(counts)
    bars = "".join(
        f'<rect x="{index * 8}" y="{40 - height:.1f}" width="7" height="{height:.1f}"/>'
        for index, count in enumerate(counts)
        if (height := 38 * count / highest + (1.2 if count else 0))
    )
    label = f"Histogram of what it {name}: {_range(values)}"
    return Markup(
        f'<svg class="bars" preserveAspectRatio="none" viewBox="0 0 {8 * len(counts)} 41" role="img" aria-label="{label}">{bars}'
        f'<path d="M0 40.5H{8 * len(counts)}"/></svg>'
    )


def _bars(histogram: Sequence[int]) -> str:
    highest = max(histogram, default=0)
    if not highest:
        return ""
    return "".join(" " if not count else BARS[min(7, int(8 * count / highest))] for count in histogram)


def _bad(values: Values) -> str:
    found = [f"{values.nan:,} NaN"] if values.nan else []
    found += [f"{values.infinite:,} infinite"] if values.infinite else []
    return f"  {' and '.join(found)}" if found else ""


def _range(values: Values) -> str:
    if values.low is None or values.high is None:
        return "–"
    return f"{_number(values.low)} to {_number(values.high)}"


def _spread(values: Values) -> str:
    if values.mean is None or values.deviation is None:
        return "–"
    return f"{_number(values.mean)} ± {_number(values.deviation)}"


def _number(value: float) -> str:
    """Returns three digits.

    >>> _number(0.12345), _number(-1234.5), _number(3.0), _number(0.00001234), _number(0.0)
    ('0.123', '-1230', '3', '1.23e-5', '0')
    """
    if value == 0:
        return "0"
    digits = f"{value:.3g}"
    if "e" not in digits:
        return digits
    power = int(digits.split("e")[1])
    return f"{value:.0f}"[:-1] + "0" if 2 < power < 5 else f"{digits.split('e')[0]}e{power}"


def _percent(share: float) -> str:
    """Returns a share in whole percent, never rounded to none or all.

    >>> _percent(0.0), _percent(0.001), _percent(0.499), _percent(0.9999), _percent(1.0)
    ('0 %', '<1 %', '50 %', '>99 %', '100 %')
    """
    if 0 < share < 0.005:
        return "<1 %"
    if 0.995 < share < 1:
        return ">99 %"
    return f"{100 * share:.0f} %"


def _size(count: int) -> str:
    from netwright.data.memory import size_in_words

    return size_in_words(count)


def _columns(table: Sequence[Sequence[str]], right: str) -> str:
    """Returns rows in columns; those whose number `right` names (">2>3") end at the right."""
    to_right = {int(place) for place in right.split(">") if place}
    table = [[figures.printable(cell) for cell in row] for row in table]
    widths = [max(len(row[place]) for row in table) for place in range(len(table[0]))]
    # A remark in place of a row may be longer than the column.
    widths[0] = max(len(row[0]) for row in table if any(row[1:]))
    lines = []
    for row in table:
        cells = [
            cell.rjust(width) if place in to_right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths))
            if width
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)


def _cut(text: str, limit: int) -> str:
    text = figures.printable(text)
    return text if len(text) <= limit else text[: limit - 1] + "…"
