"""Two runs side by side against closed forms, scikit-learn's predictions and a bootstrap written by hand."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest

from netwright.fitting import carry_out
from netwright.recipe import Recipe
from netwright.run import Run
from netwright.side_by_side import mcnemar, paired_bootstrap, side_by_side

QUICK = {"data.source": "digits", "train.epochs": 2, "data.limit": 200, "network.hidden": [8]}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    for name, entries in {"a": {}, "b": {"optimizer.lr": 0.03}, "c": {"train.seed": 1}}.items():
        layers = {**QUICK, **entries}
        carry_out(Recipe.build(layers), out=folder / name, quiet=True, examine=False, report=False)
    return folder


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (9, 1), (30, 20), (0, 12)])
def test_mcnemar_is_the_two_sided_binomial(gained, lost):
    ours = np.array([True] * lost + [False] * gained + [True] * 50)
    theirs = np.array([False] * lost + [True] * gained + [True] * 50)
    found = mcnemar(ours, theirs)
    count = gained + lost
    few = range(min(gained, lost) + 1)
    p = min(1.0, 2 * sum(math.comb(count, k) for k in few) / 2**count)
    assert found["p"] == pytest.approx(p) and found["larger"] == (p < 0.05)
    assert found["difference"] == pytest.approx(theirs.mean() - ours.mean())
    assert (
        found["interval"][0] <= found["difference"] + 0.03
        and found["interval"][1] >= found["difference"] - 0.03
    )


def test_intervals_of_paired_shares_cover_as_often_as_they_say():
    draws = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        ours = draws.random(200) < 0.8
        theirs = np.where(draws.random(200) < 0.9, ours, draws.random(200) < 0.5)
        low, high = mcnemar(ours, theirs)["interval"]
        covered += low <= 0.1 * 0.5 - 0.1 * 0.8 <= high
    assert 0.92 <= covered / 400 <= 0.99


def test_the_bootstrap_is_one_by_hand():
    draws = np.random.default_rng(1)
    ours, theirs = draws.chisquare(1, 300), draws.chisquare(1, 300) * 0.5
    found = paired_bootstrap(ours, theirs)
    rows = draws.integers(0, 300, (4000, 300))
    apart = np.sqrt(theirs[rows].mean(axis=1)) - np.sqrt(ours[rows].mean(axis=1))
    assert found["difference"] == pytest.approx(math.sqrt(theirs.mean()) - math.sqrt(ours.mean()))
    assert found["interval"] == pytest.approx(np.quantile(apart, [0.025, 0.975]), abs=0.02)
    assert found["larger"] and not paired_bootstrap(ours, ours)["larger"]


def test_two_runs_on_the_same_examples(made):
    found = side_by_side(made / "a", made / "b")
    assert found["recipe"] == {"optimizer.lr": [None, 0.03]}
    runs = [Run(made / name) for name in "ab"]
    right = []
    for run in runs:
        test = run.data.test
        labels = [record["label"] for record in run.predict(test.inputs)]
        right.append(
            np.array([label == run.classes[int(y)] for label, y in zip(labels, test.targets, strict=True)])
        )
    known = mcnemar(*right)
    assert found["differ"] == known and known["larger"]
    accuracies = [one["test"]["accuracy"] for one in found["scores"]]
    assert found["differ"]["difference"] == pytest.approx(accuracies[1] - accuracies[0])


def test_on_other_examples_only_the_intervals_speak(made):
    found = side_by_side(made / "b", made / "c")["differ"]
    assert found["test"] == "" and "tested on different examples" in found["says"] and found["p"] is None


def test_a_run_with_itself_and_one_that_is_not_finished(made, tmp_path):
    same = side_by_side(made / "a", made / "a")
    assert same["recipe"] == {} and same["differ"]["p"] == 1.0 and not same["differ"]["larger"]
    shutil.copytree(made / "a", tmp_path / "cut")
    (tmp_path / "cut" / "result.json").unlink()
    found = side_by_side(made / "a", tmp_path / "cut")
    assert found["differ"]["larger"] is None and "not finished" in found["differ"]["says"]


def test_numbers_are_compared_by_the_bootstrap(tmp_path):
    draws = np.random.default_rng(0)
    x = draws.normal(size=(300, 3))
    lines = [
        "a,b,c,y",
        *(
            f"{a:.4f},{b:.4f},{c:.4f},{a - b + 0.1 * e:.4f}"
            for (a, b, c), e in zip(x, draws.normal(size=300), strict=True)
        ),
    ]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    for name, rate in (("a", 1e-5), ("b", 1e-2)):
        layers = {
            "data.source": str(tmp_path / "t.csv"),
            "data.target": "y",
            "train.epochs": 3,
            "network.hidden": [8],
            "optimizer.lr": rate,
        }
        carry_out(Recipe.build(layers), out=tmp_path / name, quiet=True, examine=False, report=False)
    found = side_by_side(tmp_path / "a", tmp_path / "b")
    rmse = [one["test"]["rmse"] for one in found["scores"]]
    assert found["differ"]["test"] == "paired bootstrap" and found["differ"]["larger"]
    assert found["differ"]["difference"] == pytest.approx(rmse[1] - rmse[0], rel=1e-4)
