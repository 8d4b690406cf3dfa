"""For all tests: `pytest --refresh-golden` (then read the difference), a count of calls where others would take
the time, and Ctrl-C as it is by default."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# A shell's background job ignores Ctrl-C, and what the tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--refresh-golden", action="store_true", help="write what is printed into the golden files"
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares a text with `golden/NAME` beside the test."""

    def compare(name: str, text: str) -> None:
        file = Path(request.path).parent / "golden" / name
        if request.config.getoption("--refresh-golden"):
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
        assert text == file.read_text(encoding="utf-8"), (
            f"{file} differs; if it should, run pytest --refresh-golden"
        )

    return compare


@pytest.fixture
def count_calls() -> Callable[[Callable[[], Any]], int]:
    """Counts what a function calls in Python and in C, itself too: unlike seconds, the same on a busy machine."""

    def count(function: Callable[[], Any]) -> int:
        events: list[str] = []
        before = sys.getprofile()
        sys.setprofile(lambda frame, event, argument: events.append(event))
        try:
            function()
        finally:
            sys.setprofile(before)
        return sum(event in ("call", "c_call") for event in events) - 1  # the end of counting is none of its

    return count
