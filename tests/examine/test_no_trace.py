"""A program ends with the same weights and the same output with and without the examiner."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PROGRAMS = sorted(path.stem for path in (HERE / "programs").glob("*.py"))


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {how: tmp_path_factory.mktemp(how) for how in ("plain", "examined")}
    running = [
        subprocess.Popen(
            [
                sys.executable,
                HERE / "run_programs.py",
                how,
                folder,
                *(HERE / "programs" / f"{name}.py" for name in PROGRAMS),
            ],
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
            stderr=subprocess.PIPE,
        )
        for how, folder in folders.items()
    ]
    for process in running:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors.decode()
    return folders


@pytest.mark.parametrize("name", PROGRAMS)
def test_same_weights_and_output(name: str, outputs: dict[str, Path]) -> None:
    plain, examined = (outputs[how] / f"{name}.out" for how in ("plain", "examined"))
    assert plain.read_bytes() == examined.read_bytes() != b""
    assert [(outputs[how] / f"{name}.code").read_text() for how in ("plain", "examined")] == ["0", "0"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_healthy_and_wholly_watched(name: str, outputs: dict[str, Path]) -> None:
    result = json.loads((outputs["examined"] / f"{name}.json").read_text())
    assert [finding["code"] for finding in result["findings"] if finding["level"] == "error"] == []
    assert result["notes"] == []
    assert not [entry for entry in result["rules"]["not_run"] if "failed" in entry["why"]]
