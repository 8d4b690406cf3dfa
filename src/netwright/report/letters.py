"""Texts of strangers at a length that fits the page."""

from __future__ import annotations

from markupsafe import escape

LETTERS_AT_MOST = {"name": 120, "value": 200, "text": 1_500, "file": 60_000}


def cut(text: object, kind: str) -> str:
    """Returns the text, or its beginning and the count of what follows, by its bytes on the page."""
    limit, whole = LETTERS_AT_MOST[kind], str(text)
    kept: list[str] = []
    used = 0
    for letter in whole[: limit + 1]:
        used += 1 if letter.isascii() and letter.isalnum() else len(escape(letter).encode("utf-8"))
        if used > limit:
            rest = f"… ({len(whole) - len(kept):,} characters more)" if kind != "name" else "…"
            return "".join(kept) + rest
        # Control characters are not allowed in HTML.
        kept.append(letter if letter.isprintable() or letter in "\n\t" else "\N{REPLACEMENT CHARACTER}")
    return "".join(kept)
