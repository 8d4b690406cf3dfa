"""What a comparison of choices shows: tables in the terminal, and a page with plots.

Both take what `netwright compare --json` prints: {`comparison`, `data`, `network`, `metric`, `examples`, `seeds`, `tables`, ...}; a table has
`keys`, `titles`, `rows` (the best first) and `sentences`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from netwright.report import charts, figures
from netwright.report.html import page_templates, write_page
from netwright.report.terminal import COLUMNS, console_on, plain_table, styled

PAGE = "comparison.html"
LABEL_AT_MOST, NARROW_LABEL = 22, 15
SETTINGS_AT_MOST = 200
HEADS = ("valid.", "test", "95 % interval", "vs best", "epochs", "time")
# A gradient this much smaller than the largest one of the table has no colour.
DECADES = 4.0


def show_comparison(result: Mapping[str, Any], *, page: Path | None, stream: TextIO | None = None) -> None:
    """Prints the tables, what they say in words, and where the page lies."""
    console = console_on(stream or sys.stdout)
    console.width = COLUMNS
    for table in result["tables"]:
        console.print()
        console.print(styled(f"  By {_title(table)}: {_unit(table)}", "bold"))
        # With many entries the values matter more than the width.
        console.width = COLUMNS if len(table["titles"]) < 3 else COLUMNS + 16 * (len(table["titles"]) - 2)
        console.print(_terminal_table(table))
        console.width = COLUMNS
        console.print()
        for sentence in table["sentences"]:
            console.print(_indented(styled(sentence)))
    console.print()
    for line in notes_of(result):
        console.print(_indented(styled(line, "dim")))
    if page is not None:
        console.print(styled("  page  ", "dim").append(figures.printable(page)), soft_wrap=True)
    console.print()


def _title(table: Mapping[str, Any]) -> str:
    return " and ".join(table["titles"])


def _unit(table: Mapping[str, Any]) -> str:
    """Returns what the numbers of a table are."""
    return "accuracy in %" if table["metric"] == "accuracy" else str(table["metric"]).replace("_", " ")


def _terminal_table(table: Mapping[str, Any]) -> Any:
    made = plain_table()
    for title in table["titles"]:
        made.add_column(title, no_wrap=True, overflow="ellipsis", max_width=LABEL_AT_MOST)
    for name in HEADS:
        made.add_column(name, justify="right", no_wrap=True)
    for row in table["rows"]:
        values = [_cut(value) for value in _values(row)]
        values[0] += " *" if row["default"] else ""
        made.add_row(*(styled(cell) for cell in (*values, *_cells(row, table["metric"]))))
    return _indented(made)


def _indented(content: Any) -> Any:
    import rich.padding

    return rich.padding.Padding(content, (0, 0, 0, 2), expand=False)


def _values(row: Mapping[str, Any]) -> list[str]:
    return [_value(value) for value in row["values"].values()]


def _value(value: Any) -> str:
    return "auto" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _cut(text: str) -> str:
    return _at_most(text, LABEL_AT_MOST - 2)


def _at_most(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _cells(row: Mapping[str, Any], metric: str) -> list[str]:
    """Returns what a row shows behind its values: validation, test, interval, difference, epochs, time."""
    if row["mean"] is None:
        return ["", "", row["state"], "", str(row["epochs"] or ""), ""]
    shares = metric == "accuracy"
    shown = (lambda value: figures.percent(value).removesuffix(" %")) if shares else figures.loss
    return [
        shown(row["validation"]["mean"]),
        shown(row["mean"]),
        figures.interval(row["interval"], shares=shares).removesuffix(" %").replace(" to ", "–"),
        _against(row, metric),
        str(row["epochs"]),
        figures.duration(row["seconds"]),
    ]


def _against(row: Mapping[str, Any], metric: str) -> str:
    """Returns how a row differs from the best one; `~` before what is not larger than the noise."""
    if row["state"] == "pruned":
        return "out"
    found = row["against_best"]
    if found is None or found["p"] is None:
        return ""
    size = f"{100 * found['mean']:+.2f}" if metric == "accuracy" else f"{found['mean']:+.3g}"
    return f"{'' if found['larger'] else '~ '}{size}".replace("-", "\N{MINUS SIGN}")


def notes_of(result: Mapping[str, Any]) -> list[str]:
    """Returns how a comparison was made, a sentence each."""
    examples, seeds = result["examples"], len(result["seeds"])
    each = "the same examples for every seed" if result["same_test_part"] else "each seed cuts the data anew"
    said = [searched(result["search"])] if result.get("search") else []
    said.append(
        f"Chosen by the validation part ({examples['validation'] or 0:,} examples); the test part ({examples['test'] or 0:,}, {each}) was opened "
        "once for each trained network and chose nothing."
    )
    if seeds > 1:
        said.append(
            f"Means over {seeds} seeds with Student's 95 % interval{'' if result['same_test_part'] else ' widened as the seeds share examples (Nadeau and Bengio 2003)'}. "
            "Against the best: above 0 is better; paired by seed, Holm's correction for all rows of a table; ~ is not larger than the noise, * the default."
        )
    failed = [row for row in result["rows"] if row["state"] == "failed"]
    said += [f"{_label(row)} failed: {row['reason'].splitlines()[0]}" for row in failed]
    pruned = [row for row in result["rows"] if row["state"] == "pruned"]
    if pruned:
        listed = ", ".join(f"{_label(row)} ({row['epochs']} epochs)" for row in pruned)
        said.append(f"Left out after the first seed: {listed}. Their rows are of that seed alone.")
    companions = {
        f"{_label(row)} with {', '.join(f'{key}={value}' for key, value in row['with'].items())}"
        for row in result["rows"]
        if row["with"]
    }
    said += [f"{'; '.join(sorted(companions))}."] if companions else []
    if result["pruning"]:
        said.append(f"To save time, {result['pruning']}; --no-prune trains all.")
    said.append(
        "The trials are runs without report.html and were not examined; netwright fit RUN/recipe.yaml does both. Times are of training."
    )
    return said


# ---- the page ----


def write_comparison(folder: Path, result: Mapping[str, Any]) -> Path:
    """Writes comparison.html into the folder and returns its path. Raises RunFolderError where it cannot be written."""
    return write_page(folder / PAGE, render_comparison(result))


def render_comparison(result: Mapping[str, Any]) -> str:
    """Returns the page as HTML."""
    examples = result["examples"]
    return (
        page_templates()
        .get_template("comparison.html.jinja")
        .render(
            title=f"{result['data']} · {result['network']}",
            facts=[
                ("Trials", f"{result['trials']:,}"),
                ("Seeds", str(len(result["seeds"]))),
                ("Training examples", f"{examples['train'] or 0:,}"),
                ("Test examples", f"{examples['test'] or 0:,}"),
                ("Training time, all trials", figures.duration(result["training_seconds"])),
            ],
            search=_search(result.get("search")),
            tables=[_shown(number, table) for number, table in enumerate(result["tables"])],
            notes=notes_of(result),
        )
    )


def _shown(number: int, table: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a table as the page shows it: texts, plots and shades."""
    metric = table["metric"]
    return {
        "id": f"table-{number}",
        "title": _title(table),
        "titles": table["titles"],
        "unit": _unit(table),
        "seeds": table["seeds"],
        "heads": [head.capitalize() for head in HEADS],
        "sentences": table["sentences"],
        "rows": [
            {
                "values": _values(row),
                "default": row["default"],
                "state": "" if row["state"] == "finished" else row["state"],
                "cells": _cells(row, metric),
                "run": row["runs"][0] if row["runs"] else "",
            }
            for row in table["rows"]
        ],
        "charts": [one for one in (_dots(number, table), _curves(number, table)) if one],
        "heat": _heat(table),
    }


