"""What `import netwright` gives, and what it costs."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

import netwright

SURFACE = [
    "NetwrightError",
    "Run",
    "__version__",
    "activations",
    "datasets",
    "examine",
    "fit",
    "inspect",
    "load",
    "losses",
    "network",
    "networks",
    "optimizers",
    "pretrained",
    "schedules",
    "train",
]


def test_the_surface_is_what_the_readme_lists() -> None:
    assert sorted(netwright.__all__) == SURFACE
    assert sorted(dir(netwright)) == SURFACE


@pytest.mark.parametrize("name", SURFACE)
def test_every_name_can_be_had(name: str) -> None:
    assert getattr(netwright, name) is not None


def test_no_module_hides_a_public_name() -> None:
    # Importing netwright.fit would replace the function netwright.fit by the module.
    modules = {module.name for module in pkgutil.iter_modules(netwright.__path__)}
    # The examiner's package can be called itself.
    assert not (modules & set(SURFACE)) - {"examine"}
    assert callable(netwright.examine)


def test_registries_are_dictionaries() -> None:
    for name in ("activations", "losses", "optimizers", "schedules", "networks", "datasets", "pretrained"):
        assert isinstance(getattr(netwright, name), dict) and getattr(netwright, name)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Trainer'"):
        _ = netwright.Trainer


def loaded_by(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_it_imports_nothing_heavy() -> None:
    assert not loaded_by("import netwright") & {
        "torch",
        "numpy",
        "sklearn",
        "matplotlib",
        "pydantic",
        "rich",
        "PIL",
    }


def test_loading_and_training_in_python_need_no_report_or_command_line() -> None:
    heavy = {"sklearn", "scipy", "matplotlib", "pydantic", "rich", "typer", "jinja2", "pooch"}
    code = "import netwright as nw; nw.load, nw.network, nw.train, nw.optimizers, nw.datasets"
    # torch itself imports jinja2 in some versions.
    assert not loaded_by(code) & heavy - loaded_by("import torch")


def test_help_needs_no_torch() -> None:
    code = "from netwright.cli import run\nimport io, contextlib\nwith contextlib.redirect_stdout(io.StringIO()): run(['--help'])"
    assert "torch" not in loaded_by(code)


def test_every_module_imports() -> None:
    for module in pkgutil.walk_packages(netwright.__path__, "netwright."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
