"""A network out of a person's own file: `file.py:Name`."""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib.util
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from netwright.errors import NetworkError


def is_file_reference(name: str) -> bool:
    """Says whether a name means a place in a Python file.

    >>> is_file_reference("nets/mine.py:Net"), is_file_reference("mlp")
    (True, False)
    """
    return name.endswith(".py") or ".py:" in name


def split_reference(reference: str) -> tuple[Path, str]:
    """Returns the file and the name in `file.py:Name`; raises NetworkError without a name or a file.

    >>> split_reference("mine.py")
    Traceback (most recent call last):
    netwright.errors.NetworkError: no such file: mine.py (asked for by 'mine.py')
    """
    file, _, name = (reference, "", "") if reference.endswith(".py") else reference.rpartition(":")
    path = Path(file).expanduser()
    if not path.is_file():
        beside = sorted(other.name for other in path.parent.glob("*.py")) if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, beside, n=3)
        hint = f"\nDid you mean {' or '.join(near)}?" if near else ""
        raise NetworkError(f"no such file: {file} (asked for by {reference!r}){hint}")
    if not name:
        raise NetworkError(
            f"{reference!r} names a file, but not what in it: write {file}:Name. "
            f"It defines: {', '.join(_defined(path)) or 'nothing'}"
        )
    return path, name


def load_object(reference: str) -> Any:
    """Returns the object that `file.py:Name` means, after running the file as a module.

    The file's folder is on sys.path only meanwhile, so that it finds the modules beside it. `__name__` is not
    "__main__": what stands under that condition does not run. Raises NetworkError for a missing file or name and
    for a file that cannot be read or run, with its line.
    """
    path, name = split_reference(reference)
    module = _run(path)
    if not hasattr(module, name):
        names = [entry for entry in vars(module) if not entry.startswith("_")]
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = (
            f"did you mean {' or '.join(near)}?"
            if near
            else f"it has: {', '.join(_defined(path)) or 'nothing'}"
        )
        raise NetworkError(f"{path} has no {name!r}: {hint}")
    return getattr(module, name)


def where(error: BaseException) -> str:
    """Returns the deepest `file:line` of the error that is a person's own, or "" if there is none.

    Own means outside torch and netwright and, where there is such a frame, outside every installed package.
    """
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<")
        and not _inside(frame.filename, [os.path.dirname(torch.__file__), str(Path(__file__).parents[1])])
    ]
    installed = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
    own = [frame for frame in frames if not _inside(frame.filename, installed)] or frames
    return f"{own[-1].filename}:{own[-1].lineno}" if own else ""


def _inside(file: str, folders: list[str]) -> bool:
    return any(Path(file).is_relative_to(folder) for folder in folders)


def _run(path: Path) -> ModuleType:
    full = path.resolve()
    # One module a file: two files of the same name must not overwrite each other, and inspect.getsource and
    # dataclasses look the module up in sys.modules.
    module_name = f"{path.stem}_{hashlib.sha256(str(full).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(module_name, full)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(module_name)
    sys.modules[module_name] = module
    try:
        with _importing_from(full.parent):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        if before is None:
            del sys.modules[module_name]
        else:
            sys.modules[module_name] = before
        raise _cannot_run(path, error) from error
    return module


def _cannot_run(path: Path, error: BaseException) -> NetworkError:
    if isinstance(error, SyntaxError):
        return NetworkError(f"{error.filename or path}:{error.lineno}: not valid Python: {error.msg}")
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    return NetworkError(
        f"{path} stopped while it was loaded: {text}\nat {where(error) or path}\n"
        'A file that also trains should do so under `if __name__ == "__main__":`.'
    )


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    # A module whose folder is not importable can only be a leftover of an earlier load: it would be taken for
    # the module of the same name beside this file.
    importable = {os.path.realpath(entry or os.curdir) for entry in sys.path}
    for neighbour in folder.iterdir():
        stem = neighbour.stem if neighbour.suffix == ".py" else neighbour.name
        file = getattr(sys.modules.get(stem), "__file__", None)
        if file is None:
            continue
        home = Path(file).parent.parent if Path(file).name == "__init__.py" else Path(file).parent
        if os.path.realpath(home) not in importable and home.resolve() != folder:
            for loaded in [key for key in sys.modules if key == stem or key.startswith(f"{stem}.")]:
                del sys.modules[loaded]
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _defined(path: Path) -> list[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return []
    return [node.name for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))]
