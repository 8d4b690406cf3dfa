from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _processes() -> ModuleType:
    """The starter of processes that the command line's tests use: importlib mode puts no test folder on the path."""
    name, path = "netwright_test_processes", Path(__file__).parents[1] / "cli" / "processes.py"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec and spec.loader
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def _starter() -> Iterator[Any]:
    """Starts Python scripts; torchvision cannot be imported beside the tested build, so it is shut out here."""
    processes = _processes()
    starter = processes.Fresh if os.environ.get("NETWRIGHT_TEST_FRESH") else processes.Forked
    started = starter(blocked="torchvision")
    yield started
    started.close()


@pytest.fixture
def script(tmp_path: Path, _starter: Any) -> Any:
    """Runs a Python script in an empty folder, `script.folder`: `script(path, *arguments)`."""
    (tmp_path / "empty").mkdir()
    return _processes().Person(tmp_path / "empty", _starter)


@pytest.fixture
def netwright(script: Any, tmp_path: Path) -> Any:
    """The command line there: what pip installs as `netwright`."""
    command = tmp_path / "command.py"
    command.write_text("from netwright.__main__ import main\nmain()\n")

    def run(*arguments: Any, code: int = 0) -> Any:
        return script(command, *arguments, code=code)

    run.folder = script.folder  # type: ignore[attr-defined]
    return run
