"""Bodies as they come in: counted while they are read, for a limited time, within what memory all of them may take."""

from __future__ import annotations

import asyncio
from typing import Any

from netwright.shipping.server.limits import Limits, Refusal, too_large


class Gone(Exception):
    """The client went away before its request was whole."""


class Bodies:
    """Receives bodies. `held` is how many bytes of those above `small_bytes` are in memory at the moment."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.held = 0

    async def receive(self, request: Any) -> tuple[bytes, int]:
        """Returns the body of a request and what `release` is to be given back; raises Refusal or Gone."""
        stated = request.headers.get("content-length")
        if stated is not None and stated.isdecimal() and int(stated) > self.limits.body_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                return await self._receive(request)
        except TimeoutError:
            raise Refusal(
                408, f"the body did not come within {self.limits.body_seconds:g} seconds", close=True
            ) from None

    async def _receive(self, request: Any) -> tuple[bytes, int]:
        body, taken = bytearray(), 0
        try:
            while True:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise Gone
                chunk = message.get("body", b"")
                if len(body) + len(chunk) > self.limits.body_bytes:
                    raise self._too_large()
                body += chunk
                taken += self._take(len(body), taken)
                if not message.get("more_body", False):
                    return bytes(body), taken
        except BaseException:
            self.release(taken)
            raise

    def _take(self, size: int, taken: int) -> int:
        """Returns how many bytes more are counted for a body that has come to `size`; raises Refusal if there is no room."""
        if size <= self.limits.small_bytes:
            return 0
        more = size - taken
        if self.held + more > self.limits.held_bytes:
            raise Refusal(503, "too many large bodies are being received: try again in a second", close=True)
        self.held += more
        return more

    def release(self, taken: int) -> None:
        """Gives back what `receive` counted."""
        self.held -= taken

    def _too_large(self) -> Refusal:
        refusal = too_large(f"the body is larger than {self.limits.body_bytes:,} bytes (serve --max-bytes)")
        refusal.close = True  # what is still to come is not read
        return refusal
