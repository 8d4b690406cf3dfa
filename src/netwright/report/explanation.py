"""Why one example was answered as it was: for the terminal, as a page, and as a notebook's output."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from netwright.report import figures, pictures
from netwright.report.html import page_templates, short_texts, write_page

PARTS_AT_MOST, ROWS_OF_TEXT = 40, 12
TOKENS_AT_MOST = 1500
BAR = 24
LINES_AT_MOST = 40
# A sum further from its law than this share of it is told to be off.
OFF_BY = 0.1
# Of a map's picture: one shade is the largest of its numbers but the top one in 200, so that a single pixel does not dim all others.
BRIGHTEST = 0.995
SIDE = 336
FOR, AGAINST = (178, 74, 0), (31, 95, 196)


def explanation_text(found: Any) -> str:
    """Returns an explanation (`netwright.explaining.Explanation`) as lines for the terminal."""
    lines = [_said(found), f"explained: {found.of}, {found.score:.4g} ({_unit(found.unit)})"]
    for one in found.maps:
        lines += [
            "",
            f"{one.attribution.method}: {one.what}",
            *(f"  {line}" for line in _checks(one.attribution)),
        ]
        lines += _bars(one.parts) if one.parts else [f"  {line}" for line in _places(one.grid)]
    lines += [f"\nno {name}: {why}" for name, why in found.left_out.items()]
    return "\n".join(lines)


def _answer(record: dict[str, Any]) -> str:
    """Returns the label, or the value in a few letters."""
    if record["label"] is not None:
        return figures.printable(record["label"])
    value = record["value"]
    return f"{value:.5g}" if isinstance(value, float) else f"{np.size(value)} values"


def _said(found: Any) -> str:
    record = found.record
    words = f"{figures.printable(str(record['input']))}  "
    if record["label"] is None:
        words += _answer(record) + ("" if found.truth is None else f", in truth {found.truth}")
    else:
        words += f"{record['label']} {record['probabilities'][record['label']]:.1%}"
        if found.truth is not None:
            words += " (right)" if found.truth == record["label"] else f", in truth {found.truth}"
    return words + ("  unlike the training data" if record.get("unlike_training") else "")


def _unit(unit: str) -> str:
    return "log-odds in nats, before calibration" if unit == "log-odds" else unit


def _checks(found: Any) -> list[str]:
    """Returns what was checked of a map, one sentence each."""
    said = []
    if found.sum_wanted is not None:
        total = math.fsum(found.values.flatten().tolist())
        off = abs(total - found.sum_wanted) > OFF_BY * abs(found.sum_wanted)
        said.append(
            f"the parts add up to {total:.4g}; by the method's law they must come to {found.sum_wanted:.4g}"
            + (": IT IS OFF, because the answer bends too sharply on the way" if off else "")
        )
    if found.likeness is None:
        said.append(f"not compared with shuffled weights: {found.reason}")
    else:
        verdict = (
            "it changes with the weights, as it must"
            if found.tells
            else "IT HARDLY CHANGES WITH THE WEIGHTS: it shows the input more than what was learned"
        )
        said.append(f"rank correlation with the maps of shuffled weights {found.likeness:.2f}: {verdict}")
    return said


def _bars(parts: Sequence[Any]) -> list[str]:
    """Returns the parts that add most, either way, with a bar for each."""
    ranked = sorted(parts, key=lambda part: -abs(part.adds))[:ROWS_OF_TEXT]
    most = max((abs(part.adds) for part in ranked), default=0.0) or 1.0
    names = [_named(part) for part in ranked]
    more = f"{len(parts) - len(ranked):,} more" if len(parts) > len(ranked) else ""
    wide = min(40, max(map(len, [*names, more]), default=0))
    lines = [
        f"  {name[:wide]:<{wide}}  {part.adds:+10.4g}  {'█' * round(BAR * abs(part.adds) / most)}"
        for name, part in zip(names, ranked)
    ]
    if more:
        rest = math.fsum(part.adds for part in parts) - math.fsum(part.adds for part in ranked)
        lines.append(f"  {more:<{wide}}  {rest:+10.4g}")
    return lines


def _named(part: Any) -> str:
    return figures.printable(f"{part.name} = {part.text}" if part.text else part.name)


def _places(grid: np.ndarray) -> list[str]:
    """Returns in words where a picture's map is strongest: the ninth of it."""
    height, width = grid.shape
    words = []
    for sign, name in ((1, "for it"), (-1, "against it")):
        strength = np.clip(sign * grid, 0, None)
        if not strength.sum():
            continue
        ninths = {
            f"{vertical} {horizontal}": float(strength[top:bottom, left:right].sum() / strength.sum())
            for vertical, top, bottom in _thirds(height, ("top", "middle", "bottom"))
            for horizontal, left, right in _thirds(width, ("left", "centre", "right"))
        }
        place, share = max(ninths.items(), key=lambda item: item[1])
        words.append(f"{name} most at the {place}: {share:.0%} of it")
    return words


