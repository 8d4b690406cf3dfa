"""The page's text: what is on it, what cannot get out of it, how large it becomes."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.errors import NetwrightError, RunFolderError
from netwright.report import Report, render_report, write_report
from netwright.report.charts import thin
from netwright.report.html import BYTES_AT_MOST


class Page(HTMLParser):
    """Elements, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self._inside_style = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        self._inside_style = tag == "style"

    def handle_data(self, data: str) -> None:
        if not self._inside_style:
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        self._inside_style = False

    def values(self, attribute: str) -> list[str]:
        return [value for _, name, value in self.attributes if name == attribute]


def test_equal_reports_give_equal_bytes(reports: dict[str, Report], pages: dict[str, Path]) -> None:
    assert render_report(reports["fashion"]) == pages["fashion"].read_text("utf-8")


def test_bytes_do_not_depend_on_the_process_or_the_users_matplotlibrc(tmp_path: Path) -> None:
    program = (
        "import hashlib, sys; from netwright.report import render_report; "
        "page = render_report({'title': 't', 'task': 'regression', "
        "'steps': [{'step': n, 'loss': 1 / n, 'lr': 1 / n} for n in range(1, 50)], "
        "'scatter': {'true': [0.0, 1.0, 2.0], 'predicted': [0.5, 1.0, 1.5]}}); "
        "assert 'matplotlib.pyplot' not in sys.modules; print(hashlib.sha256(page.encode()).hexdigest())"
    )
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 9\nfont.size: 33\naxes.facecolor: red\n")
    hashes = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "MATPLOTLIBRC": str(folder)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, folder in (("1", tmp_path / "none"), ("2", tmp_path))
    }
    assert len(hashes) == 1


FORECAST = {
    "rmse": 0.5,
    "mae": 0.4,
    "scaled_mse": 0.2,
    "scaled_mae": 0.3,
    "steps": {"scaled_mse": [0.2, None]},
}


def test_matplotlib_is_left_as_it_was(reports: dict[str, Report]) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    render_report(reports["regression"])
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("name", ["hostile", "text"])
def test_hostile_names_stay_text(name: str, pages: dict[str, Path]) -> None:
    page = Page(pages[name].read_text("utf-8"))
    assert page.elements["script"] == 0
    assert not [attribute for _, attribute, _ in page.attributes if attribute.startswith("on")]
    assert page.elements["img"] == (24 if name == "hostile" else 0)
    assert "<script>alert(1)</script>" in page.text
    for address in page.values("href") + page.values("src"):
        assert address.startswith(("#", "./", "data:"))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", page.text)


def test_nothing_points_outside(pages: dict[str, Path]) -> None:
    for page in pages.values():
        assert not re.search(r"https?://|@import|url\((?!#)", page.read_text("utf-8"))


def test_a_forecast_stands_beside_plain_ones(pages: dict[str, Path]) -> None:
    page = Page(pages["forecast"].read_text("utf-8"))
    for words in (
        "Rows ahead",
        "seasonal naive (24)",
        "The network, column by column",
        "<i>load</i>",
        "0.3079",
    ):
        assert words in page.text, words
    assert page.elements["svg"] >= 4


@pytest.mark.parametrize("name", ["fashion", "regression", "forecast", "interrupted"])
def test_ids_are_unique_and_found(name: str, pages: dict[str, Path]) -> None:
    text = pages[name].read_text("utf-8")
    ids = Page(text).values("id")
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:url\(|href=")#([^")]+)', text)
    assert set(used) <= set(ids)


def test_what_is_on_the_page(pages: dict[str, Path]) -> None:
    text = Page(pages["fashion"].read_text("utf-8")).text
    for wanted in (
        "fashion-mnist · cnn",
        "95 % interval",
        "17,226",
        "24 s",
        "Ankle boot",
        "98.00 % sure",
        "Kept 1 of 3 copies of the same image.",
        "error NW104",
        "train.py:31 · layer head.1 · since step 0",
        "clipped_true_logit_share 0.48",
        "source: digits",
        "packages.numpy",
        "recipe.yaml",
        "Of 1,880 steps, the lowest and the highest of every 7 are drawn.",
    ):
        assert wanted in re.sub(r"\s+", " ", text), wanted


def test_matrix_headers_say_what_they_head(pages: dict[str, Path]) -> None:
    page = Page(pages["fashion"].read_text("utf-8"))
    scopes = page.values("scope")
    # 10 + 10 of the matrix, 5 + 10 of the classes, 7 + 20 of the epochs, 3 + 1 of the files, 5 + 8 of the parts,
    # 5 times 22 + 8 of the layers, 4 + 3 of the data's classes, 3 + 2 of its gaps.
    assert Counter(scopes) == {"col": 147, "row": 62}


