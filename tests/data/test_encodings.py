"""Bytes to text, against Python's own codecs."""

import codecs

import pytest

from netwright.data.encodings import decode_text, read_text
from netwright.errors import DataError

GERMAN = "Zwölf Boxkämpfer – “jagen”\nEva quer über den Sylter Deich €"


@pytest.mark.parametrize(
    ("content", "used"),
    [
        (GERMAN.encode("utf-8"), "utf-8"),
        (codecs.BOM_UTF8 + GERMAN.encode("utf-8"), "utf-8-sig"),
        (GERMAN.encode("utf-16"), "utf-16"),
        (codecs.BOM_UTF16_BE + GERMAN.encode("utf-16-be"), "utf-16"),
        (GERMAN.encode("utf-32"), "utf-32"),
        (GERMAN.encode("cp1252"), "cp1252"),
    ],
)
def test_each_encoding_is_told_from_the_others(content, used):
    assert decode_text(content, where="x") == (GERMAN, used)


def test_every_byte_has_a_meaning_where_it_is_not_utf8():
    content = bytes(range(1, 256)).replace(b"\r", b"").replace(b"\n", b"")
    text, used = decode_text(content, where="x")
    assert used == "cp1252" and len(text) == len(content)
    for byte, character in zip(content, text, strict=True):
        piece = bytes([byte])
        try:
            assert character == piece.decode("cp1252")
        except UnicodeDecodeError:
            assert character == piece.decode("latin-1")


def test_line_ends_are_one(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\rthree\n")
    assert read_text(tmp_path / "a.txt") == ("one\ntwo\nthree\n", "utf-8")


def test_a_given_encoding_is_kept_to():
    assert decode_text("é".encode(), where="x", encoding="latin-1") == ("Ã©", "latin-1")
    with pytest.raises(DataError, match=r"menu.txt: expected utf-8 text, came the byte 0xe9 at 9 \(line 2\)"):
        decode_text(b"soup\ncaf \xe9", where="menu.txt", encoding="utf-8")
    with pytest.raises(DataError, match=r"expected an encoding such as utf-8.*came 'utf-9'"):
        decode_text(b"soup", where="x", encoding="utf-9")


def test_what_is_no_text_is_refused(tmp_path):
    with pytest.raises(DataError, match="expected text, came bytes that are none"):
        decode_text(b"\x89PNG\0\0", where="x")
    with pytest.raises(DataError, match="cannot be read"):
        read_text(tmp_path / "none.txt")
