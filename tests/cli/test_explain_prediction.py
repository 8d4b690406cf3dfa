"""`netwright explain-prediction` as a person uses it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

METHODS = ["saliency", "integrated gradients", "occlusion"]


def test_the_worst_mistake_in_text_and_as_a_page(netwright: Any, run: Path, folder: Path) -> None:
    ended = netwright("explain-prediction", "run")
    assert ended.code == 0 and "in truth" in ended.stdout and "explained: that it is" in ended.stdout
    assert [
        line.split(":")[0] for line in ended.stdout.splitlines() if line.startswith(tuple(METHODS))
    ] == METHODS
    assert ended.stderr.strip() == "the maps as a page: explanation.html"
    page = (folder / "explanation.html").read_text()
    assert page.count("<img") == 4 and "http" not in page.replace("http-equiv", "")


def test_a_picture_for_machines(netwright: Any, run: Path, folder: Path) -> None:
    Image.fromarray(np.full((8, 8), 90, np.uint8)).save(folder / "grey.png")
    ended = netwright("explain-prediction", "run", "grey.png", "--of", "3", "--html", "why.html", "--json")
    assert ended.json["input"] == "grey.png" and ended.json["explained"] == "that it is 3"
    assert [one["method"] for one in ended.json["maps"]] == METHODS
    assert all(np.array(one["map"]).shape == (8, 8) for one in ended.json["maps"])
    assert all(0 <= one["likeness_to_shuffled_weights"] <= 1 for one in ended.json["maps"])
    assert ended.json["page"] == "why.html" and (folder / "why.html").is_file()


def test_a_test_example_by_its_number(netwright: Any, run: Path) -> None:
    ended = netwright("explain-prediction", "run", "--test", 17, "--json")
    assert ended.json["input"] == "test example 17" and ended.json["truth"] in list("0123456789")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere",), "nowhere is not a run: it does not exist"),
        (("run", "missing.png"), "missing.png"),
        (("run", "--of", "eleven"), "unknown class 'eleven'"),
        (("run", "--test", "-1"), "--test is a whole number of at least 0, not '-1'"),
        (("run", "--test", "100000"), "the test part has the examples 0 to 358"),
        (("run", "--row", "2"), "--row goes with a FILE"),
        (("run", "photo.png", "--test", "2"), "give a FILE or --test, not both"),
        (("run", "--html", "no/such/folder/page.html"), "no/such/folder/page.html"),
    ],
)
def test_bad_input(netwright: Any, run: Path, words: tuple[str, ...], said: str) -> None:
    ended = netwright("explain-prediction", *words, code=2)
    assert said in ended.stderr and not ended.stdout


def test_an_unfinished_run(netwright: Any, run: Path) -> None:
    (run / "result.json").unlink()
    ended = netwright("explain-prediction", "run", code=2)
    assert "is not finished" in ended.stderr and "netwright resume run" in ended.stderr


def test_without_captum_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from netwright.errors import ExplanationError
    from netwright.explain.attribution import captum

    monkeypatch.setitem(sys.modules, "captum", None)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(ExplanationError, match=r"pip install 'netwright\[explain\]'"):
        captum()
