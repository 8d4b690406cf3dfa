"""How the command ends its process: quickly, and with all that a program may rely on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LATE = """
import atexit, sys, threading, time
from netwright.__main__ import end

class Torn:
    def __del__(self):
        print("taken down", flush=True)

torn = Torn()
"""


def ended(code: str, **given: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", LATE + code], capture_output=True, text=True, **given)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("code", [0, 1, 143])
def test_nothing_that_was_printed_or_written_is_lost(code: int, tmp_path: Path) -> None:
    said = ended(
        f"atexit.register(print, 'exit function'); kept = open({str(tmp_path / 'kept')!r}, 'w'); kept.write('whole')\n"
        f"print('out'); print('err', file=sys.stderr); sys.stdout.write('no line'); end({code})"
    )
    assert (said.returncode, said.stdout, said.stderr) == (code, "out\nno lineexit function\n", "err\n")
    assert (tmp_path / "kept").read_text() == "whole"


def test_a_thread_is_waited_for_as_ever() -> None:
    said = ended("threading.Thread(target=lambda: (time.sleep(0.3), print('thread'))).start(); end(1)")
    assert (said.returncode, said.stdout) == (1, "thread\ntaken down\n")
    said = ended("threading.Thread(target=time.sleep, args=(60,), daemon=True).start(); end(0)", timeout=30)
    assert (said.returncode, said.stdout) == (0, "")


@pytest.mark.parametrize("code", [0, 1])
def test_what_cannot_be_flushed_is_left_to_python(code: int) -> None:
    found = []
    for way in ("end", "sys.exit"):
        program = f"import sys; from netwright.__main__ import end; print('out'); {way}({code})"
        with open("/dev/full", "w") as full:
            said = subprocess.run(
                [sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, text=True
            )
        found.append((said.returncode, said.stderr.splitlines()[-1]))
    assert found[0] == found[1] and found[0][0] != 0 and "No space left" in found[0][1]


def test_an_examined_program_ends_as_it_would_alone(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("class Torn:\n    def __del__(self):\n        print('taken down')\ntorn = Torn()\n")
    command = [sys.executable, "-m", "netwright", "examine", str(program)]
    assert "taken down" in subprocess.run(command, capture_output=True, text=True, cwd=tmp_path).stdout


def test_runs_are_listed_without_pytorch(tmp_path: Path) -> None:
    code = "import sys; from netwright.cli import run; print(run(['runs']), 'torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert said.stdout.endswith("0 False\n"), said.stdout + said.stderr
