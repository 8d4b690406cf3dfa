"""The files of a form (multipart/form-data, RFC 7578), in memory: the body has been received whole already."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from netwright.shipping.server.limits import Limits, Refusal, too_large

# It warns of each form that is none, which the client is told.
logging.getLogger("python_multipart").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Part:
    """One part of a form: the name of its file, or else of its field, its media type (perhaps empty) and its bytes."""

    name: str
    media: str
    content: bytes


def read_parts(body: bytes, content_type: str, limits: Limits) -> list[Part]:
    """Returns the parts of a form in their order; raises Refusal for what is none, or has too many of them."""
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header

    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise Refusal(400, "multipart/form-data: the Content-Type names no boundary")
    collected = _Collected(limits)
    try:
        parser = MultipartParser(boundary, collected.callbacks(), max_header_count=16, max_header_size=4096)  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise Refusal(400, f"multipart/form-data: {str(error)[:160]}") from None
    if not collected.ended:
        raise Refusal(400, "multipart/form-data: the form ends before its last boundary")
    return collected.parts


class _Collected:
    """What the parser calls; keeps the parts."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.parts: list[Part] = []
        self.ended = False
        self._fresh()

    def _fresh(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._field, self._value, self._content = bytearray(), bytearray(), bytearray()

    def callbacks(self) -> dict[str, Any]:
        def gather(name: str) -> Any:
            return lambda data, start, end: getattr(self, name).extend(data[start:end])

        return {
            "on_part_begin": self._begin,
            "on_header_field": gather("_field"),
            "on_header_value": gather("_value"),
            "on_header_end": self._end_header,
            "on_part_data": gather("_content"),
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.parts) == self.limits.inputs:
            raise too_large(f"the form has more than {self.limits.inputs:,} parts")
        self._fresh()

    def _end_header(self) -> None:
        self._headers[bytes(self._field).lower()] = bytes(self._value)
        self._field, self._value = bytearray(), bytearray()

    def _end_part(self) -> None:
        from python_multipart.multipart import parse_options_header

        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"filename") or options.get(b"name") or b""
        shown = name.decode("utf-8", "replace")[-200:] or f"part {len(self.parts)}"
        media = self._headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
        self.parts.append(Part(shown, media, bytes(self._content)))

    def _end(self) -> None:
        self.ended = True