def _search(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Returns the settings that a search tried, the best first, as texts."""
    if not found:
        return None
    rows = found["rows"]
    return {
        "said": searched(found),
        "names": list(rows[0]["values"]),
        "rows": [
            [
                *_values(row),
                "–" if row["validation"] is None else figures.loss(row["validation"]),
                row["state"],
                str(row["epochs"]),
                row["run"],
            ]
            for row in rows[:SETTINGS_AT_MOST]
        ],
        "more": max(0, len(rows) - SETTINGS_AT_MOST),
    }


def searched(found: Mapping[str, Any]) -> str:
    """Returns a search in one sentence."""
    counts = ", ".join(f"{found[key]} {key}" for key in ("stopped", "failed") if found[key])
    ended = f" ({counts})" if counts else ""
    best = ", ".join(f"{key}={value}" for key, value in found["best"].items()) or "the recipe as it is"
    rule = (
        f" To save time, {found['pruning']}; --no-prune trains all."
        if found["pruning"] and found["stopped"]
        else ""
    )
    return (
        f"Searched {found['settings']} settings with one seed{ended}; the best in validation: {best}.{rule}"
    )


def _label(row: Mapping[str, Any]) -> str:
    return _cut(" + ".join(_values(row)))


def _dots(number: int, table: Mapping[str, Any]) -> dict[str, Any] | None:
    rows = [row for row in table["rows"] if row["mean"] is not None]
    if not rows:
        return None
    shares = table["metric"] == "accuracy"
    points = [
        charts.Dot(_label(row), row["mean"], row["interval"], "first" if place == 0 else "ink")
        for place, row in enumerate(rows)
    ]
    told = "; ".join(
        f"{point.label} {figures.percent(point.value) if shares else figures.loss(point.value)}"
        for point in points
    )
    # The letters are larger on a telephone, where the labels would stick out.
    short = [replace(point, label=_at_most(point.label, NARROW_LABEL)) for point in points]
    wide, narrow = (
        charts.dots(
            points if size else short,
            name=f"dots-{size}{number}",
            label=f"Test {table['metric']} of each variant with its 95 % interval: {told}.",
            across=f"test {table['metric']}",
            shares=shares,
            inches=(inches, 0.9 + 0.3 * len(points)),
        )
        for size, inches in (("wide-", charts.WIDE[0]), ("", charts.NARROW[0]))
    )
    what = "over seeds" if table["seeds"] > 1 else "of the test examples"
    return {
        "name": f"Test {table['metric']} with its 95 % interval",
        "svg": narrow,
        "wide": wide,
        "legend": [],
        "note": f"Intervals {what}; the best in validation is at the top.",
    }


def _curves(number: int, table: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the validation score over epochs: the best, the default and the last variant, the others behind them."""
    rows = [row for row in table["rows"] if row["curves"] and any(row["curves"])]
    if not rows:
        return None
    default = next((row for row in rows if row["default"]), None)
    marked = {rows[0]["variant"]: "first"}
    marked |= {rows[-1]["variant"]: "second"} if len(rows) > 1 else {}
    marked |= {default["variant"]: "ink"} if default and default["variant"] not in marked else {}
    series: list[charts.Series] = []
    legend: list[tuple[str, str]] = []
    for row in reversed(rows):
        heights = mean_curve(row["curves"])
        colour = marked.get(row["variant"], "muted")
        x = list(range(1, len(heights) + 1))
        series.append(charts.Series(x, heights, colour, faint=colour == "muted", dashed=colour == "second"))
        if colour != "muted":
            legend.insert(0, (colour, _label(row)))
    if len(rows) > len(legend):
        legend.append(("muted faint", "the others"))
    shares = table["metric"] == "accuracy"
    wide, narrow = (
        charts.curves(
            series,
            name=f"learning-{size}{number}",
            label=f"Validation {table['metric']} over epochs, mean over seeds, of {len(rows)} variants.",
            across="epoch",
            shares=shares,
            inches=inches,
        )
        for size, inches in (("wide-", charts.WIDE), ("", charts.NARROW))
    )
    name = f"Validation {table['metric']}, epoch by epoch"
    return {"name": name, "svg": narrow, "wide": wide, "legend": legend, "note": "Mean over seeds."}


def mean_curve(curves: Sequence[Sequence[Sequence[float | None]]]) -> list[float]:
    """Returns the mean validation score of each epoch over the seeds that reached it.

    >>> mean_curve([[[1.0, 0.5], [0.9, 0.7]], [[1.0, 0.7]]])
    [0.6, 0.7]
    """
    longest = max(len(curve) for curve in curves)
    heights = []
    for place in range(longest):
        values = [curve[place][1] for curve in curves if len(curve) > place]
        known = [value for value in values if value is not None]
        heights.append(float(np.mean(known)) if known else math.nan)
    return heights


def _heat(table: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the norms of the layers' gradients with their shades, before the first step and at the end."""
    rows = [row for row in table["rows"] if row["gradients"]]
    layers = rows[0]["gradients"]["layers"] if rows else []
    rows = [row for row in rows if row["gradients"]["layers"] == layers]
    if len(layers) < 2 or len(rows) < 2:
        return None
    largest = max(
        (value for row in rows for when in ("start", "end") for value in row["gradients"][when]), default=0.0
    )
    parts = [
        {
            "when": when,
            "rows": [
                {"name": _label(row), "cells": [_cell(value, largest) for value in row["gradients"][key]]}
                for row in rows
            ],
        }
        for key, when in (("start", "Before the first step"), ("end", "With the weights that are kept"))
    ]
    return {"layers": layers, "parts": parts}


def _cell(value: float, largest: float) -> dict[str, str]:
    if not value > 0 or not math.isfinite(value):
        return {"text": figures.loss(value), "shade": "r0"}
    share = 1 - min(math.log10(largest / value) / DECADES, 1)
    return {
        "text": f"{value:.2g}" if value >= 0.01 else figures.exponent(value),
        "shade": f"r{round(10 * share)}",
    }
