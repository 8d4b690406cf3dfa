"""Attributes replaced for the time of an observation, and put back exactly as they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_MISSING = object()


class Patches:
    """A list of replaced attributes.

    >>> import types
    >>> thing = types.SimpleNamespace(speak=lambda: "one")
    >>> patches = Patches()
    >>> patches.wrap(thing, "speak", lambda original: lambda: original() + " two")
    >>> thing.speak()
    'one two'
    >>> patches.undo()
    >>> thing.speak()
    'one'
    """

    def __init__(self) -> None:
        self._replaced: list[tuple[Any, str, Any, Any]] = []

    def wrap(self, owner: Any, name: str, around: Callable[[Any], Any]) -> None:
        """Replaces `owner.name` by `around(owner.name)`; an owner without it is left as it is."""
        original = vars(owner).get(name, _MISSING) if hasattr(owner, "__dict__") else _MISSING
        if original is _MISSING:
            return
        replacement = around(original)
        for attribute in ("__name__", "__qualname__", "__module__", "__doc__"):
            try:
                setattr(replacement, attribute, getattr(original, attribute))
            except (AttributeError, TypeError):
                continue
        # help() and inspect.signature() show the original's.
        replacement.__wrapped__ = original
        setattr(owner, name, replacement)
        self._replaced.append((owner, name, original, replacement))

    def unwrap(self, owner: Any, name: str) -> None:
        """Puts one attribute back."""
        for entry in [entry for entry in self._replaced if entry[0] is owner and entry[1] == name]:
            self._replaced.remove(entry)
            if vars(owner).get(name) is entry[3]:
                setattr(owner, name, entry[2])

    def undo(self) -> None:
        """Puts everything back, last first; what somebody else has replaced since is left alone."""
        while self._replaced:
            owner, name, original, replacement = self._replaced.pop()
            if vars(owner).get(name) is replacement:
                setattr(owner, name, original)
