"""How well parts of the test set were judged, in words and as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netwright.report import figures
from netwright.report.letters import cut

ROWS_AT_FIRST, ROWS_AT_MOST, NAMED_AT_MOST = 24, 100, 5
# Of a part's name in the terminal.
NAME_LETTERS = 55


def slice_rows(slices: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Returns what the page shows of `slices` as in result.json: a sentence, and rows in the order of what they are cut by."""
    if not slices or not slices["rows"]:
        return None
    rows = slices["rows"]
    key = "accuracy" if "accuracy" in rows[0] else "rmse"
    ends = [end for row in rows for end in row["interval"]]
    low, high = min(ends), max(ends)
    shown = [_row(row, key, low, max(high - low, 1e-12)) for row in rows]
    many = len(shown) > ROWS_AT_FIRST
    return {
        "words": told(slices),
        "score": "Accuracy" if key == "accuracy" else "RMSE",
        "scale": figures.interval([low, high], shares=key == "accuracy"),
        "rows": [row for row in shown if row["worse"]][:ROWS_AT_FIRST] if many else shown,
        "count": len(shown),
        "all": shown[:ROWS_AT_MOST] if many else [],
        "left_out": slices.get("left_out") or "",
    }


def told(slices: Mapping[str, Any]) -> str:
    """Returns the sentence that names the parts that are worse than the rest by more than chance, or that there are none.

    >>> row = {"by": "sex", "slice": "male", "examples": 60, "accuracy": 0.5, "rest": 0.75, "p": 0.001, "worse": True}
    >>> told({"rows": [row]})
    'Worse than the rest by more than chance: sex male (50.00 %, the rest 75.00 %).'
    """
    worse = worst_first(slices)
    if not worse:
        test = "Fisher's exact test" if "accuracy" in slices["rows"][0] else "Welch's t-test"
        count = f"{len(slices['rows']):,} parts"
        return (
            f"No part is worse than the rest by more than chance ({test}, corrected for {count} after Holm)."
        )
    named = "; ".join(named_slice(row) for row in worse[:NAMED_AT_MOST])
    more = f"; and {len(worse) - NAMED_AT_MOST:,} more" if len(worse) > NAMED_AT_MOST else ""
    return f"Worse than the rest by more than chance: {named}{more}."


def worst_first(slices: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns the rows that are worse than the rest by more than chance, the surest first."""
    return sorted((row for row in slices["rows"] if row["worse"]), key=lambda row: row["p"])


def named_slice(row: Mapping[str, Any]) -> str:
    """Returns a slice with its score and that of the rest."""
    return f"{cut(row['by'], 'name')} {cut(row['slice'], 'name')} ({_scores(row)})"


def _row(row: Mapping[str, Any], key: str, low: float, span: float) -> dict[str, Any]:
    show = figures.percent if key == "accuracy" else figures.loss
    begin, end = ((value - low) / span for value in row["interval"])
    return {
        "by": cut(row["by"], "name"),
        "name": cut(row["slice"], "name"),
        "score": show(row[key]),
        "interval": figures.interval(row["interval"], shares=key == "accuracy"),
        "examples": f"{row['examples']:,}",
        "worse": row["worse"],
        "left": f"{100 * begin:.1f}",
        "width": f"{100 * (end - begin):.1f}",
        "dot": f"{100 * (row[key] - low) / span:.1f}",
    }


def summary_lines(slices: Mapping[str, Any] | None) -> Sequence[str]:
    """Returns the lines for the terminal, each at most 78 letters long, where a part is worse than the rest."""
    worse = worst_first(slices) if slices else []
    if not worse:
        return []
    name = figures.printable(f"{worse[0]['by']} {worse[0]['slice']}")
    name = name if len(name) <= NAME_LETTERS else f"{name[: NAME_LETTERS - 1]}…"
    more = f"; {len(worse) - 1:,} more in the report" if len(worse) > 1 else ""
    return [f"worse than the rest: {name}", f"    {_scores(worse[0])}{more}"]


def _scores(row: Mapping[str, Any]) -> str:
    shares = "accuracy" in row
    score, rest = (
        figures.percent(value) if shares else figures.loss(value)
        for value in (row["accuracy" if shares else "rmse"], row["rest"])
    )
    return f"{'' if shares else 'RMSE '}{score}, the rest {rest}"
