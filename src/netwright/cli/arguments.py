"""What several verbs take, and how they print."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

RunFolder = Annotated[str, typer.Argument(metavar="RUN", help="The run's folder.", show_default=False)]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]


def print_json(content: Any) -> None:
    """Prints one JSON value; numbers that JSON does not have (NaN, Inf) become null."""
    print(json.dumps(_without_nan(content), ensure_ascii=False))


def _without_nan(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_nan(value) for value in content]
    if isinstance(content, float) and (content != content or content in (float("inf"), float("-inf"))):
        return None
    return content


def say(text: str) -> None:
    """Prints a line for people on standard error."""
    print(text, file=sys.stderr)
