"""Comparisons in full: resumed, on other numbers of processes, with variants that fail."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from netwright.comparing.comparison import Asked, compare, hopeless_after
from netwright.comparing.trial import Trial
from netwright.errors import NetwrightError, RecipeError
from netwright.fitting import carry_out
from netwright.recipe import Recipe
from netwright.run import Run

QUICK = {"data.source": "digits", "train.epochs": 2, "network.hidden": [8]}
GIVEN = tuple(QUICK)


def quiet(text: str) -> None:
    return None


def carried_out(out: Path, *vary: str, layers=QUICK, **options):
    asked = Asked(vary, **{"seeds": 2, "workers": 1, "given": tuple(layers), **options})
    return compare([layers], asked, out=out, say=quiet)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    out = tmp_path_factory.mktemp("small") / "out"
    return carried_out(out, "activation=relu,tanh,sigmoid", prune=False), out


def scores(result):
    return [
        (row["variant"], row["validation"], row["mean"], row["interval"], row["state"])
        for row in result["rows"]
    ]


def test_a_trial_is_the_run_that_fit_makes(small, tmp_path):
    _, out = small
    trial = Run(out / "runs" / "activation-tanh-seed-1")
    layers = {**QUICK, "network.activation": "tanh", "loss.name": "cross-entropy", "train.seed": 1}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = carry_out(Recipe.build(layers), out=tmp_path / "alone", quiet=True)
    finally:
        torch.set_num_threads(threads)
    for key in ("weights_sha256", "steps", "epochs"):
        assert trial.result[key] == alone.result[key]
    assert trial.test()["accuracy"] == pytest.approx(alone.result["test"]["accuracy"])
    assert not (trial.path / "report.html").exists() and (alone.path / "report.html").exists()


def test_rows_hold_the_means_of_their_runs(small):
    result, out = small
    for row in result["rows"]:
        tests = [Run(out / run).result["test"]["accuracy"] for run in row["runs"]]
        history = [Run(out / run).history for run in row["runs"]]
        best = [min(records, key=lambda record: record["validation_loss"]) for records in history]
        assert row["mean"] == pytest.approx(sum(tests) / 2)
        assert row["validation"]["mean"] == pytest.approx(sum(one["validation_accuracy"] for one in best) / 2)
        assert row["interval"][0] <= row["mean"] <= row["interval"][1]
    validation = [row["validation"]["mean"] for row in result["rows"]]
    assert validation == sorted(validation, reverse=True)
    assert json.loads((out / "comparison.json").read_text())["rows"] == result["rows"]


def test_a_comparison_that_was_cut_off_goes_on_to_the_same(small, tmp_path):
    result, _ = small
    out = tmp_path / "out"
    said = []

    def cut(text: str) -> None:
        said.append(text)
        if text.startswith("3/6"):
            raise KeyboardInterrupt

    asked = Asked(("activation=relu,tanh,sigmoid",), seeds=2, workers=1, prune=False, given=GIVEN)
    with pytest.raises(KeyboardInterrupt):
        compare([QUICK], asked, out=out, say=cut)
    assert len(list((out / "runs").iterdir())) == 3 and not (out / "comparison.json").exists()
    again = []
    assert scores(compare([QUICK], asked, out=out, say=again.append)) == scores(result)
    assert "3 of 6 trials were done before" in again


@pytest.mark.slow
def test_two_processes_give_what_one_gives(small, tmp_path):
    result, out = small
    both = carried_out(tmp_path / "out", "activation=relu,tanh,sigmoid", prune=False, workers=2)
    assert scores(both) == scores(result)
    for row in both["rows"]:
        for run in row["runs"]:
            ours, theirs = (
                load_file(folder / run / "model.safetensors") for folder in (tmp_path / "out", out)
            )
            assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_more_values_and_seeds_are_added_to_what_is_there(small):
    _, out = small
    said = []
    asked = Asked(("activation=relu,tanh",), seeds=3, workers=1, prune=False, given=GIVEN)
    result = compare([QUICK], asked, out=out, say=said.append)
    assert "4 of 6 trials were done before" in said and result["trials"] == 6


def test_another_recipe_in_the_same_folder_is_refused(small):
    _, out = small
    with pytest.raises(RecipeError, match=r"another recipe: train\.epochs was 2, now 3"):
        carried_out(out, "activation=relu,tanh", layers={**QUICK, "train.epochs": 3})


def test_a_variant_that_fails_is_a_row_with_its_reason(tmp_path):
    layers = {**QUICK, "optimizer.name": "sgd", "loss.name": "mse"}
    result = carried_out(tmp_path / "out", "lr=0.01,1e30", layers=layers)
    rows = {row["values"]["optimizer.lr"]: row for row in result["rows"]}
    assert rows[0.01]["state"] == "finished" and rows[1e30]["state"] == "failed"
    assert "the training loss became" in rows[1e30]["reason"] and rows[1e30]["mean"] is None
    assert result["rows"][-1]["state"] == "failed"


@pytest.mark.parametrize(
    ("vary", "layers", "said"),
    [
        (
            "activation=relu,rellu",
            {},
            "unknown activation 'rellu': did you mean 'relu'",
        ),
        ("optimizer=adam,sgdd", {}, "unknown optimizer 'sgdd': did you mean 'sgd'"),
        ("batch=0,64", {}, "data.batch should be greater than or equal to 1"),
        ("loss=cross-entropy,huberr", {}, "unknown loss 'huberr': did you mean 'huber'"),
        ("network.hiden=[8]", {}, "unknown mlp option 'hiden': did you mean 'hidden'"),
        ("activation=relu,tanh", {"data.test_share": 0}, "no test part"),
        ("activation=relu,tanh", {"data.validation": 0}, "no validation examples"),
        ("lr=1e-3..1e-1", {}, "--search N"),
    ],
)
def test_bad_input_is_told_before_anything_is_trained(tmp_path, vary, layers, said):
    with pytest.raises(NetwrightError) as raised:
        carried_out(tmp_path / "out", vary, layers={**QUICK, **layers})
    assert said in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_one_seed_concludes_nothing(tmp_path):
    result = carried_out(tmp_path / "out", "optimizer=adam,sgd", seeds=1)
    assert result["tables"][0]["sentences"][0].startswith("One seed: nothing can be concluded")
    for row in result["rows"]:
        test = Run(tmp_path / "out" / row["runs"][0]).result["test"]
        assert row["interval"] == test["interval"]


def test_the_hopeless_are_left_out_and_marked(tmp_path):
    layers = {**QUICK, "train.epochs": 4, "network.hidden": [64]}
    result = carried_out(tmp_path / "out", "optimizer=adam,sgd", layers=layers, seeds=3)
    rows = {row["values"]["optimizer.name"]: row for row in result["rows"]}
    assert rows["sgd"]["state"] == "pruned" and rows["sgd"]["epochs"] == 4 and len(rows["sgd"]["runs"]) == 1
    assert rows["adam"]["state"] == "finished" and len(rows["adam"]["runs"]) == 3
    assert "after its first seed" in result["pruning"]


def trial(name, score, metric="accuracy", examples=400):
    return Trial(name, "finished", {}, metric=metric, score=score, part={"validation": examples})


def test_hopeless_is_far_behind_and_never_the_default():
    close, far = trial("close", 0.90), trial("far", 0.80)
    found = hopeless_after({"best": trial("best", 0.95), "close": close, "far": far, "default": far})
    error = math.sqrt((0.9 * 0.1 + 0.95 * 0.05) / 400)
    assert 4 * error > 0.95 - 0.90 and set(found) == {"far"}
    numbers = {name: trial(name, score, "rmse") for name, score in (("a", 1.0), ("b", 1.4), ("c", 1.6))}
    assert set(hopeless_after(numbers)) == {"c"}


def test_a_search_is_the_same_after_an_interruption(tmp_path):
    options = {"search": 6, "seeds": 2}
    vary = ("lr=1e-4..1e-1", "activation=relu,tanh", "batch=16..128")
    whole = carried_out(tmp_path / "whole", *vary, **options)
    asked = Asked(vary, workers=1, given=GIVEN, **options)

    def cut(text: str) -> None:
        if text.startswith("1/2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare([QUICK], asked, out=tmp_path / "cut", say=cut)
    again = compare([QUICK], asked, out=tmp_path / "cut", say=quiet)
    assert again["search"]["rows"] == whole["search"]["rows"] and scores(again) == scores(whole)
    tried = whole["search"]["rows"]
    assert len(tried) == 6 and all(1e-4 <= row["values"]["optimizer.lr"] <= 0.1 for row in tried)
    assert all(16 <= row["values"]["data.batch"] <= 128 for row in tried)
    finished = [row for row in tried if row["state"] == "finished"]
    assert finished[0]["validation"] == max(row["validation"] for row in finished)
    assert "default" in {row["variant"] for row in whole["rows"]} and len(whole["rows"]) == 2
