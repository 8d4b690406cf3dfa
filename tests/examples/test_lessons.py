"""Each lesson runs from top to bottom in a kernel of its own, as a person would run it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

LESSONS = Path(__file__).parents[2] / "examples" / "lessons"
NAMES = sorted(path.name for path in LESSONS.glob("*.ipynb"))


def read(name: str) -> Any:
    nbformat = pytest.importorskip("nbformat")
    return nbformat.read(LESSONS / name, as_version=4)


def test_there_is_a_lesson_for_each_step_of_the_way() -> None:
    assert NAMES == [
        "1_what_is_a_network.ipynb",
        "2_activations.ipynb",
        "3_losses.ipynb",
        "4_optimizers.ipynb",
        "5_training_and_testing.ipynb",
        "6_finding_a_fault.ipynb",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_kept_without_what_it_printed(name: str) -> None:
    for cell in read(name).cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None


@pytest.mark.parametrize("name", NAMES)
def test_its_links_lead_somewhere(name: str) -> None:
    import re

    for cell in read(name).cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\(([^)]+)\)", cell.source):
                assert (LESSONS / target).is_file(), target


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the kernel's, which is another process
@pytest.mark.parametrize("name", NAMES)
def test_it_runs_from_top_to_bottom(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    # What a person has set in their notebook's configuration is no part of the lesson.
    for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    lesson = read(name)
    nbclient.NotebookClient(lesson, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for cell in lesson.cells:
        errors = [out for out in cell.get("outputs", []) if out.output_type == "error"]
        assert not errors, os.linesep.join(errors[0].traceback)
    assert any(cell.get("outputs") for cell in lesson.cells)
