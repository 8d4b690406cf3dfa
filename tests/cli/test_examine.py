"""`netwright examine` and `netwright explain` as a person uses them: real processes in an empty folder."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

GOOD = """
import sys
import torch
from torch import nn

torch.manual_seed(0)
inputs, labels = torch.randn(64, 12), torch.randint(0, 3, (64,))
network = nn.Sequential(
    nn.Linear(12, 16),
    nn.Tanh(),
    nn.Linear(16, 3),{last}
)
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range({steps}):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(network(inputs), labels)
    loss.backward()
    optimizer.step()
print("arguments", sys.argv[1:])
{end}
"""


def program(
    folder: Path, *, faulty: bool = False, steps: int = 6, end: str = "", name: str = "train.py"
) -> Path:
    text = GOOD.replace("{last}", "\n    nn.ReLU()," if faulty else "").replace("{steps}", str(steps))
    (folder / name).write_text(text.replace("{end}", end))
    return folder / name


def test_good_script(netwright: Any, folder: Path) -> None:
    program(folder)
    ended = netwright("examine", "train.py")
    assert ended.stdout == "arguments []\n"
    assert "0 errors, 0 warnings" in ended.stderr and "no proof" in ended.stderr
    assert "Not checked:" in ended.stderr and "NW801 eval-mode-missing" in ended.stderr


def test_faulty_script(netwright: Any, folder: Path) -> None:
    program(folder, faulty=True)
    ended = netwright("examine", "train.py", code=1)
    assert ended.stdout == "arguments []\n"
    at_once, report = ended.stderr.split("\nnetwright examined ")
    assert at_once.startswith("netwright: error[NW104] train.py:12: ReLU on the output")
    for words in (
        "error[NW104]: ReLU on the output clips the logits at 0",
        "--> train.py:12, layer 3, since step 0",
        "12 |     nn.ReLU(),",
        "clipped true logit share",
        "    -    nn.ReLU(),",
        "netwright explain NW104",
        "--allow relu-on-logits",
        "1 error, 0 warnings, 0 advice;",
    ):
        assert words in report
    assert "Traceback" not in ended.stderr


def test_the_examples_of_the_issue(netwright: Any, folder: Path) -> None:
    examples = Path(__file__).parents[2] / "examples"
    small = ("--epochs", 1, "--limit", 400)
    ended = netwright("examine", "--json", "a.json", examples / "a_relu_on_output.py", *small, code=None)
    if "could not be had" in ended.stderr or "cannot fetch" in ended.stderr:
        pytest.skip("MNIST is not at hand")
    found = json.loads((folder / "a.json").read_text())["findings"][0]
    assert ended.code == 1
    lines = (examples / "a_relu_on_output.py").read_text().splitlines()
    assert found["code"] == "NW104" and "torch.relu" in lines[found["line"] - 1]
    assert 0 < found["seen"]["clipped_true_logit_share"] < 1
    assert "-        return torch.relu(self.output(x))" in found["diff"]
    netwright("examine", "--json", "b.json", examples / "a_repaired.py", *small)
    assert not [
        one for one in json.loads((folder / "b.json").read_text())["findings"] if one["level"] == "error"
    ]


def test_everything_behind_the_script_belongs_to_it(netwright: Any, folder: Path) -> None:
    program(folder, steps=1)
    mine = ["--json", "5", "-m", "x", "--traceback", "--help", "--", "--fail-on", "never", "-"]
    ended = netwright("examine", "--fail-on", "warning", "train.py", *mine, code=None)
    assert ended.stdout == f"arguments {mine}\n"
    ended = netwright("examine", "--", "train.py", "--", "-x", code=None)
    assert ended.stdout == "arguments ['--', '-x']\n"


def test_module(netwright: Any, folder: Path) -> None:
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("")
    (folder / "package" / "layers.py").write_text("from torch.nn import ReLU\n")
    program(folder / "package", faulty=True, end="from . import layers\nprint(__name__, __spec__.name)")
    ended = netwright("examine", "-m", "package.train", "--json", "5", code=1)
    assert ended.stdout == "arguments ['--json', '5']\n__main__ package.train\n"
    assert "package/train.py:12" in ended.stderr
    for spelling in (["-mpackage.train"], ["--module=package.train"], ["--module", "package.train"]):
        assert "['-v']" in netwright("examine", *spelling, "-v", code=1).stdout


@pytest.mark.parametrize(
    ("end", "options", "code"),
    [
        ("sys.exit(7)", (), 1),
        ("sys.exit(7)", ("--fail-on", "never"), 7),
        ("sys.exit(7)", ("--allow", "relu-on-logits"), 7),
        ("sys.exit(7)", ("--allow", "NW104", "--fail-on", "warning"), 7),
        ("sys.exit('so it ends')", ("--fail-on", "never"), 1),
        ("", ("--fail-on", "never"), 0),
    ],
)
def test_exit_codes(netwright: Any, folder: Path, end: str, options: tuple[str, ...], code: int) -> None:
    program(folder, faulty=True, steps=2, end=end)
    ended = netwright("examine", *options, "train.py", code=code)
    assert ("NW104 relu-on-logits" in ended.stderr and "Silenced" in ended.stderr) == ("--allow" in options)


def test_allowed_in_the_source(netwright: Any, folder: Path) -> None:
    script = program(folder, faulty=True, steps=2)
    script.write_text(
        script.read_text().replace("nn.ReLU(),", "nn.ReLU(),  # netwright: allow relu-on-logits")
    )
    assert "Silenced" in netwright("examine", "train.py").stderr


def test_json_and_page(netwright: Any, folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    program(folder, faulty=True, end="import os; os.chdir('elsewhere')")
    netwright("examine", "--json", "report.json", "--html", "report.html", "train.py", code=1)
    found = json.loads((folder / "report.json").read_text())
    assert (found["version"], found["script"], found["script_exit"], found["steps"]) == (1, "train.py", 0, 6)
    (one,) = found["findings"]
    assert (one["code"], one["slug"], one["level"]) == ("NW104", "relu-on-logits", "error")
    assert (one["file"], one["line"], one["layer"], one["step"]) == ("train.py", 12, "3", 0)
    assert one["sure"]["fact"] == "proved" and one["seen"] and one["expected"] and one["why"] and one["fix"]
    assert "NW104" in found["rules"]["run"]
    assert {"code", "why"} == set(found["rules"]["not_run"][0])
    page = (folder / "report.html").read_text()
    assert "NW104" in page and "nn.ReLU()," in page
    assert list((folder / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("option", ["--json", "--html"])
@pytest.mark.parametrize("target", ["none/report", ".", "-"])
def test_target_that_cannot_be_written(netwright: Any, folder: Path, option: str, target: str) -> None:
    program(folder, end="open('ran', 'w')")
    ended = netwright("examine", option, target, "train.py", code=2)
    assert ended.stderr.startswith(f"netwright: {option}") and ended.stderr.count("\n") == 1
    assert not (folder / "ran").exists()  # not after hours of training


def test_target_that_fails_later(netwright: Any, folder: Path) -> None:
    (folder / "reports").mkdir()
    program(folder, end="import shutil; shutil.rmtree('reports')")
    ended = netwright("examine", "--json", "reports/report.json", "train.py", code=2)
    assert "cannot write" in ended.stderr and "0 errors" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nope.py"], ["no such script: nope.py"]),
        (["-m", "nope.train"], ["no such module: nope.train"]),
        (["-m"], ["requires an argument"]),
        (["--allow"], ["requires an argument"]),
        (["--fail-on", "errors", "train.py"], ["'errors'", "'error'"]),
        (["--allow", "relu-logits", "train.py"], ["'relu-logits'", "relu-on-logits (NW104)"]),
        (["--allow", "NW999", "train.py"], ["'NW999'", "netwright explain"]),
        (["--stop-after", "soon", "train.py"], ["'soon'", "100 steps"]),
        (["--stop-after", "0 s", "train.py"], ["'0 s'"]),
        (["--jsn", "x", "train.py"], ["--jsn"]),
        (["broken.py"], ["broken.py, line 2", "print(1 + )"]),
        (["-m", "broken"], ["line 2", "print(1 + )"]),
        (["binary.py"], ["binary.py"]),
        (["--json", "x"], ["no script given"]),
    ],
)
def test_bad_input(netwright: Any, folder: Path, arguments: list[str], words: list[str]) -> None:
    program(folder, end="open('ran', 'w')")
    (folder / "broken.py").write_text("x = 1\nprint(1 + )\n")
    (folder / "binary.py").write_bytes(b"\0\xff\xfe")
    ended = netwright("examine", *arguments, code=2)
    assert ended.stdout == "" and "Traceback" not in ended.stderr
    assert ended.stderr.startswith("netwright: ") and len(ended.stderr.splitlines()) <= 4
    for word in words:
        assert word in ended.stderr
    assert not (folder / "ran").exists()


def test_script_that_never_trains(netwright: Any, folder: Path) -> None:
    (folder / "data.py").write_text("import sys, torch\nprint(torch.ones(2).sum().item())\nsys.exit(4)\n")
    ended = netwright("examine", "data.py", code=4)
    assert ended.stdout == "2.0\n"
    assert (
        "never trained" in ended.stderr and "0 rules run" in ended.stderr and "no proof" not in ended.stderr
    )


def test_script_without_torch_is_not_given_it(fresh: Any, folder: Path) -> None:
    (folder / "plain.py").write_text(
        "import sys\nprint([name for name in ('torch', 'numpy', 'rich') if name in sys.modules])\n"
        "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)\n"
    )
    ended = fresh("examine", "plain.py")
    assert ended.stdout == "[]\nTrue\n"
    assert "never imported torch" in ended.stderr


def test_what_lies_beside_the_script_is_not_ours(fresh: Any, folder: Path) -> None:
    for name in ("rich.py", "jinja2.py", "html.py"):
        (folder / name).write_text("raise SystemExit('wrong file')\n")
    (folder / "plain.py").write_text("print(1)\n")
    ended = fresh("examine", "--html", "report.html", "plain.py")
    assert "never imported torch" in ended.stderr and "wrong file" not in ended.stderr
    assert (folder / "report.html").exists()


@pytest.mark.parametrize("hang", ["while True: time.sleep(0.05)", "while True: pass"])
def test_script_that_hangs(netwright: Any, folder: Path, hang: str) -> None:
    program(folder, faulty=True, steps=2, end=f"import time\n{hang}")
    ended = netwright("examine", "--stop-after", "1.5 s", "train.py", code=1)
    assert "then stopped as asked" in ended.stderr and "error[NW104]" in ended.stderr


def test_stopped_after_some_steps(netwright: Any, folder: Path) -> None:
    program(folder, steps=10_000)
    ended = netwright("examine", "--stop-after", "30 steps", "train.py")
    assert ended.stdout == ""
    assert ": 30 optimizer steps" in ended.stderr
    assert "needs a whole epoch or an evaluation" in ended.stderr and "NW801" in ended.stderr


def test_script_that_calls_os_exit(netwright: Any, folder: Path) -> None:
    program(folder, faulty=True, end="import os; sys.stdout.flush(); os._exit(9)")
    assert "error[NW104]" in netwright("examine", "--json", "a.json", "train.py", code=1).stderr
    assert json.loads((folder / "a.json").read_text())["script_exit"] == 9
    assert "error[NW104]" in netwright("examine", "--fail-on", "never", "train.py", code=9).stderr


def test_script_that_raises(netwright: Any, folder: Path) -> None:
    program(folder, end="network(torch.randn(5, 13))")
    ended = netwright("examine", "train.py", code=1)
    trail, _, known = ended.stderr.partition("\nnetwright examined ")
    assert trail.startswith("Traceback (most recent call last):\n")
    assert 'train.py", line 20, in <module>' in trail and "network(torch.randn(5, 13))" in trail
    assert "netwright" not in trail and trail.rstrip().endswith("(5x13 and 12x16)")
    for words in (
        "the script raised RuntimeError",
        "--> train.py:20, in layer 0",
        "in_features=12",
        "train.py:9",
        "(5, 13)",
    ):
        assert words in known


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals(fresh: Any, folder: Path, number: int, code: int) -> None:
    program(folder, faulty=True, end="open('ready', 'w').close()\nimport time\ntime.sleep(60)")
    started = fresh.start("examine", "--fail-on", "never", "train.py")
    started.until((folder / "ready").exists)
    started.send(number)
    ended = started.end()
    assert ended.code == code
    assert "error[NW104]" in ended.stderr and "ended by a signal" in ended.stderr


def test_a_signal_handler_of_the_script_is_its_own(fresh: Any, folder: Path) -> None:
    program(
        folder,
        end="import signal, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\nopen('ready', 'w').close()\ntime.sleep(60)",
    )
    started = fresh.start("examine", "train.py")
    started.until((folder / "ready").exists)
    started.send(signal.SIGTERM)
    assert started.end().code == 5


def test_explain(netwright: Any) -> None:
    by_code, by_slug = netwright("explain", "nw104"), netwright("explain", "relu-on-logits")
    assert by_code.stdout == by_slug.stdout
    for words in (
        "NW104 relu-on-logits",
        "What is wrong",
        "Why it matters",
        "What to do",
        "Example",
        "--allow relu-on-logits",
    ):
        assert words in by_code.stdout
    assert netwright("explain", "NW104", "--json").json["slug"] == "relu-on-logits"


def test_explain_lists_all(netwright: Any) -> None:
    rules = netwright("explain", "--json").json
    assert len(rules) >= 23
    listed = netwright("explain").stdout.splitlines()
    assert [line.split()[:2] for line in listed] == [[rule["code"], rule["slug"]] for rule in rules]


@pytest.mark.parametrize(
    ("name", "near"),
    [("relu-logits", "relu-on-logits (NW104)"), ("NW1O4", "NW104"), ("??", "lists them all")],
)
def test_explain_unknown(netwright: Any, name: str, near: str) -> None:
    ended = netwright("explain", name, code=2)
    assert ended.stdout == "" and near in ended.stderr and name in ended.stderr
