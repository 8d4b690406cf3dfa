"""A server that listens: its socket, its signals, its end."""

from __future__ import annotations

import errno
import logging
import socket
import sys
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from netwright.errors import ServingError
from netwright.shipping.answers import Answering
from netwright.shipping.server.app import Application
from netwright.shipping.server.limits import Limits
from netwright.shipping.server.protocol import protocol_of


def bound_socket(host: str, port: int) -> socket.socket:
    """Returns a socket at this address, which does not listen yet; port 0 becomes any that is free.

    Raises ServingError: the port is in use, not allowed, or the host is not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError, OverflowError) as error:
        raise ServingError(f"--host {host}: no address of this machine ({error})") from None
    # With the protocol named: asyncio sends without Nagle's delay (40 ms an answer) only where it sees that it is TCP.
    found = socket.socket(family, kind, protocol)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(2048)
    except OSError as error:
        found.close()
        raise ServingError(_explained(error, host, port)) from None
    return found


def _explained(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use by another program.\nGive another one, or --port 0 for any that is free."
    if error.errno == errno.EACCES:
        return f"port {port} is not for everyone: ports below 1024 need rights that this program does not have.\nGive a higher one."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {host}: no address of this machine. 127.0.0.1 is this machine alone, 0.0.0.0 every address it has."
    return f"{host}, port {port}: {error.strerror}"


def address_of(bound: socket.socket) -> str:
    """Returns the URL of what listens at a socket."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if bound.family == socket.AF_INET6 else f"http://{host}:{port}"


def serve(
    answering: Answering,
    bound: socket.socket,
    limits: Limits,
    *,
    hosts: frozenset[str] | None = None,
    on_ready: Callable[[], Any] = lambda: None,
) -> None:
    """Answers until SIGTERM or Ctrl-C, then finishes what is in flight and calls the caller's handler of the signal.

    `hosts`: the names that a request's Host header may have, None any. `on_ready` is called when the network is warmed up and clients
    are accepted at the socket.
    """
    # The network's thread and the event loop take turns: so that neither waits for the other as long as Python's default of 5 ms.
    sys.setswitchinterval(0.0005)
    # Damaged pictures are answered: what Pillow remarks of each would let clients fill the log, and the memory that Python keeps of it.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    server_of(answering, limits, hosts=hosts, on_ready=on_ready).run(sockets=[bound])


def server_of(
    answering: Answering,
    limits: Limits,
    *,
    hosts: frozenset[str] | None = None,
    on_ready: Callable[[], Any] = lambda: None,
) -> uvicorn.Server:
    """Returns the server that `serve` runs; `should_exit` ends it."""
    app = Application(answering, limits, hosts=hosts)
    config = uvicorn.Config(
        app,
        http=protocol_of(limits),
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limits.connections,
        timeout_keep_alive=limits.keep_alive_seconds,
        timeout_graceful_shutdown=limits.closing_seconds,
    )
    return _Server(config, app.predicting, on_ready)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, predicting: Any, on_ready: Callable[[], Any]) -> None:
        super().__init__(config)
        self._predicting, self._on_ready = predicting, on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._predicting.closing = True
        super().handle_exit(sig, frame)
