"""HTTP/1.1 as uvicorn speaks it, with a limit on how long a client may take: the slow and the silent hold nobody up."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from netwright.shipping.server.limits import Limits

# A connection that has not yet sent its request is not closed for another before this many seconds.
GRACE_SECONDS = 1.0


def protocol_of(limits: Limits) -> type[asyncio.Protocol]:
    """Returns the protocol with these limits, as `uvicorn.Config(http=)` takes it."""
    return type("LimitedProtocol", (_Limited,), {"limits": limits})


class _Together:
    """A transport that sends what is written in one turn of the event loop by one call of the system: an answer's head and body."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._written: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._written:
            self._loop.call_soon(self._flush)
        self._written.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._written:
            data, self._written = b"".join(self._written), []
            if not self._transport.is_closing():
                self._transport.write(data)


class _Limited(HttpToolsProtocol):
    limits: Limits
    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _since = 0.0
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(cast(asyncio.Transport, _Together(transport, self.loop)))
        self._since = self.loop.time()
        self._watch()
        if len(self.connections) >= self.limits.connections:
            self._close_the_slowest(len(self.connections) - self.limits.connections + 1)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()
        # The parser keeps what it is given until the head is whole.
        self._head_bytes = self._head_bytes + len(data) if self._before_request else 0
        if self._head_bytes > self.limits.head_bytes and not self.transport.is_closing():
            self.send_400_response(f"The head is larger than {self.limits.head_bytes} bytes.")

    def on_response_complete(self) -> None:
        self._since = self.loop.time()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop(self._head_timer)
        self._stop(self._write_timer)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.limits.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop(self._write_timer)
        super().resume_writing()

    @property
    def sending(self) -> bool:
        """Whether the client is still to send its request, or the rest of it."""
        return self._before_request or bool(self.cycle.more_body)

    @property
    def _before_request(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _watch(self) -> None:
        """Begins to count the time for a request's head, or stops where it is there."""
        if not self._before_request:
            self._stop(self._head_timer)
            self._head_timer = None
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.limits.head_seconds, self._give_up)

    def _give_up(self) -> None:
        self._head_timer = None
        if self._before_request and not self.transport.is_closing():
            self.transport.abort()

    def _close_the_slowest(self, count: int) -> None:
        """Ends so many connections that have been sending, or silent, for longest; with none of that kind uvicorn answers 503.

        Several, because more than the limit may have come within one second of grace.
        """
        now = self.loop.time()
        slow = [
            other
            for other in self.connections
            if isinstance(other, _Limited) and other.sending and now - other._since > GRACE_SECONDS
        ]
        for other in sorted(slow, key=lambda other: other._since)[:count]:
            other.transport.abort()

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()