def _thirds(side: int, names: Sequence[str]) -> list[tuple[str, int, int]]:
    edges = [round(side * part / 3) for part in range(4)]
    return [(name, edges[number], edges[number + 1]) for number, name in enumerate(names)]


# ---- the page ----


def write_explanation(path: str | os.PathLike[str], found: Any) -> Path:
    """Writes the page, whole or not at all, and returns its path. Raises RunFolderError where it cannot be written."""
    page = page_templates().get_template("explanation.html.jinja").render(page=True, **_content(found))
    return write_page(path, page)


def explanation_fragment(found: Any) -> Markup:
    """Returns what a notebook shows: the page without its frame, with its style inside."""
    return Markup(
        page_templates().get_template("explanation.html.jinja").render(page=False, **_content(found))
    )


def _content(found: Any) -> dict[str, Any]:
    record = found.record
    shares = sorted((record.get("probabilities") or {}).items(), key=lambda item: -item[1])
    return {
        "title": found.title,
        "input": figures.printable(str(record["input"])),
        "said": _answer(record),
        "truth": found.truth,
        "right": found.truth == record["label"],
        "classes": record["label"] is not None,
        "unlike": bool(record.get("unlike_training")),
        "shares": [(name, figures.percent(share), f"{100 * share:.2f}") for name, share in shares[:10]],
        "of": found.of,
        "score": f"{found.score:.4g}",
        "unit": _unit(found.unit),
        "picture": None if found.picture is None else pictures.data_uri(found.picture, side=SIDE),
        "small": found.picture is not None and max(found.picture.shape[:2]) <= 112,
        "maps": [_shown_map(one, found.picture) for one in found.maps],
        "left_out": list(found.left_out.items()),
        "remarks": short_texts(record.get("remarks") or []),
    }


def _shown_map(one: Any, picture: np.ndarray | None) -> dict[str, Any]:
    attribution = one.attribution
    tokens, series = one.kind == "tokens", one.grid is not None and picture is None
    drawn = None if one.grid is None else heat(one.grid.T if series else one.grid, under=picture)
    return {
        "name": attribution.method,
        "what": one.what,
        "checks": [check[0].upper() + check[1:] for check in _checks(attribution)],
        "fails": attribution.tells is False,
        "signed": attribution.signed,
        "picture": None if drawn is None else pictures.data_uri(drawn, side=SIDE),
        "lines": one.columns[:LINES_AT_MOST] if series and len(one.columns) <= LINES_AT_MOST else (),
        "series": series,
        "label": "" if one.grid is None else "; ".join(_places(one.grid)),
        "tokens": _tokens(one.parts[:TOKENS_AT_MOST]) if tokens else [],
        "more_tokens": max(0, len(one.parts) - TOKENS_AT_MOST) if tokens else 0,
        "rows": _rows(one.parts),
    }


def _rows(parts: Sequence[Any]) -> list[dict[str, str]]:
    ranked = sorted(parts, key=lambda part: -abs(part.adds))[:PARTS_AT_MOST]
    most = max((abs(part.adds) for part in ranked), default=0.0) or 1.0
    return [
        {
            "name": figures.printable(part.name),
            "text": figures.printable(part.text),
            "adds": f"{part.adds:+.4g}".replace("-", "\N{MINUS SIGN}"),
            "tone": "for" if part.adds >= 0 else "against",
            "width": f"{100 * abs(part.adds) / most:.1f}",
        }
        for part in ranked
    ]


def _tokens(parts: Sequence[Any]) -> list[dict[str, str]]:
    most = max((abs(part.adds) for part in parts), default=0.0) or 1.0
    return [
        {
            "text": figures.printable(part.name),
            "tone": "for" if part.adds >= 0 else "against",
            "strength": f"{abs(part.adds) / most:.2f}",
            "adds": f"{part.adds:+.3g}".replace("-", "\N{MINUS SIGN}"),
        }
        for part in parts
    ]


def heat(grid: np.ndarray, *, under: np.ndarray | None = None) -> np.ndarray:
    """Returns a map (H, W) as a picture (H, W, 3) uint8: orange speaks for, blue against, white neither; small maps are enlarged.

    `under`: the picture that was explained, (H, W) or (H, W, 3) uint8, which shines through in grey.
    """
    strength = np.abs(grid)
    brightest = float(np.quantile(strength, BRIGHTEST)) or float(strength.max()) or 1.0
    share = np.clip(strength / brightest, 0, 1)[..., None]
    ground = np.full((*grid.shape, 3), 255.0)
    if under is not None and under.shape[:2] == grid.shape:
        grey = under.astype(float).mean(axis=-1) if under.ndim == 3 else under.astype(float)
        ground = np.repeat(255 - 0.18 * (255 - grey)[..., None], 3, axis=2)
    hue = np.where(grid[..., None] >= 0, np.array(FOR, dtype=float), np.array(AGAINST, dtype=float))
    return (ground * (1 - share) + hue * share).round().astype(np.uint8)
