"""Bytes to text, by a rule that is told: what says its encoding, else UTF-8, else Windows-1252."""

from __future__ import annotations

import codecs
from pathlib import Path

from netwright.errors import DataError

# The longer marks first: that of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode_text(content: bytes, *, where: str, encoding: str | None = None) -> tuple[str, str]:
    """Returns the text of a file's bytes, with "\\n" at the end of every line, and the encoding by which it was read.

    `encoding` None: what a byte order mark says; else UTF-8; where the bytes are not UTF-8, Windows-1252, whose five
    bytes without a meaning are read as in ISO-8859-1. Raises DataError for bytes that are no text (they hold NUL),
    and for those that the given encoding does not have, with line and byte.

    >>> decode_text(b"caf\\xe9\\r\\n", where="menu.txt")
    ('café\\n', 'cp1252')
    """
    used = encoding or next((name for mark, name in _MARKS if content.startswith(mark)), None)
    try:
        if used is not None:
            text = content.decode(used)
        else:
            text, used = _utf8_or_windows(content)
    except LookupError:
        raise DataError(
            f"text.encoding: expected an encoding such as utf-8, latin-1 or cp1252, came {encoding!r}"
        ) from None
    except UnicodeError as error:
        raise DataError(f"{where}: expected {used} text, came {_wrong_place(content, error)}") from None
    if "\0" in text:
        raise DataError(f"{where}: expected text, came bytes that are none (NUL at {text.index(chr(0)):,})")
    return text.replace("\r\n", "\n").replace("\r", "\n"), used


def read_text(path: Path, *, encoding: str | None = None) -> tuple[str, str]:
    """Returns what `decode_text` does of a file; raises DataError also where it cannot be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    return decode_text(content, where=str(path), encoding=encoding)


def _utf8_or_windows(content: bytes) -> tuple[str, str]:
    try:
        return content.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        pass
    try:
        return content.decode("cp1252"), "cp1252"
    except UnicodeDecodeError:  # one of the five bytes
        pieces = (bytes([byte]) for byte in range(256))
        table = "".join(piece.decode("cp1252", "ignore") or piece.decode("latin-1") for piece in pieces)
        return content.decode("latin-1").translate(dict(enumerate(table))), "cp1252"


def _wrong_place(content: bytes, error: UnicodeError) -> str:
    if not isinstance(error, UnicodeDecodeError):
        return str(error)
    line = content.count(b"\n", 0, error.start) + 1
    return f"the byte 0x{content[error.start]:02x} at {error.start:,} (line {line:,})"
