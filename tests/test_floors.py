"""A room imports only from floors above it in DESIGN.md's list, and no other room of its own floor."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "netwright"
# Rooms with the same number are neighbours on one floor and do not import each other.
FLOORS = {
    "errors": 0,
    "registry": 0,
    "source": 0,
    "finding": 0,
    "data": 1,
    "architectures": 1,
    "metrics": 1,
    "training": 2,
    "examine": 2,
    "explain": 2,
    "shipping": 2,
    "report": 3,
    "recipe": 4,
    "doubt": 4,
    "run": 4,
    "run_files": 4,
    "eject": 4,
    "fitting": 4,
    "explaining": 4,
    "exporting": 4,
    "forecasting": 4,
    "inspecting": 4,
    "inventory": 4,
    "loggers": 4,
    "outcome": 4,
    "records": 4,
    "repeats": 4,
    "comparing": 4,
    "listing": 4,
    "side_by_side": 4,
    "retesting": 4,
    "preflight": 4,
    "run_folder": 4,
    "slicing": 4,
    "spending": 4,
    "transfer": 4,
    "writing": 4,
    "cli": 5,
    "__main__": 6,
}
# The files of floor 4 tell one story and may name each other; the vocabulary of floor 0 likewise.
SHARED_FLOORS = {0, 4}


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """The rooms that a file names in an import, at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full, not relative"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {
        name.split(".")[1] for name in names if name.startswith("netwright.") and name.count(".") >= 1
    } & set(FLOORS)


FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_from_floors_above_it(path: Path) -> None:
    room = room_of(path)
    assert room in FLOORS, f"{room} has no floor yet: give it one here and in the README"
    for other in imports_of(path) - {room}:
        same = FLOORS[other] == FLOORS[room]
        allowed = FLOORS[other] < FLOORS[room] or (same and FLOORS[room] in SHARED_FLOORS)
        assert allowed, (
            f"{path.relative_to(PACKAGE)} (floor {FLOORS[room]}) imports {other} (floor {FLOORS[other]})"
        )


def test_the_examiner_knows_no_other_room() -> None:
    for path in (PACKAGE / "examine").rglob("*.py"):
        assert imports_of(path) <= {"examine", "finding", "errors"}, path
