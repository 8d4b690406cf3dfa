"""NW906 needs several processes: torchrun with gloo, each process examined."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch.distributed

from netwright.examine import find_rule

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="this PyTorch has no gloo",
)
RULE = find_rule("NW906")
DRIFT = RULE.good.replace("for step in", "if rank:\n    network[0].weight.data.mul_(1.5)\nfor step in")
# torchrun gives each process its number; each writes a report of its own.
EXAMINED = """
import os, sys
from netwright.cli import run
sys.exit(run(["examine", "--json", f"report-{os.environ['RANK']}.json", "--fail-on", "never", "train.py"]))
"""


def examined(source: str, folder: Path) -> list[dict[str, object]]:
    (folder / "train.py").write_text(source)
    (folder / "examined.py").write_text(EXAMINED)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "examined.py",
    ]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"report-{rank}.json").read_text()) for rank in range(2)]


def found(reports: list[dict[str, object]]) -> list[dict[str, object]]:
    return [one for report in reports for one in report["findings"] if one["code"] == "NW906"]  # type: ignore[attr-defined]


def test_wrapper_bypassed(tmp_path: Path) -> None:
    findings = found(examined(RULE.bad, tmp_path))
    assert len(findings) == 2
    for one in findings:
        assert one["level"] == "error" and one["file"] == "train.py"
        assert "network(inputs)" in RULE.bad.splitlines()[one["line"] - 1]  # type: ignore[operator]
        assert one["seen"]["forwards_through_it"] == 0  # type: ignore[index]


def test_parameters_changed_in_one_process(tmp_path: Path) -> None:
    reports = examined(DRIFT, tmp_path)
    findings = found(reports)
    assert findings  # by the process that came last, at least
    assert "0.weight" in findings[0]["seen"]["in"]  # type: ignore[index]


@pytest.mark.parametrize("name", ["good", "near_miss"])
def test_silent(name: str, tmp_path: Path) -> None:
    reports = examined(getattr(RULE, name), tmp_path)
    assert found(reports) == []
    assert any("NW906" in report["rules"]["run"] for report in reports)  # type: ignore[index]