@pytest.mark.parametrize("count", [2, 3, 26, 100, 1000])
def test_any_number_of_classes(count: int) -> None:
    names = [f"class {number}" for number in range(count)]
    confusion = np.diag(np.full(count, 9)) + np.eye(count, k=1, dtype=int)
    rows = [{"class": name, "precision": 0.9, "recall": 0.9, "f1": 0.9, "support": 10} for name in names]
    test = {"accuracy": 0.9, "interval": [0.8, 0.95], "per_class": rows, "confusion": confusion.tolist()}
    page = Page(render_report({"title": "t", "task": "classification", "test": test, "classes": names}))
    cells = [value for value in page.values("class") if re.fullmatch(r"[rw]\d+", value)]
    assert len(cells) == (count**2 + 2 if count <= 100 else 0)
    assert ("too large to read" in page.text) is (count > 100)
    assert ("taken for" in page.text) is (count > 2)


def test_not_examined_and_nothing_found_are_told_apart() -> None:
    report: Report = {"title": "t", "task": "classification"}
    assert "not examined" in Page(render_report({**report, "findings": None})).text
    assert "Examined; nothing was found." in Page(render_report({**report, "findings": []})).text


def test_an_interrupted_run_says_how_to_go_on(pages: dict[str, Path]) -> None:
    text = Page(pages["interrupted"].read_text("utf-8")).text
    assert "This run was interrupted." in text
    assert "netwright resume runs/digits-1" in text
    assert "4 of 20" in text
    assert "Accuracy on the test part" not in text


def test_losses_that_are_no_numbers_are_counted_not_drawn() -> None:
    steps = [{"step": n, "loss": float("nan") if n > 5 else 1.0, "lr": 0.1} for n in range(1, 11)]
    history = [{"epoch": 1, "train_loss": float("inf"), "validation_loss": None, "step": 10, "best": False}]
    text = render_report({"title": "t", "task": "classification", "steps": steps, "history": history})
    assert "6 losses were not finite numbers and are missing here." in text
    assert "nan" not in re.sub(r"<table.*?</table>", "", text, flags=re.DOTALL)


@pytest.mark.parametrize(
    "more",
    [
        {"history": [], "steps": [{"step": 1, "loss": 0.5, "lr": 0.1}]},
        {"history": [{"epoch": 1, "train_loss": 0.5}], "steps": []},
        {"history": [{"epoch": 1, "train_loss": 0.0, "accuracy": 0.0, "best": True}]},
        {
            "history": [{"epoch": 2, "train_loss": 0.5}],
            "steps": [{"step": 7, "loss": 1.0}],
            "interrupted": True,
        },
        {"scatter": {"true": [1.0], "predicted": [1.0]}, "task": "regression"},
        {"scatter": {"true": np.ones((4, 2)), "predicted": np.full((4, 2), np.nan)}, "task": "regression"},
        {"test": {"rmse": 0.5, "mae": 0.4, "r2": None, "interval": None}, "task": "regression"},
        {"test": FORECAST, "task": "regression"},
        {
            "wrong": [
                {"image": None, "text": None, "true": 0, "predicted": 1, "probability": None, "name": None}
            ]
        },
    ],
)
def test_little_is_enough(more: dict[str, Any]) -> None:
    page = Page(render_report({"title": "t", "task": "classification", **more}))  # type: ignore[typeddict-item]
    assert page.elements["h1"] == 1


