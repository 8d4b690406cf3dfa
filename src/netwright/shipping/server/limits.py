"""What the server takes at most, and how it says no."""

from __future__ import annotations

from dataclasses import dataclass

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Limits:
    """How much one client may ask of the server.

    body_bytes: of one request, --max-bytes. held_bytes: of all large bodies that are being received at once; `small_bytes` and less
    always find room. inputs: examples of one request. batch: examples that go through the network at once; wait_seconds: how long
    the first of them waits for others. queue: examples that wait for the network; above that 503. answer_seconds: from a whole body
    to its answer. head_bytes: of a request's line and headers. head_seconds, body_seconds: for a client to send them. write_seconds: for a client to read its answer.
    keep_alive_seconds: that a connection may be silent between two requests. closing_seconds: for what is in flight when the server ends.
    connections: at once; one more takes the place of the slowest. readers: threads that decode pictures and such; waiting_to_be_read:
    bodies that wait for one of them, above that 503. pixels: of one picture, those of 16 bits counting four times. samples: of one recording,
    of all its channels. characters: of one text. brackets, depth: lists and objects in JSON, and how deep they may lie.
    """

    body_bytes: int = 8 * MEBIBYTE
    held_bytes: int = 256 * MEBIBYTE
    small_bytes: int = 64 * 1024
    inputs: int = 1000
    batch: int = 64
    wait_seconds: float = 0.003
    queue: int = 4000
    answer_seconds: float = 30.0
    head_bytes: int = 32 * 1024
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    write_seconds: float = 30.0
    keep_alive_seconds: int = 30
    closing_seconds: int = 20
    connections: int = 512
    readers: int = 2
    waiting_to_be_read: int = 64
    pixels: int = 25_000_000
    samples: int = 1 << 24
    characters: int = 200_000
    brackets: int = 500_000
    depth: int = 32


class Refusal(Exception):
    """A request that is not answered: the HTTP status and one sentence that says why."""

    def __init__(self, status: int, why: str, *, close: bool = False) -> None:
        super().__init__(why)
        self.status, self.why, self.close = status, why, close


def too_large(what: str) -> Refusal:
    """Returns the refusal of more than there is room for (413)."""
    return Refusal(413, what)


def unreadable(what: str) -> Refusal:
    """Returns the refusal of what cannot be read as an input of this network (422)."""
    return Refusal(422, what)


def one_sentence(error: BaseException) -> str:
    """Returns the first line of an error, in at most 400 characters.

    >>> one_sentence(ValueError("row 0: expected 4 numbers, came 3\\nTry --help."))
    'row 0: expected 4 numbers, came 3'
    """
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    return line if len(line) <= 400 else line[:399] + "…"
