"""Plain dictionaries of names that answer an unknown name with the near ones."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, TypeVar

from netwright.errors import unknown_name

Entry = TypeVar("Entry")


class Registry(dict[str, Entry]):
    """A dictionary of names of one kind; add your own entries as to any dictionary.

    >>> shapes = Registry("shape", {"square": 4, "triangle": 3})
    >>> shapes["hexagon"] = 6
    >>> shapes["sqare"]
    Traceback (most recent call last):
    netwright.errors.UnknownNameError: unknown shape 'sqare': did you mean 'square'? Known: hexagon, square, triangle
    """

    def __init__(self, kind: str, entries: dict[str, Entry] | None = None) -> None:
        super().__init__(entries or {})
        self.kind = kind

    def __missing__(self, name: str) -> NoReturn:
        raise unknown_name(self.kind, name, self)


def option_names(builder: Callable[..., Any], *, given: Iterable[str] = ()) -> list[str] | None:
    """Returns the keyword arguments that `builder` takes, without those in `given`; None if it takes any."""
    try:
        parameters = inspect.signature(builder).parameters.values()
    except (TypeError, ValueError):  # a builtin that does not say
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    by_keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [
        parameter.name
        for parameter in parameters
        if parameter.kind in by_keyword
        and parameter.name not in set(given)
        and not parameter.name.startswith("_")
    ]


def check_options(
    builder: Callable[..., Any], options: Mapping[str, Any], kind: str, *, given: Iterable[str] = ()
) -> None:
    """Raises UnknownNameError for an option that `builder` does not take, offering the near ones.

    `given` names the arguments that netwright itself passes, which are therefore no options.

    >>> def square(canvas, side, colour="red"): ...
    >>> check_options(square, {"side": 2}, "square", given=["canvas"])
    >>> check_options(square, {"color": "blue"}, "square", given=["canvas"])
    Traceback (most recent call last):
    netwright.errors.UnknownNameError: unknown square option 'color': did you mean 'colour'? Known: colour, side
    """
    known = option_names(builder, given=given)
    for name in options:
        if known is not None and name not in known:
            raise unknown_name(f"{kind} option", name, known)
