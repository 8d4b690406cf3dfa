"""Runs a stranger's script or module as Python itself would, under examination."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import io
import os
import re
import runpy
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from netwright.errors import NetwrightError
from netwright.examine.examination import Examination, Session, StopExamination
from netwright.finding import Finding

_HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")
GRACE_SECONDS = 5.0


class Terminated(BaseException):
    """SIGTERM came."""


def parse_stop(text: str) -> tuple[int | None, float | None]:
    """Returns (steps, seconds), one of them None, from what stands behind `--stop-after`.

    >>> parse_stop("100 steps"), parse_stop("30 s"), parse_stop("2m")
    ((100, None), (None, 30.0), (None, 120.0))
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(steps?|s|sec|seconds?|m|min|minutes?)?\s*", text)
    if found is None or not float(found[1]):
        raise NetwrightError(
            f"--stop-after {text!r}: expected a number of steps or seconds, as in '100 steps' or '30 s'"
        )
    unit = found[2] or "steps"
    if unit.startswith("step"):
        return int(float(found[1])), None
    return None, float(found[1]) * (60 if unit.startswith("m") else 1)


def run_script(
    path: str,
    arguments: Iterable[str] = (),
    *,
    allow: Iterable[str] = (),
    stop_after: str | None = None,
    on_finding: Callable[[Finding], None] | None = None,
    on_end: Callable[[Examination], int | None] | None = None,
) -> Examination:
    """Runs a script under examination and returns the result; `script_exit` is the code it would have ended with.

    The script gets its own `__main__`, `sys.argv`, `sys.path[0]` and the working directory, stdin and stdout as they are; they
    stay set, since handlers that it registered may need them when the process ends. Its own traceback goes to stderr.

    on_finding: called with each finding as soon as it is out (causes and consequences are not yet merged).
    on_end: called once with the result, also if the script calls `os._exit`; what it returns is then the exit code.
    Raises NetwrightError if there is no such script or it is no Python.
    """
    name = os.path.join(path, "__main__.py") if os.path.isdir(path) else path
    if not os.path.isfile(name):
        raise NetwrightError(f"no such script: {path} (looked in {os.getcwd()})")
    with io.open_code(os.path.abspath(name)) as file:
        code = _compiled(file.read(), os.path.abspath(name))
    main = types.ModuleType("__main__")
    main.__file__ = os.path.abspath(name)
    main.__loader__ = importlib.machinery.SourceFileLoader("__main__", name)
    main.__dict__.update(__builtins__=__builtins__, __cached__=None, __annotations__={})
    # As for `python folder`: the folder itself is on the path.
    folder = path if os.path.isdir(path) else os.path.dirname(os.path.realpath(name))
    return _run(main, code, [path, *arguments], folder, (), path, allow, stop_after, on_finding, on_end)


def run_module(
    name: str,
    arguments: Iterable[str] = (),
    *,
    allow: Iterable[str] = (),
    stop_after: str | None = None,
    on_finding: Callable[[Finding], None] | None = None,
    on_end: Callable[[Examination], int | None] | None = None,
) -> Examination:
    """Runs a module as `python -m name` would; otherwise as `run_script`."""
    sys.path.insert(0, os.getcwd())
    try:
        _, spec, code = runpy._get_module_details(name)  # type: ignore[attr-defined]
    except SyntaxError as error:
        raise NetwrightError(_syntax(error, name)) from None
    except Exception as error:
        sys.path.pop(0)
        raise NetwrightError(f"no such module: {name} ({error})") from None
    sys.path.pop(0)
    main = types.ModuleType("__main__")
    main.__file__, main.__spec__, main.__package__ = spec.origin, spec, spec.parent
    main.__loader__ = spec.loader
    main.__dict__.update(__builtins__=__builtins__, __cached__=spec.cached)
    roots = (os.path.dirname(spec.origin),)
    return _run(
        main, code, [spec.origin, *arguments], os.getcwd(), roots, name, allow, stop_after, on_finding, on_end
    )


