"""Ctrl-C and SIGTERM, held back until the step in hand is done and saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class StopRequest:
    """Which signal asked for an end, if one did."""

    signal: signal.Signals | None = None

    def obey(self) -> None:
        """Ends the program as the signal would have: KeyboardInterrupt, or SystemExit(143) for SIGTERM."""
        if self.signal is signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal is signal.SIGTERM:
            raise SystemExit(143)


@contextmanager
def held_signals() -> Iterator[StopRequest]:
    """Notes the first SIGINT or SIGTERM instead of obeying it; a second one is obeyed at once.

    Outside the main thread, where Python does not allow handlers, nothing is held.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(number: int, frame: FrameType | None) -> None:
        if request.signal is not None:
            request.obey()
        request.signal = signal.Signals(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