def test_the_largest_report_stays_below_its_limit() -> None:
    generator = np.random.default_rng(0)
    names = [f'{number}"&<' + "\N{PILE OF POO}<" * 2000 for number in range(100)]
    text = "&\"<'\N{PILE OF POO}" * 40_000
    test = {
        "accuracy": 0.5,
        "interval": [0.4, 0.6],
        "per_class": [{"class": n, "precision": 0.1, "recall": 0.1, "f1": 0.1, "support": 1} for n in names],
        "confusion": generator.integers(1, 10**7, (100, 100)).tolist(),
    }
    finding = dict.fromkeys(("code", "level", "title", "file", "layer", "why", "fix", "diff"), text)
    pairs = {f"{number}{text}": text for number in range(50)}
    shares = dict.fromkeys(("weights", "gradient", "change", "dead", "saturated"), 0.1)
    layers = {f"{number}{text}": shares for number in range(100)}
    part = {
        "by": text,
        "slice": text,
        "examples": 10**6,
        "accuracy": 0.5,
        "interval": [0.4, 0.6],
        "rest": 0.9,
    }
    wrong = {
        "image": generator.integers(0, 256, (300, 300, 3), dtype=np.uint8),
        "text": text,
        "true": text,
        "predicted": text,
        "probability": 0.5,
        "name": text,
    }
    counts = dict.fromkeys(("train", "validation", "test"), 10**9)
    page = render_report(
        {
            "title": text,
            "task": "classification",
            "run": text,
            "slices": {"rows": [{**part, "p": 0.01, "worse": True}] * 200, "left_out": "much"},
            "diagram": f"<svg>{'x' * 199_000}</svg>",
            "suspects": {"count": 10**6, "examples": [wrong] * 100},
            "data": {
                "parts": counts,
                "classes": [{"class": text, **counts}] * 1000,
                "range": [-1e30, 1e30],
                "gaps": [{"column": text, "gaps": 10**9}] * 100,
                "copies": {
                    **dict.fromkeys(("within", "between", "differing"), 1),
                    "pairs": [[text, text]] * 5,
                },
            },
            "network": text,
            "history": [
                {
                    "epoch": n,
                    "train_loss": n**0.5,
                    "accuracy": 1 / n,
                    "lr": 1 / n,
                    "best": True,
                    "layers": layers,
                }
                for n in range(1, 5001)
            ],
            "steps": [
                {"step": n, "loss": float(generator.random()), "lr": float(generator.random())}
                for n in range(50_000)
            ],
            "test": test,
            "classes": names,
            "wrong": [wrong] * 100,
            "scatter": {"true": generator.random(10**5), "predicted": generator.random(10**5)},
            "notes": [text] * 1000,
            "findings": [{**finding, "seen": pairs, "expected": pairs, "sure": pairs, "consequences": [text]}]
            * 1000,
            "recipe": text,
            "environment": pairs,
            "files": [{"name": text, "bytes": 10**12, "about": text}] * 1000,
        }
    )
    assert len(page.encode()) < BYTES_AT_MOST
    for said in ("characters more", "more, in the files of the run", "more findings", "epochs: every"):
        assert said in page


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=5000), st.integers(2, 300).map(lambda half: 2 * half)
)
def test_thinning_keeps_the_extremes_and_the_order(heights: list[float], points: int) -> None:
    x, y = thin(np.arange(len(heights), dtype=float), np.array(heights), points)
    assert len(x) <= max(points, 2)
    assert y.min() == min(heights)
    assert y.max() == max(heights)
    assert (np.diff(x) > 0).all()
    assert all(heights[int(place)] == height for place, height in zip(x, y))


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_what_is_no_picture_is_named(image: np.ndarray) -> None:
    wrong = [{"image": image, "text": None, "true": "a", "predicted": "b", "probability": 0.5, "name": ""}]
    with pytest.raises(NetwrightError, match=r"must be uint8 of shape \(H, W\)"):
        render_report({"title": "t", "task": "classification", "wrong": wrong})


def test_a_full_disk_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "report.html"
    target.write_text("old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunFolderError, match=r"cannot write the report.*No space left on device"):
        write_report(target, {"title": "t", "task": "classification"})
    assert target.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"nowhere.*No such file or directory"):
        write_report(tmp_path / "nowhere" / "report.html", {"title": "t", "task": "classification"})


def test_two_classes_show_how_the_one_looked_for_is_ranked() -> None:
    scores = {
        "class": "ill <b>",
        "share": 0.25,
        "roc_auc": 0.94321,
        "average_precision": 0.81,
        "at_specificity": [{"specificity": 0.9, "sensitivity": 0.875}],
        "at_threshold": {
            "threshold": 0.329,
            "precision": 0.9,
            "recall": 0.625,
            "f1": None,
            "specificity": 0.99,
        },
    }
    rows = [{"class": name, "precision": 0.9, "recall": 0.8, "f1": 0.85, "support": 40} for name in "ab"]
    test = {"loss": 0.3, "accuracy": 0.9, "interval": [0.8, 0.95], "per_class": rows}
    page = render_report(
        {"title": "t", "run": "r", "task": "classification", "test": {**test, "two_classes": scores}}
    )
    text = re.sub(r"<[^>]+>", " ", page)
    for shown in (
        "0.9432",
        "0.8100",
        "Sensitivity at specificity 90 % 87.50 %",
        "from probability 0.329",
        "62.50 %",
    ):
        assert shown in re.sub(r"\s+", " ", text), shown
    assert "ill &lt;b&gt;" in page and "F1 </dt>" not in page
    assert "Looked for" not in render_report(
        {"title": "t", "run": "r", "task": "classification", "test": test}
    )


