"""What a data set holds, in words and as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netwright.report.letters import cut

CLASSES_AT_MOST = 100
TITLES = {"train": "Training", "validation": "Validation", "test": "Test"}


def holdings(data: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Returns what the page shows of `data` as in result.json: tables of counts and gaps, and a sentence on copies."""
    if not data:
        return None
    classes = data.get("classes") or []
    parts = list(data["parts"])
    total = max(sum(data["parts"].values()), 1)
    return {
        "parts": [TITLES[part] for part in parts],
        "rows": [
            {"name": cut(row["class"], "name"), "counts": [f"{row.get(part, 0):,}" for part in parts]}
            for row in classes[:CLASSES_AT_MOST]
        ],
        "more": max(0, len(classes) - CLASSES_AT_MOST),
        "total": [f"{count:,}" for count in data["parts"].values()],
        "range": _range(data.get("range")),
        "gaps": [
            (
                cut(row["column"], "name"),
                f"{row['gaps']:,}",
                f"{100 * row['gaps'] / max(data['parts']['train'], 1):.1f} %",
            )
            for row in data.get("gaps") or []
        ],
        "copies": copied(data.get("copies"), total),
        "pairs": [
            [cut(name, "name") for name in pair] for pair in (data.get("copies") or {}).get("pairs") or []
        ],
    }


def copied(copies: Mapping[str, Any] | None, total: int) -> str:
    """Returns the sentence on examples of equal content.

    >>> copied({"within": 2, "between": 0, "differing": 1, "pairs": []}, 100)
    'Of 100 examples 2 are copies of another one in the same part, 0 of one in another part; 1 of them has another target than its copy.'
    """
    if not copies:
        return ""
    if copies.get("reason"):
        return f"Copies were not looked for: {copies['reason']}."
    within, between, differing = (copies[key] for key in ("within", "between", "differing"))
    if not within and not between:
        return f"No two of {total:,} examples are equal."
    have = "has" if differing == 1 else "have"
    more = f"; {differing:,} of them {have} another target than its copy" if differing else ""
    return f"Of {total:,} examples {within:,} are copies of another one in the same part, {between:,} of one in another part{more}."


def _range(ends: Any) -> str:
    return "" if not ends else f"Raw numbers lie from {ends[0]:g} to {ends[1]:g} in training."
