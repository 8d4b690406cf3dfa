from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest


def _processes() -> ModuleType:
    """The module beside this file: pytest's importlib mode puts no test folder on the path."""
    name, path = "netwright_test_processes", Path(__file__).parents[1] / "cli" / "processes.py"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec and spec.loader
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def forked() -> Iterator[Any]:
    """Starts processes: forks, or fresh interpreters with NETWRIGHT_TEST_FRESH=1."""
    processes = _processes()
    starter = processes.Fresh() if os.environ.get("NETWRIGHT_TEST_FRESH") else processes.Forked()
    yield starter
    starter.close()


@pytest.fixture(scope="session")
def _finished(tmp_path_factory: pytest.TempPathFactory, forked: Any) -> Path:
    person = _processes().Person(tmp_path_factory.mktemp("finished"), forked)
    person("fit", "digits", "--epochs", 2, "--out", "run", "--set", "network.hidden=[16]")
    return person.folder / "run"


@pytest.fixture
def run(_finished: Path, folder: Path) -> Path:
    """A finished run on digits, `run` in the empty folder, to do with as one likes."""
    return Path(shutil.copytree(_finished, folder / "run"))


@pytest.fixture
def photos(folder: Path) -> Path:
    """A folder of images, two classes of 20 that a small network can tell apart: dark and light."""
    from PIL import Image

    numbers = np.random.default_rng(0)
    for name, brightness in (("dark", 40), ("light", 200)):
        (folder / "photos" / name).mkdir(parents=True)
        for index in range(20):
            pixels = np.clip(numbers.normal(brightness, 20, (12, 12, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / name / f"{index:02}.png")
    return folder / "photos"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder."""
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


@pytest.fixture
def netwright(folder: Path, forked: Any) -> Any:
    """The command line in an empty folder."""
    return _processes().Person(folder, forked)


@pytest.fixture
def fresh(folder: Path) -> Any:
    """The command line in an empty folder, each command in an interpreter of its own."""
    return _processes().Person(folder, _processes().Fresh())


@pytest.fixture(scope="session")
def _stranger() -> Iterator[Any]:
    processes = _processes()
    starter = processes.Fresh if os.environ.get("NETWRIGHT_TEST_FRESH") else processes.Forked
    started = starter(blocked="netwright")
    yield started
    started.close()


@pytest.fixture
def script(folder: Path, _stranger: Any) -> Any:
    """Runs a Python script with a Python that has no netwright: `script(path, cwd=...)`."""
    return _processes().Person(folder, _stranger)


@pytest.fixture
def fresh_script(folder: Path) -> Any:
    """The same in an interpreter of its own."""
    return _processes().Person(folder, _processes().Fresh(blocked="netwright"))


@pytest.fixture
def weights_sha256() -> Any:
    """The contract's hash of a state dict, in the tests' own words."""
    return _processes().weights_sha256