def bins(*rows: tuple[int, float, float]) -> list[dict[str, float]]:
    return [
        {"low": 0.0, "high": 1.0, "examples": n, "confidence": sure, "accuracy": right}
        for n, sure, right in rows
    ]


def test_how_sure_a_network_was_stands_beside_how_often_it_was_right() -> None:
    calibration = {
        "temperature": 0.4567,
        "examples": 600,
        "ece_before": 0.0958,
        "ece_after": 0.0017,
        "before": bins((40, 0.5, 0.7), (60, 0.8, 0.95), (3, 0.3, 0.0)),
        "after": bins((40, 0.68, 0.7), (60, 0.93, 0.95), (3, 0.3, 0.0)),
    }
    guard = {"share": 0.01, "flagged": 0.0125, "tested": 400}
    report = {"title": "t", "run": "r", "task": "classification", "calibration": calibration, "guard": guard}
    page = render_report(report)
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    assert "off by 0.17 % on average, and were by 9.58 % before" in text and "temperature 0.457" in text
    assert "Of 400 test examples 1.25 % are flagged" in text and 'href="#doubt"' in page
    # Two curves, each drawn for a wide and for a narrow page; bins of few examples are left out.
    drawn = re.findall(r'<svg[^>]*aria-label="Share that was right.*?</svg>', page, flags=re.DOTALL)
    assert len(drawn) == 2
    assert all(len(re.findall(r"<use[^>]*var\(--first\)", svg)) == 2 for svg in drawn)


def test_what_was_not_calibrated_and_has_no_guard_says_why() -> None:
    rows = bins((40, 0.5, 0.7))
    calibration = {"temperature": 1.0, "examples": 9, "ece_before": 0.2, "ece_after": 0.2, "before": rows,
                   "after": rows, "reason": "9 are <few>"}  # fmt: skip
    report = {
        "title": "t",
        "task": "classification",
        "calibration": calibration,
        "guard": {"reason": "so & so"},
    }
    page = render_report(report)
    assert "were not calibrated: 9 are &lt;few&gt;" in page and "as it is" in page and "so &amp; so" in page
    assert "How sure it is" not in render_report({"title": "t", "task": "regression"})


def test_parts_layers_labels_and_data_are_on_the_page(pages: dict[str, Path]) -> None:
    page = Page(pages["fashion"].read_text("utf-8"))
    for words in (
        "Worse than the rest by more than chance: column 0 1 to 2 (51.00 %, the rest 90.00 %); column 1 7 to 8",
        "5 further slices are not kept",
        # The third layer's gradient is 0 in the end.
        "is more than 1,000 times smaller than that of layer 0",
        "50.00 % of the units behind layer 1 are dead",
        "40 labels of the validation and test part may be wrong, or the examples are hard",
        "The 8 surest.",
        "Of 1,797 examples 2 are copies of another one in the same part, 1 of one in another part; 1 of them has",
        "photos/<script>alert(1)</script>.jpg = test example 3",
        "Raw numbers lie from 0 to 16 in training.",
        "Peak memory",
        "575.8 MB",
        "0.0039 Wh",
        "How the energy was estimated: codecarbon 3: a load",
    ):
        assert words in page.text, words
    two = Page(pages["two"].read_text("utf-8"))
    assert "No label of the validation and test part stands out" in two.text
    many = Page(pages["regression"].read_text("utf-8"))
    assert "All 60 parts" in many.text and "(RMSE 0.5100, the rest 0.9000)" in many.text
    minimal = Page(pages["minimal"].read_text("utf-8"))
    for words in ("Part by part", "How its layers fared", "Labels to check", "The data"):
        assert words not in minimal.text


def test_the_diagram_stands_above_the_words_and_a_huge_one_is_left_out() -> None:
    drawn = '<svg role="img" aria-label="A small network, from input to output"><text>Linear</text></svg>'
    report: Report = {"title": "t", "task": "classification", "network": "Linear(4, 2)", "diagram": drawn}
    page = render_report(report)
    assert page.index(drawn) < page.index("Its structure in words") < page.index("Linear(4, 2)")
    assert "xxxx" not in render_report({**report, "diagram": f"<svg>{'x' * 300_000}</svg>"})
