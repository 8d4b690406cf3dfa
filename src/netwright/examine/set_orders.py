"""Where the order of a set of strings decides something: it is another one in every process.

Looked for once, at the first backward: in the source of the user's functions that are on the stack, with the values that
their names have there.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from types import FrameType
from typing import Any

from netwright.examine.places import variables

MOST_LINES = 5_000
_ORDERED = frozenset({"list", "tuple", "enumerate", "fromkeys"})


def set_orders(frames: list[FrameType]) -> list[tuple[str, int, str]]:
    """Returns (file, line, name) of each place at which a set of strings is put into an order that is kept."""
    found: list[tuple[str, int, str]] = []
    for file in dict.fromkeys(frame.f_code.co_filename for frame in frames):
        lines = linecache.getlines(file)
        if not lines or len(lines) > MOST_LINES:
            continue
        values: dict[str, Any] = {}
        for frame in frames:
            if frame.f_code.co_filename == file:
                values = {**frame.f_globals, **variables(frame), **values}
        try:
            tree = ast.parse("".join(lines))
        except (SyntaxError, ValueError):
            continue
        found += [(file, node.lineno, name) for node, name in _places(tree, values)]
    return found


def _places(tree: ast.AST, values: dict[str, Any]) -> Iterator[tuple[ast.Call, str]]:
    for statement in ast.walk(tree):
        if not isinstance(statement, (ast.Assign, ast.AnnAssign)):
            continue
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        name = targets[0].id if isinstance(targets[0], ast.Name) else ""
        value = values.get(name)
        # What became of it holds strings, in a list or as the keys of a dictionary: a vocabulary.
        if not isinstance(value, (list, tuple, dict)) or not _strings(value):
            continue
        for call in ast.walk(statement):
            if isinstance(call, ast.Call) and _called(call) in _ORDERED and call.args:
                inside = call.args[0]
                known = values.get(inside.id) if isinstance(inside, ast.Name) else None
                if _is_set(inside) or (isinstance(known, (set, frozenset)) and _strings(known)):
                    if not _sorted_around(statement, call):
                        yield call, name
                    break


def _called(call: ast.Call) -> str:
    function = call.func
    return (
        function.id
        if isinstance(function, ast.Name)
        else function.attr
        if isinstance(function, ast.Attribute)
        else ""
    )


def _is_set(node: ast.AST) -> bool:
    if isinstance(node, (ast.SetComp, ast.Set)):
        return True
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitOr, ast.BitAnd, ast.Sub)):
        return _is_set(node.left) or _is_set(node.right)
    return isinstance(node, ast.Call) and _called(node) in ("set", "frozenset", "union", "intersection")


def _sorted_around(statement: ast.AST, call: ast.Call) -> bool:
    return any(
        isinstance(outer, ast.Call)
        and _called(outer) == "sorted"
        and any(inner is call for inner in ast.walk(outer))
        for outer in ast.walk(statement)
    )


def _strings(values: Any) -> bool:
    some = [entry for entry, _ in zip(values, range(8))]
    return len(values) > 1 and all(isinstance(entry, str) for entry in some)
