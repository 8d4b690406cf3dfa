"""How the list of runs and two runs side by side look in the terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from netwright.report import figures
from netwright.report.terminal import COLUMNS, console_on, plain_table, styled

ENTRIES_AT_MOST = 4
DIFFERENCES_AT_LEAST = 20
HEADS = ("run", "score", "95 % interval", "epochs", "time", "findings")


def show_list(
    rows: Sequence[Mapping[str, Any]], *, folder: str, whole: bool, stream: TextIO | None = None
) -> None:
    """Prints a line for each run: its score, what differs in its recipe, its epochs and time, and what the examiner found."""
    import rich.padding

    console = console_on(stream or sys.stdout)
    if not rows:
        console.print(styled(f"  no run in {folder}: netwright fit digits makes one in runs"))
        return
    table, cells = plain_table(), [_cells(row) for row in rows]
    needed = DIFFERENCES_AT_LEAST
    for place, name in enumerate(HEADS):
        width = max(len(name), *(len(styled(texts[place])) for texts in cells))
        needed += width + 2
        between = name not in ("run", "findings")
        table.add_column(name, justify="right" if between else "left", no_wrap=True, min_width=width)
    table.add_column("differs in", overflow="fold", min_width=DIFFERENCES_AT_LEAST)
    for texts in cells:
        table.add_row(*(styled(cell) for cell in texts))
    # A list is as wide as the terminal, and wider where its names and scores would be cut; where there is none, nothing is cut.
    console.width = max(COLUMNS, shutil.get_terminal_size((200, 24)).columns, needed + 2)
    console.print()
    console.print(rich.padding.Padding(table, (0, 0, 0, 2), expand=False))
    console.print()
    for row in rows:
        if row["state"] == "broken":
            console.print(styled(f"  {row['run']} is broken: {row['reason']}", "yellow"), soft_wrap=True)
    if not whole:
        console.print(
            styled(f"  {folder} is large, and not all of it was looked through: name a folder inside it")
        )


def _cells(row: Mapping[str, Any]) -> list[str]:
    shares = row["metric"] == "accuracy"
    if row["score"] is None:
        score = "" if row["state"] == "finished" else row["state"]
    else:
        score = (
            figures.percent(row["score"])
            if shares
            else f"{figures.loss(row['score'])} {row['metric'].replace('_', ' ')}"
        )
    interval = (
        ""
        if row["interval"] is None
        else figures.interval(row["interval"], shares=shares).replace(" to ", "–")
    )
    findings = ", ".join(
        f"{count} {level}{'s' if count > 1 and level != 'advice' else ''}"
        for level, count in row["findings"].items()
    )
    seconds = "" if row["seconds"] is None else figures.duration(row["seconds"])
    return [
        row["run"],
        score,
        interval,
        str(row["epochs"] or ""),
        seconds,
        findings,
        differing(row["differs"]),
    ]


def differing(entries: Mapping[str, Any]) -> str:
    """Returns what differs in a recipe, the first few entries.

    >>> differing({"optimizer.lr": 0.1, "network.name": "cnn"})
    'optimizer.lr=0.1, network.name=cnn'
    """
    shown = [f"{key}={_value(value)}" for key, value in list(entries.items())[:ENTRIES_AT_MOST]]
    more = len(entries) - len(shown)
    return ", ".join([*shown, f"and {more} more"] if more else shown)


def _value(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def show_pair(found: Mapping[str, Any], *, stream: TextIO | None = None) -> None:
    """Prints two runs side by side: what differs in their recipes, their scores, and whether these differ by more than the noise."""
    import rich.padding

    console = console_on(stream or sys.stdout)
    console.width = max(COLUMNS, shutil.get_terminal_size((120, 24)).columns)
    table = plain_table()
    for name in ("", *found["runs"]):
        table.add_column(styled(name), overflow="fold")
    for key, values in found["recipe"].items():
        table.add_row(*(styled(cell) for cell in (key, *map(_value, values))))
    for name, cells in _score_rows(found["scores"]):
        table.add_row(styled(name), *(styled(cell, "bold") for cell in cells))
    console.print()
    if not found["recipe"]:
        console.print(styled("  The recipes are the same."))
    console.print(rich.padding.Padding(table, (0, 0, 0, 2), expand=False))
    console.print()
    console.print(rich.padding.Padding(styled(found["differ"]["says"]), (0, 0, 0, 2), expand=False))
    console.print()


def _score_rows(scores: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    rows = []
    names = dict.fromkeys(name for one in scores for name in (one["test"] or {}) if name != "interval")
    for name in names:
        values = [(one["test"] or {}).get(name) for one in scores]
        shown = figures.percent if name in ("accuracy", "unlike_training") else figures.loss
        rows.append((name.replace("_", " "), [shown(value) for value in values]))
    intervals = [(one["test"] or {}).get("interval") for one in scores]
    if any(intervals):
        shares = any("accuracy" in (one["test"] or {}) for one in scores)
        named = [name for name, _ in rows]
        place = next((named.index(name) for name in ("accuracy", "rmse") if name in named), 0)
        rows.insert(
            place + 1, ("95 % interval", [figures.interval(value, shares=shares) for value in intervals])
        )
    rows.append(("epochs", [str(one["epochs"] or "–") for one in scores]))
    rows.append(
        ("time", ["–" if one["seconds"] is None else figures.duration(one["seconds"]) for one in scores])
    )
    rows.append(("findings", [str(one["findings"]) for one in scores]))
    return rows
