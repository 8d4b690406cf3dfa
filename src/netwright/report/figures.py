"""Numbers as people read them; one way for the terminal and the page."""

from __future__ import annotations

import math


def loss(value: float | None) -> str:
    """Returns a loss in at most six or seven characters.

    >>> loss(0.14234), loss(12.3456), loss(1234.5), loss(123456.0), loss(0.0000123), loss(float("nan"))
    ('0.1423', '12.346', '1234.5', '1.2e+5', '1.2e-5', 'nan')
    """
    if value is None:
        return "–"
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size >= 10_000 or 0 < size < 0.001:
        return exponent(value)
    return f"{value:.{4 if size < 10 else 3 if size < 100 else 2 if size < 1000 else 1}f}"


def exponent(value: float) -> str:
    """Returns two digits and the power of ten, without its idle zeros.

    >>> exponent(0.001), exponent(0.00025), exponent(0.0)
    ('1.0e-3', '2.5e-4', '0')
    """
    if value == 0:
        return "0"
    digits, power = f"{value:.1e}".split("e")
    return f"{digits}e{power[0]}{power[1:].lstrip('0') or '0'}"


def percent(share: float | None) -> str:
    """Returns a share of 1 in percent, two digits after the point, never rounded up to 100 nor down to 0.

    >>> percent(0.97222), percent(1.0), percent(0.999999), percent(0.0000001), percent(None)
    ('97.22 %', '100.00 %', '99.99 %', '0.01 %', '–')
    """
    if share is None:
        return "–"
    shown = f"{100 * share:.2f}"
    if shown == "100.00" and share < 1:
        shown = "99.99"
    if shown == "0.00" and share > 0:
        shown = "0.01"
    return f"{shown} %"


def duration(seconds: float) -> str:
    """Returns a time in its two largest units.

    >>> duration(0.0042), duration(4.23), duration(59.96), duration(124), duration(7384), duration(200000)
    ('4 ms', '4.2 s', '1 min 0 s', '2 min 4 s', '2 h 3 min', '2 d 7 h')
    """
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, part, part_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part} {part_unit}"
    return f"{whole} s"


def clock(seconds: float) -> str:
    """Returns hours, minutes and seconds.

    >>> clock(4.2), clock(124), clock(7384)
    ('0:04', '2:04', '2:03:04')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def interval(bounds: list[float] | tuple[float, float] | None, *, shares: bool) -> str:
    """Returns both ends of an interval; `shares` of 1 are given in percent.

    >>> interval([0.9501, 0.9853], shares=True), interval([0.51, 0.58], shares=False), interval(None, shares=False)
    ('95.01 to 98.53 %', '0.5100 to 0.5800', '–')
    """
    if bounds is None:
        return "–"
    low, high = bounds
    return f"{percent(low)[:-2]} to {percent(high)}" if shares else f"{loss(low)} to {loss(high)}"


def printable(text: object) -> str:
    """Returns the text with control characters replaced: a file's name must not drive a terminal.

    >>> printable("cat" + chr(27) + "[2J")
    'cat�[2J'
    """
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(text))
