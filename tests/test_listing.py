"""The list of runs: tolerant of what is broken, sorted, and with what tells the runs apart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from netwright.errors import RunFolderError, UnknownNameError
from netwright.fitting import carry_out
from netwright.listing import list_runs
from netwright.recipe import Recipe

QUICK = {"data.source": "digits", "train.epochs": 2, "data.limit": 200, "network.hidden": [8]}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for name, entries in {
        "good": {},
        "slow": {"optimizer.lr": 1e-5},
        "deep/er/sgd ü": {"optimizer.name": "sgd"},
    }.items():
        layers = {**QUICK, **entries}
        carry_out(Recipe.build(layers), out=folder / name, quiet=True, examine=False, report=False)
    shutil.copytree(folder / "good", folder / "cut")
    (folder / "cut" / "result.json").unlink()
    shutil.copytree(folder / "good", folder / "torn")
    (folder / "torn" / "result.json").write_text('{"test": {"accu')
    shutil.copytree(folder / "good", folder / "strange")
    (folder / "strange" / "recipe.yaml").write_text("data: [unclosed")
    (folder / "empty").mkdir()
    (folder / "mine").mkdir()
    (folder / "mine" / "recipe.yaml").write_text("data: {source: digits}\n")
    (folder / ".hidden").mkdir()
    shutil.copytree(folder / "good", folder / ".hidden" / "run")
    return folder


def names(rows):
    return [Path(row["run"]).name for row in rows]


def test_each_run_with_its_state_and_nothing_else(made):
    rows, whole = list_runs(made)
    states = {Path(row["run"]).name: row["state"] for row in rows}
    assert whole and states == {
        "good": "finished",
        "slow": "finished",
        "sgd ü": "finished",
        "cut": "interrupted",
        "torn": "broken",
        "strange": "broken",
    }
    assert all(row["reason"] for row in rows if row["state"] == "broken")


def test_best_first_with_the_runs_own_numbers(made):
    rows, _ = list_runs(made)
    finished = [row for row in rows if row["state"] == "finished"]
    assert [row["score"] for row in finished] == sorted((row["score"] for row in finished), reverse=True)
    for row in finished:
        result = json.loads((Path(row["run"]) / "result.json").read_text())
        assert (row["score"], row["interval"]) == (result["test"]["accuracy"], result["test"]["interval"])
        assert row["epochs"] == 2 and row["seconds"] == result["seconds"]
    cut = next(row for row in rows if row["state"] == "interrupted")
    assert cut["epochs"] == 2 and cut["score"] is None


def test_what_differs_is_from_the_most_common(made):
    rows = {Path(row["run"]).name: row for row in list_runs(made)[0]}
    assert rows["slow"]["differs"] == {"optimizer.lr": 1e-5}
    assert rows["sgd ü"]["differs"] == {"optimizer.name": "sgd"}
    assert rows["good"]["differs"] == {}


def test_sorted_by_columns_and_recipe_entries(made):
    paths = [row["run"] for row in list_runs(made, sort="run")[0]]
    assert paths == sorted(paths)
    times = [row["seconds"] for row in list_runs(made, sort="seconds")[0] if row["seconds"] is not None]
    assert times == sorted(times)
    assert names(list_runs(made, sort="optimizer.lr")[0])[0] == "slow"
    with pytest.raises(UnknownNameError, match="did you mean 'seconds'"):
        list_runs(made, sort="second")
    with pytest.raises(UnknownNameError, match=r"did you mean 'optimizer\.lr'"):
        list_runs(made, sort="optimiser.lr")


def test_a_run_itself_an_empty_folder_and_none(made, tmp_path):
    assert names(list_runs(made / "good")[0]) == ["good"]
    assert list_runs(tmp_path) == ([], True)
    with pytest.raises(RunFolderError, match="does not exist"):
        list_runs(tmp_path / "nowhere")


def test_a_folder_that_may_not_be_read_is_passed_over(made, monkeypatch):
    known = Path.exists

    def refuse(path: Path, **options: bool) -> bool:
        if path.parent.name == "slow":
            raise PermissionError(13, "Permission denied", str(path))
        return known(path, **options)

    monkeypatch.setattr(Path, "exists", refuse)
    assert "slow" not in names(list_runs(made)[0])
