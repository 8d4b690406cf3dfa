"""Which line of the user's own code led to where we are."""

from __future__ import annotations

import inspect
import linecache
import os
import site
import sys
import sysconfig
from types import CodeType, FrameType

from netwright.examine.observation import Place

USER, FOREIGN, TORCH, OPTIM, OWN = range(5)


class Places:
    """Finds the nearest frame of the user's code; what a code object belongs to is decided once.

    The user's code is what lies neither in the standard library nor in site-packages nor in netwright, plus what lies
    under `roots` (for `examine -m package`, which may well be installed).
    """

    def __init__(self, roots: tuple[str, ...] = ()) -> None:
        import torch

        # By identity: a code object's own hash goes over its names and constants each time.
        self._kinds: dict[int, int] = {}
        self._held: list[CodeType] = []
        self._roots = tuple(os.path.join(os.path.abspath(root), "") for root in roots)
        self._torch = os.path.join(os.path.dirname(os.path.abspath(torch.__file__)), "")
        self._optim = os.path.join(self._torch, "optim", "")
        self._own = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")
        paths = sysconfig.get_paths()
        foreign = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
        foreign.update(site.getsitepackages() if hasattr(site, "getsitepackages") else ())
        self._foreign = tuple(os.path.join(path, "") for path in foreign)
        self._home = os.getcwd()

    def kind(self, code: CodeType) -> int:
        """Returns USER, FOREIGN, TORCH, OPTIM (torch.optim) or OWN (netwright)."""
        kind = self._kinds.get(id(code))
        if kind is None:
            kind = self._kinds[id(code)] = self._decide(code.co_filename)
            self._held.append(code)
        return kind

    def kind_of(self, file: str) -> int:
        """Returns the same for a file's name."""
        return self._decide(file)

    def _decide(self, name: str) -> int:
        if name.startswith("<") and not name.startswith(("<ipython", "<doctest", "<stdin")):
            return FOREIGN
        path = os.path.abspath(name)
        if self._roots and path.startswith(self._roots):
            return USER
        if path.startswith(self._optim):
            return OPTIM
        if path.startswith(self._torch):
            return TORCH
        if path.startswith(self._own):
            return OWN
        if path.startswith(self._foreign) or "site-packages" in path or "dist-packages" in path:
            return FOREIGN
        return USER

    def frame(self, depth: int = 1) -> FrameType | None:
        """Returns the nearest frame of the user's code above the caller's frame."""
        frame: FrameType | None = sys._getframe(depth + 1)
        kinds = self._kinds
        while frame is not None:
            kind = kinds.get(id(frame.f_code))
            if kind is None:
                kind = self.kind(frame.f_code)
            if kind == USER:
                return frame
            frame = frame.f_back
        return None

    def place(self, frame: FrameType | None) -> Place | None:
        """Returns the place at which a frame stands; its file is relative where it lies below the working directory."""
        if frame is None:
            return None
        return Place(self.shown(frame.f_code.co_filename), frame.f_lineno or 0, frame.f_code.co_name)

    def shown(self, name: str) -> str:
        """Returns a file's name as it is shown to people; "cell 3" for what a notebook's cell In [3] holds."""
        cell = _cell(name)
        if cell:
            return cell
        path = name if name.startswith("<") else os.path.abspath(name)
        return path[len(self._home) + 1 :] if path.startswith(self._home + os.sep) else path

    def here(self, depth: int = 1) -> Place | None:
        """Returns the user's line that led to the caller."""
        return self.place(self.frame(depth + 1))

    def both(self, depth: int = 1) -> tuple[Place | None, Place | None]:
        """Returns the user's line that led to the caller, and the user's line that called the function around it.

        Before Python 3.12 a comprehension is a function of its own, and a generator expression still is: the function around
        it is the one in which it stands.
        """
        frame = self.frame(depth + 1)
        if frame is None:
            return None, None
        above, inside = frame.f_back, frame.f_code.co_name in _COMPREHENSIONS
        while above is not None and (inside or self.kind(above.f_code) != USER):
            if self.kind(above.f_code) == USER:
                inside = above.f_code.co_name in _COMPREHENSIONS
            above = above.f_back
        return self.place(frame), self.place(above)

    def above(self, place: Place | None, depth: int = 1) -> Place | None:
        """Returns the user's line that called the function in which a place lies, if that is under way."""
        frame = self.frame(depth + 1)
        while frame is not None and place is not None:
            here = self.kind(frame.f_code) == USER and frame.f_code.co_name == place.function
            frame = frame.f_back
            if here:
                break
        while frame is not None and self.kind(frame.f_code) != USER:
            frame = frame.f_back
        return self.place(frame)

    def construction(self, built: object, depth: int = 1) -> Place | None:
        """Returns the user's line that constructs `built`, called from within its `__init__`.

        Lines of the user's own `__init__` of that very class (`super().__init__()`) are passed over.
        """
        own = {
            code
            for kind in type(built).__mro__
            if (code := getattr(kind.__dict__.get("__init__"), "__code__", None)) is not None
        }
        frame = self.frame(depth + 1)
        while frame is not None and frame.f_code in own:
            frame = frame.f_back
            while frame is not None and self.kind(frame.f_code) != USER:
                frame = frame.f_back
        return self.place(frame)


_COMPREHENSIONS = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"})


def _cell(name: str) -> str:
    if "ipykernel_" not in name and not name.startswith("<ipython-input-"):
        return ""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    number = getattr(getattr(shell, "compile", None), "_filename_map", {}).get(name)
    if number is None:
        return ""
    cell = f"cell {number}"
    lines = linecache.getlines(name)
    if lines and cell not in linecache.cache:  # for whoever shows the line by the cell's name
        linecache.cache[cell] = (sum(map(len, lines)), None, lines, cell)
    return cell


def variables(frame: FrameType) -> dict[str, object]:
    """Returns a copy of a frame's local variables that leaves nothing behind.

    Before Python 3.13 a function's frame keeps what `f_locals` returned, and with it every value, until the function ends;
    so it is emptied again, and a function that calls `locals()`, which is the same dictionary, is left alone.
    """
    optimized = bool(frame.f_code.co_flags & inspect.CO_OPTIMIZED)
    if optimized and "locals" in frame.f_code.co_names:
        return {}
    held = frame.f_locals
    copied = dict(held)
    if optimized and isinstance(held, dict):
        held.clear()
    return copied