def _compiled(source: bytes, name: str) -> types.CodeType:
    try:
        return compile(source, name, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise NetwrightError(_syntax(error, name)) from None
    except ValueError as error:
        raise NetwrightError(f"{name} is no Python script: {error}") from None


def _syntax(error: SyntaxError, name: str) -> str:
    text = f"{error.filename or name}, line {error.lineno}: {error.msg}"
    return f"{text}\n    {error.text.rstrip().lstrip()}" if error.text else text


def _run(
    main: types.ModuleType,
    code: types.CodeType,
    argv: list[str],
    folder: str,
    roots: tuple[str, ...],
    script: str,
    allow: Iterable[str],
    stop_after: str | None,
    on_finding: Callable[[Finding], None] | None,
    on_end: Callable[[Examination], int | None] | None,
) -> Examination:
    steps, seconds = parse_stop(stop_after) if stop_after else (None, None)
    session = Session(script=script, roots=roots, allow=allow, stop_steps=steps, on_finding=on_finding)
    sys.modules["__main__"] = main
    sys.argv = argv
    if sys.path:
        sys.path[0] = folder
    with _on_import("torch", session.attach), _exits(session, on_end), _signals(session, seconds, on_end):
        ended, status, error = _executed(code, main)
        if status == 130 and error is None:
            ended = "signal"
        result = session.close(ended, script_exit=status, error=error)
    if error is not None:
        _show(error)
    if on_end is not None:
        on_end(result)
    return result


def _executed(code: types.CodeType, main: types.ModuleType) -> tuple[str, int, BaseException | None]:
    """Returns how the script ended, its exit code, and its exception if it is one to be shown."""
    try:
        exec(code, main.__dict__)
    except SystemExit as error:
        return "exit", _status(error.code), None
    except KeyboardInterrupt as error:
        return "signal", 130, error
    except Terminated:
        return "signal", 143, None
    except StopExamination:
        return "stopped", 0, None
    except BaseException as error:
        return "crash", 1, error
    return "end", 0, None


def _status(code: Any) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def _show(error: BaseException) -> None:
    """Lets Python (or the script's own excepthook) print an exception, without the frames of the examiner."""
    seen: BaseException | None = error
    while seen is not None:
        seen.__traceback__ = _own_frames_left_out(seen.__traceback__)
        seen = seen.__cause__ or seen.__context__
    sys.stdout.flush()
    sys.excepthook(type(error), error, error.__traceback__)


def _own_frames_left_out(trail: types.TracebackType | None) -> types.TracebackType | None:
    kept = []
    while trail is not None:
        if not trail.tb_frame.f_code.co_filename.startswith(_HERE):
            kept.append(trail)
        trail = trail.tb_next
    rebuilt: types.TracebackType | None = None
    for entry in reversed(kept):
        rebuilt = types.TracebackType(rebuilt, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return rebuilt


# -- when torch comes --------------------------------------------------------------------------------------------------


class _After(importlib.abc.MetaPathFinder):
    """Calls a function when a module has just been imported, and leaves no trace in the module."""

    def __init__(self, name: str, call: Callable[[], None]) -> None:
        self.name, self.call = name, call

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != self.name:
            return None
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return None
        spec.loader = _Loader(spec.loader, self.call)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: Any, call: Callable[[], None]) -> None:
        self.loader, self.call = loader, call

    def create_module(self, spec: Any) -> Any:
        return self.loader.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        self.call()


@contextmanager
def _on_import(name: str, call: Callable[[], None]) -> Iterator[None]:
    if name in sys.modules:
        call()
        yield
        return
    finder = _After(name, call)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)


# -- ways out ------------------------------------------------------------------------------------------------------------


@contextmanager
def _exits(session: Session, on_end: Callable[[Examination], int | None] | None) -> Iterator[None]:
    """What the examiner knows comes out also if the script calls os._exit."""
    original, pid = os._exit, os.getpid()

    def _exit(status: int = 0) -> Any:
        os._exit = original
        if os.getpid() == pid and not session.closed:
            result = session.close("exit", script_exit=status)
            wanted = on_end(result) if on_end is not None else None
            sys.stderr.flush()
            status = wanted if wanted is not None else status
        original(status)

    os._exit = _exit
    try:
        yield
    finally:
        if os._exit is _exit:
            os._exit = original


@contextmanager
def _signals(
    session: Session, seconds: float | None, on_end: Callable[[Examination], int | None] | None
) -> Iterator[None]:
    """SIGTERM ends the script as an exception, so that its findings come out; a timer ends it after `seconds`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminated(number: int, frame: Any) -> None:
        raise Terminated

    def late(number: int, frame: Any) -> None:
        signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS)
        signal.signal(signal.SIGALRM, too_late)
        raise StopExamination(f"stopped after {seconds:g} seconds")

    def too_late(number: int, frame: Any) -> None:
        result = session.close("stopped")
        status = on_end(result) if on_end is not None else 0
        sys.stderr.flush()
        os._exit(status or 0)

    before = {}
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        before[signal.SIGTERM] = signal.signal(signal.SIGTERM, terminated)
    if seconds is not None and hasattr(signal, "setitimer"):
        before[signal.SIGALRM] = signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        if seconds is not None and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
