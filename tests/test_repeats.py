"""Folds and seeds: every example tested once, groups and times respected, intervals against scipy."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import ttest_1samp
from sklearn.model_selection import StratifiedKFold

from netwright.data import load
from netwright.data.partition import fold_of, last_of
from netwright.errors import DataError, RecipeError
from netwright.recipe import Recipe
from netwright.repeats import carry_out_often, plan, spread
from netwright.run import Run

QUICK = {"data.source": "digits", "train.epochs": 1, "data.limit": 200, "network.hidden": [8]}


def inputs(rows: int, classes: int = 2):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, 3)).astype(np.float32), np.arange(rows) % classes


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("stratified", [False, True])
def test_each_example_is_held_out_in_one_fold(grouped, stratified):
    groups = np.arange(101) // (4 if grouped else 1)
    targets = (np.arange(101) % 5 == 0).astype(int) if stratified else None
    held = [fold_of(targets, groups, (number, 4), 0)[1] for number in range(1, 5)]
    assert sorted(torch.cat(held).tolist()) == list(range(101))
    for place in range(4):
        others = {group for other in range(4) if other != place for group in groups[held[other]].tolist()}
        assert others.isdisjoint(groups[held[place]].tolist())
    if stratified and not grouped:
        shares = [float(targets[rows].mean()) for rows in held]
        assert max(shares) - min(shares) < 0.05
    again = fold_of(targets, groups, (2, 4), 0)[1]
    assert torch.equal(held[1], again)
    assert not torch.equal(held[1], fold_of(targets, groups, (2, 4), 1)[1])


def test_folds_are_those_of_scikit_learn():
    targets = np.arange(90) % 3
    cuts = list(StratifiedKFold(5, shuffle=True, random_state=7).split(targets, targets))
    kept, held = fold_of(targets, np.arange(90), (3, 5), 7)
    assert kept.tolist() == cuts[2][0].tolist() and held.tolist() == cuts[2][1].tolist()


def test_rows_tell_which_examples_a_part_has():
    x, y = inputs(60)
    data = load(x, y, fold=[2, 3], validation=0.2)
    assert sorted(np.concatenate([*data.rows.values()]).tolist()) == list(range(60))
    for part, rows in data.rows.items():
        assert torch.equal(getattr(data, part).inputs, torch.from_numpy(x[rows]))
        assert getattr(data, part).targets.tolist() == y[rows].tolist()


def test_rows_follow_a_limit():
    x, y = inputs(60)
    data = load(x, y, limit=7)
    assert torch.equal(data.train.inputs, torch.from_numpy(x[data.rows["train"]])) and len(data.train) == 7


def test_a_test_part_of_the_set_s_own_is_left_alone():
    x, y = inputs(60)
    data = load({"train": (x[:40], y[:40]), "test": (x[40:], y[40:])}, fold=[1, 2], validation=0)
    assert len(data.test) == 20 and data.rows["test"].max() < 40
    assert any("own test part is left alone" in note for note in data.notes)


@pytest.mark.parametrize("fold", [[0, 3], [4, 3], [1, 1], [1], "1/3", [1.0, 2], [True, 2]])
def test_folds_that_cannot_be(fold):
    with pytest.raises(DataError, match=r"data\.fold"):
        load(*inputs(30), fold=fold)


def test_more_folds_than_examples():
    with pytest.raises(DataError, match="40 folds of 30 examples"):
        load(*inputs(30), fold=[1, 40])


def test_last_of():
    kept, held = last_of(np.array([3.0, 9.0, 1.0, 7.0]), 2)
    assert (kept.tolist(), held.tolist()) == ([0, 2], [1, 3])
    assert last_of(np.array([1.0, 2.0]), 0)[1].tolist() == []


class TestColumns:
    @pytest.fixture
    def visits(self, tmp_path):
        path = tmp_path / "visits.csv"
        rng = np.random.default_rng(0)
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["person", "day", "pulse", "ill"])
            for number in range(200):
                day = f"2024-{1 + number // 20:02}-{1 + number % 20:02}"
                writer.writerow([f"p{number % 23}", day, rng.integers(50, 120), number % 2])
        return path

    def test_a_group_stays_in_one_part(self, visits):
        data = load(visits, target="ill", group="person")
        people = [{row % 23 for row in data.rows[part].tolist()} for part in ("train", "validation", "test")]
        assert all(people) and not (people[0] & people[1] or people[0] & people[2] or people[1] & people[2])
        assert data.preparation.inputs == ("day", "pulse")
        assert "rows of one person stay in one part: 23 groups" in data.notes

    def test_a_group_stays_in_one_fold(self, visits):
        held = [
            load(visits, target="ill", group="person", fold=[n, 4]).rows["test"] % 23 for n in range(1, 5)
        ]
        assert sum(len(set(people.tolist())) for people in held) == 23

    def test_the_test_part_comes_last(self, visits):
        data = load(visits, target="ill", time="day", test_share=0.2, validation=0.1)
        last = {part: rows.max() for part, rows in data.rows.items()}
        first = {part: rows.min() for part, rows in data.rows.items()}
        assert last["train"] < first["validation"] <= last["validation"] < first["test"]
        assert (
            len(data.test) == 40 and "test: 40 of 200 examples held out, those that come last" in data.notes
        )

    def test_columns_that_cannot_be(self, visits):
        for options, said in (
            ({"time": "person"}, "expected dates or numbers in column 'person'"),
            ({"time": "dya"}, "did you mean 'day'"),
            ({"group": "persn"}, "did you mean 'person'"),
            ({"time": "day", "fold": [1, 2]}, "folds would be tested on their past"),
        ):
            with pytest.raises(DataError, match=said):
                load(visits, target="ill", **options)
        for option in ("group", "time"):
            with pytest.raises(DataError, match=rf"data\.{option} names a column of a table"):
                load(*inputs(30), **{option: "person"})


def test_plan():
    recipe = Recipe.build({"data.source": "digits", "train.seed": 5})
    runs = plan(recipe, folds=None, seeds=3)
    assert [name for name, _ in runs] == ["seed-5", "seed-6", "seed-7"]
    assert [one.train.seed for _, one in runs] == [5, 6, 7]
    runs = plan(recipe, folds=2, seeds=None)
    assert [one.data.fold for _, one in runs] == [[1, 2], [2, 2]] and {one.train.seed for _, one in runs} == {
        5
    }
    with pytest.raises(RecipeError, match="at least 2"):
        plan(recipe, folds=1, seeds=None)


def test_interval_is_student_s():
    values = [0.91, 0.93, 0.90, 0.95]
    found = spread(values, shared=0.0)
    interval = ttest_1samp(values, 0).confidence_interval(0.95)
    assert found["interval"] == pytest.approx([interval.low, interval.high])
    assert found["std"] == pytest.approx(np.std(values, ddof=1))


def test_folds_widen_the_interval():
    values = [0.91, 0.93, 0.90, 0.95, 0.92]
    wide, narrow = spread(values, shared=1 / 4), spread(values, shared=0.0)
    ratio = (wide["interval"][1] - wide["mean"]) / (narrow["interval"][1] - narrow["mean"])
    assert ratio == pytest.approx(np.sqrt((1 / 5 + 1 / 4) / (1 / 5)))


def test_runs_lie_side_by_side_and_resume(tmp_path):
    recipe = Recipe.build(QUICK)
    out = tmp_path / "runs"
    found = carry_out_often(recipe, folds=2, out=out, quiet=True)
    assert json.loads((out / "summary.json").read_text()) == found
    runs = [Run(path) for path in found["runs"]]
    assert [run.path.name for run in runs] == ["fold-1", "fold-2"]
    assert found["test"]["accuracy"]["values"] == [run.result["test"]["accuracy"] for run in runs]
    assert runs[1].test()["accuracy"] == runs[1].result["test"]["accuracy"]
    with np.load(out / "fold-1" / "split.npz") as split:
        assert {name: len(rows) for name, rows in split.items()}.keys() == {"train", "validation", "test"}
    before = Path(found["runs"][0], "result.json").stat().st_mtime_ns
    assert carry_out_often(recipe, folds=2, out=out, quiet=True, resume=True)["test"] == found["test"]
    assert Path(found["runs"][0], "result.json").stat().st_mtime_ns == before
