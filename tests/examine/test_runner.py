"""Scripts run under examination as under Python itself, and what was found comes out whichever way they end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netwright.errors import NetwrightError
from netwright.examine import parse_stop, run_module, run_script

DRIVER = """
import sys
from netwright.examine import run_module, run_script
assert "torch" not in sys.modules
options, script, *arguments = sys.argv[1:]
options = eval(options)
run = run_module if options.pop("module", False) else run_script
def report(result):
    result.save("result.json")
    return result.exit_code()
sys.exit(run(script, arguments, on_end=report, **options).exit_code())
"""
FAULTY = """
import sys, os, time
import torch
from torch import nn
torch.manual_seed(0)
network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax(dim=1))
optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
def train(steps):
    for step in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(torch.randn(16, 4)), torch.randint(0, 3, (16,)))
        loss.backward()
        optimizer.step()
"""


def start(folder: Path, source: str, *arguments: str, **options: object) -> subprocess.Popen[bytes]:
    (folder / "script.py").write_text(source)
    name = "script" if options.get("module") else "script.py"
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, repr(options), name, *arguments],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
    )


def run(folder: Path, source: str, *arguments: str, **options: object) -> tuple[int, str, str]:
    process = start(folder, source, *arguments, **options)
    out, errors = process.communicate(b"typed", timeout=120)
    return process.returncode, out.decode(), errors.decode()


def found(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


def plainly(folder: Path, *arguments: str) -> tuple[int, str, str]:
    process = subprocess.run(
        [sys.executable, *arguments], cwd=folder, input=b"typed", capture_output=True, timeout=120
    )
    return process.returncode, process.stdout.decode(), process.stderr.decode()


SURROUNDINGS = """
import sys, os, __main__
from helper import word
print(word, sys.argv, __name__, __file__, os.getcwd(), sys.path[0], sys.stdin.read())
print(sys.modules["__main__"].__dict__ is globals(), __spec__ is None, __package__, __doc__, type(__loader__).__name__)
sys.exit({code})
"""


@pytest.mark.parametrize("code", ["3", "None", "'bad luck'", "300"])
def test_script_finds_the_surroundings_that_python_gives(code: str, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("word = 'help'")
    source = SURROUNDINGS.replace("{code}", code)
    examined = run(tmp_path, source, "--epochs", "3")
    assert examined == plainly(tmp_path, "script.py", "--epochs", "3")
    assert "never imported torch" in found(tmp_path)["notes"][0]


def test_module(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("word = 'help'")
    source = SURROUNDINGS.replace("{code}", "0").replace("sys.path[0]", "os.path.realpath(sys.path[0])")
    assert run(tmp_path, source, "x", module=True) == plainly(tmp_path, "-m", "script", "x")


def test_exception_has_its_own_traceback(tmp_path: Path) -> None:
    source = "def inner():\n    raise KeyError('lost')\ninner()\n"
    assert run(tmp_path, source) == plainly(tmp_path, "script.py")


def test_torch_is_imported_by_the_script_and_not_before(tmp_path: Path) -> None:
    source = FAULTY + (
        "import multiprocessing\n"
        "def work(n):\n    return n + 1\n"
        "if __name__ == '__main__':\n"
        "    train(3)\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.map(work, [1]), torch.__spec__.loader.__class__.__name__)\n"
        "    sys.exit(4)\n"
    )
    code, out, errors = run(tmp_path, source)
    assert (code, out.split()) == (1, ["[2]", "SourceFileLoader"]), errors
    result = found(tmp_path)
    assert (result["script"], result["script_exit"], result["steps"]) == ("script.py", 4, 3)
    (finding,) = result["findings"]
    assert (finding["code"], finding["line"], finding["layer"]) == ("NW101", 6, "3")
    assert (
        "-network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax(dim=1))"
        in finding["diff"]
    )
    assert "+network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))" in finding["diff"]


def test_crash_is_followed_by_what_was_known(tmp_path: Path) -> None:
    code, _, errors = run(tmp_path, FAULTY + "train(2)\nnetwork(torch.randn(2, 5))\n")
    assert code == 1 and "examine" not in errors and "mat1 and mat2" in errors
    result = found(tmp_path)
    assert [finding["code"] for finding in result["findings"]] == ["NW101"]
    assert result["script_exit"] == 1 and result["ended"] == "crash"


def test_os_exit_loses_nothing(tmp_path: Path) -> None:
    code, _, _ = run(tmp_path, FAULTY + "train(2)\nos._exit(7)\n")
    assert code == 1 and found(tmp_path)["script_exit"] == 7
    assert [finding["code"] for finding in found(tmp_path)["findings"]] == ["NW101"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals(number: int, code: int, tmp_path: Path) -> None:
    process = start(
        tmp_path, FAULTY + "train(2)\nprint('ready', flush=True)\ntime.sleep(60)\n", allow=["NW101"]
    )
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code
    assert found(tmp_path)["ended"] == "signal" and found(tmp_path)["steps"] == 2


@pytest.mark.parametrize("limit", ["7 steps", "8 s"])
def test_stop_after(limit: str, tmp_path: Path) -> None:
    began = time.monotonic()
    endless = "\nwhile True:\n    train(1)\n    time.sleep(0.01)\n"
    code, _, errors = run(tmp_path, FAULTY + endless, stop_after=limit)
    result = found(tmp_path)
    assert (result["ended"], errors) == ("stopped", "") and time.monotonic() - began < 100
    assert limit == "8 s" or (result["steps"], code) == (7, 1)


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(NetwrightError, match="no such script"):
        run_script(str(tmp_path / "none.py"))
    with pytest.raises(NetwrightError, match="no such module"):
        run_module("no_such_module_at_all")
    (tmp_path / "wrong.py").write_text("x = 1\ny = (\n")
    with pytest.raises(NetwrightError, match=r"wrong\.py, line 2: "):
        run_script(str(tmp_path / "wrong.py"))
    with pytest.raises(NetwrightError, match=r"did you mean.*relu-on-logits"):
        (tmp_path / "fine.py").write_text("x = 1\n")
        run_script(str(tmp_path / "fine.py"), allow=["relu-on-logit"])
    with pytest.raises(NetwrightError, match="expected a number of steps or seconds"):
        parse_stop("soon")
