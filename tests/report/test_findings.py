"""The examiner's report: golden text, the same with and without colour, at most 80 columns; the page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netwright.errors import RunFolderError
from netwright.report.findings import print_findings, render_findings, write_findings

RULES = {
    "NW104": {"slug": "relu-on-logits", "title": "a ReLU on the output clips the logits"},
    "NW205": {"slug": "labels-misaligned", "title": "training does no better than on permuted labels"},
    "NW403": {"slug": "dead-relu", "title": "most units of a layer never fire"},
    "NW501": {"slug": "learning-rate-too-high", "title": "the loss diverges"},
    "NW503": {"slug": "vanishing-gradient", "title": "gradients shrink toward the input"},
    "NW801": {"slug": "eval-mode-missing", "title": "evaluation runs in training mode"},
}
SOURCE = {
    ("train.py", 31): "            nn.Linear(64, 10), nn.ReLU(),\n",
    ("train.py", 7): "loss = criterion(network(inputs), labels)  # " + 20 * "and so on " + "\n",
}


def line_of(file: str, line: int) -> str:
    return SOURCE.get((file, line), "")


def finding_of(**more: Any) -> dict[str, Any]:
    return {
        "code": "NW104", "slug": "relu-on-logits", "level": "error",
        "title": "ReLU on the output clips the logits at 0: 48 % of the examples have their own class clipped",
        "file": "train.py", "line": 31, "layer": "head.1", "step": 0,
        "seen": {"smallest_logit": 0.0, "clipped_true_logit_share": 0.48, "shape": [64, 10]},
        "expected": {"smallest_logit": "below 0", "clipped_true_logit_share": 0.0},
        "why": "Where the clamp holds a logit at its floor, no gradient passes. The loss stays well above what it could be.",
        "fix": "Remove the activation after the last layer; cross-entropy does its own normalising.",
        "diff": "--- a/train.py\n+++ b/train.py\n@@ -30,3 +30,3 @@\n             nn.Sigmoid(),\n"
        "-            nn.Linear(64, 10), nn.ReLU(),\n+            nn.Linear(64, 10),\n         )\n",
        "sure": {"fact": "proved", "harm": "measured"}, "consequences": [], "moment": "backward", "also": [],
        **more,
    }  # fmt: skip


def examination_of(findings: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "version": 1, "script": "train.py", "script_exit": 0, "steps": 1200, "seconds": 42.3, "ended": "end",
        "findings": findings, "attached": [], "crash": None, "notes": [],
        "rules": {"run": ["NW104", "NW403", "NW501", "NW503"],
                  "not_run": [{"code": "NW205", "why": "no evaluation was seen"}, {"code": "NW801", "why": "no evaluation was seen"}],
                  "cut_short": [], "silenced": []},
        **more,
    }  # fmt: skip


NOTHING = {
    "run": [],
    "not_run": [{"code": f"NW{n}", "why": "the program never trained"} for n in range(101, 131)],
}
EXAMINATIONS = {
    "faulty": examination_of(
        [
            finding_of(consequences=["NW403", "NW503"], also=["train.py:40", "model.py:12"]),
            finding_of(code="NW501", slug="learning-rate-too-high", level="warning", file="", line=0, layer="", step=20,
                       title="the learning rate of 10 is too high", seen={"update_ratio": 0.31415926}, expected={"update_ratio": "under 0.1"},
                       diff="", sure={"fact": "likely", "harm": "measured"}),
            finding_of(code="NW607", slug="accumulation-not-normalised", level="advice", line=7, layer="", diff="", seen={}, expected={}),
        ],
        attached=[finding_of(code="NW403", slug="dead-relu", level="warning", step=40, line=29, layer="head.0",
                             title="97 % of the units of head.0 are 0 for every example that was seen in two batches")],
    ),
    "nothing": examination_of([]),
    "untrained": examination_of([], rules=NOTHING, steps=0, seconds=0.2, script_exit=3, script="tools/prepare.py",
                                notes=["the program never trained: no backward was seen"]),
    "crashed": examination_of([], ended="crash", script_exit=1, steps=1, crash={
        "kind": "RuntimeError", "message": "mat1 and mat2 shapes cannot be multiplied (64x16 and 12x4)", "file": "train.py", "line": 7,
        "layer": "head", "layer_class": "Linear", "config": {"in_features": 12, "out_features": 4}, "built": "model.py:3", "received": [[64, 16]]}),
    "stopped": examination_of([], ended="stopped", rules={
        "run": ["NW104", "NW801"], "not_run": [{"code": "NW205", "why": "no epoch"}, {"code": "NW501", "why": "fewer than 20 steps"}],
        "cut_short": ["NW205", "NW801"], "silenced": ["NW104"]}),
}  # fmt: skip


def printed(examination: dict[str, Any]) -> str:
    stream = io.StringIO()
    print_findings(examination, rules=RULES, line_of=line_of, stream=stream)
    return stream.getvalue()


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", EXAMINATIONS)
def test_report(name: str, golden: Callable[[str, str], None]) -> None:
    text = printed(EXAMINATIONS[name])
    golden(f"findings-{name}.txt", text)
    assert max(map(len, text.splitlines())) <= 80
    assert not [line for line in text.splitlines() if line != line.rstrip()]


@pytest.mark.parametrize("name", EXAMINATIONS)
def test_colour_changes_no_letter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = printed(EXAMINATIONS[name])
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    coloured = printed(EXAMINATIONS[name])
    assert coloured != plain
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[\d;]*3\dm", printed(EXAMINATIONS[name]))


def test_silence_is_never_said_to_be_health() -> None:
    assert "no proof" in printed(EXAMINATIONS["nothing"])
    assert "no proof" not in printed(EXAMINATIONS["untrained"])
    assert "all 30 rules" in printed(EXAMINATIONS["untrained"])
    stopped = printed(EXAMINATIONS["stopped"])
    assert "though it was found: NW104" in stopped and "no proof" not in stopped
    assert "whole epoch" in stopped and "NW801 eval-mode-missing" in stopped


def test_a_hostile_script_stays_text() -> None:
    hostile = examination_of(
        [finding_of(title="\x1b[2J<script>alert(1)</script>", layer="\x1b]0;x\x07")], script="<b>.py"
    )
    assert "\x1b" not in printed(hostile)
    page = render_findings(hostile, rules=RULES, line_of=line_of)
    assert "<script>" not in page and "<b>.py" not in page and "\x1b" not in page


@pytest.mark.parametrize("name", EXAMINATIONS)
@pytest.mark.parametrize("width", [390, 1280])
def test_page_in_a_browser(name: str, width: int, tmp_path: Path, browser: Any) -> None:
    page = write_findings(tmp_path / "report.html", EXAMINATIONS[name], rules=RULES, line_of=line_of)
    browser.open(page, width=width)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert [address for address in browser.requests if not address.startswith("data:")] == [
        page.resolve().as_uri()
    ]
    assert browser.complaints == []
    text = browser.evaluate("document.body.innerText")
    for finding in EXAMINATIONS[name]["findings"]:
        assert finding["title"] in text and finding["why"] in text and finding["slug"] in text
    assert "What was not checked, and why" in text


def test_page_says_the_same(tmp_path: Path) -> None:
    page = render_findings(EXAMINATIONS["faulty"], rules=RULES, line_of=line_of)
    for words in (
        "train.py:31",
        "nn.Linear(64, 10), nn.ReLU(),",
        "layer head.1",
        "NW403 (97 %",
        "NW503 (gradients shrink",
    ):
        assert words in page
    assert "(64, 16)" in render_findings(EXAMINATIONS["crashed"], rules=RULES)
    assert "though it was found: NW104" in render_findings(EXAMINATIONS["stopped"], rules=RULES)


def test_every_text_can_be_read(tmp_path: Path, browser: Any) -> None:
    faint = (
        (Path(__file__).parent / "test_browser.py")
        .read_text()
        .partition('FAINT = """')[2]
        .partition('"""')[0]
    )
    page = write_findings(tmp_path / "report.html", EXAMINATIONS["faulty"], rules=RULES, line_of=line_of)
    for dark in (False, True):
        browser.open(page, width=1280, dark=dark)
        assert browser.evaluate(faint.replace("\\\\", "\\")) == []


def test_page_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="cannot write"):
        write_findings(tmp_path / "none" / "report.html", EXAMINATIONS["nothing"], rules=RULES)
