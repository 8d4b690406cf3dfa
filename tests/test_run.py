"""Runs opened again: scores, predictions, what a folder cannot hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss
from torch import nn

import netwright as nw
from netwright.errors import CheckpointError, DataError, RunFolderError

QUICK: dict[str, Any] = {"epochs": 2, "quiet": True, "device": "cpu", "examine": False}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return nw.fit("mlp", "digits", out=tmp_path_factory.mktemp("runs") / "run", **QUICK)


def test_the_scores_are_those_of_scikit_learn(run: Any) -> None:
    data = nw.load("digits")
    x, y = data.test.prepared(slice(None))
    with torch.no_grad():
        probabilities = run.network(x).softmax(1).numpy()
    scores = run.test()
    assert scores["accuracy"] == pytest.approx(accuracy_score(y, probabilities.argmax(1)))
    assert scores["loss"] == pytest.approx(log_loss(y, probabilities), rel=1e-5)
    assert scores == run.result["test"]


def test_one_array_or_many_in_any_form_are_the_same_predictions(run: Any) -> None:
    raw = nw.load("digits").test.inputs[:5]
    expected = [row["label"] for row in run.predict(raw)]
    assert len(expected) == 5
    for form in (raw.numpy(), raw[:, 0].numpy(), raw[:, 0].tolist(), raw.flatten(1).tolist(), list(raw)):
        assert [row["label"] for row in run.predict(form)] == expected
    assert run.predict(raw[0])[0]["label"] == run.predict(raw[0, 0].numpy())[0]["label"] == expected[0]


def test_predictions_do_not_depend_on_the_batch(run: Any) -> None:
    raw = nw.load("digits").test.inputs[:9]
    for one, other in zip(run.predict(raw, batch=2), run.predict(raw, batch=9), strict=True):
        assert one["label"] == other["label"]
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)
    assert sum(run.predict(raw)[0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "wrong", [np.zeros((3, 7, 7)), [[1, 2], [3]], [], 5, [[float("nan")] * 64], np.full((1, 8, 8), 99)]
)
def test_inputs_unlike_the_training_data_are_named(run: Any, wrong: Any) -> None:
    with pytest.raises(DataError) as caught:
        run.predict(wrong)
    assert "input" in str(caught.value) and len(str(caught.value).splitlines()) <= 4


def test_the_run_opened_by_its_path_is_the_same_run(run: Any) -> None:
    again = nw.Run(run.path)
    assert again.test() == run.test() and again.finished and again.title == "digits · mlp"
    assert [record["epoch"] for record in again.history if "train_loss" in record] == [1, 2]


def test_testing_on_other_data_uses_the_runs_own_preparation(run: Any) -> None:
    data = nw.load("digits")
    # The same images but brighter: statistics of their own would undo it.
    brighter = (data.test.inputs.int() + 3).clamp(max=16).to(torch.uint8)
    x = (brighter.float() / 16 - data.preparation.mean) / data.preparation.std
    with torch.no_grad():
        expected = float((run.network(x).argmax(1) == data.test.targets).float().mean())
    part = nw.load(brighter, data.test.targets, preparation=run.preparation, validation=0, test_share=0,
                   classes=data.classes)  # fmt: skip
    assert run.test(part)["accuracy"] == pytest.approx(expected)


def test_other_classes_are_refused(run: Any) -> None:
    with pytest.raises(DataError, match="10 classes"):
        run.test(nw.load(torch.zeros(20, 8, 8, dtype=torch.uint8), torch.arange(20) % 2,
                         preparation=run.preparation, validation=0, test_share=0))  # fmt: skip


def test_numbers_are_predicted_as_values(tmp_path: Path) -> None:
    x = torch.randn(300, 4)
    y = x @ torch.tensor([1.0, -2.0, 0.5, 0.0]) + 3
    made = nw.fit("mlp", nw.load(x, y), hidden=[], out=tmp_path / "r", lr=0.1, **(QUICK | {"epochs": 30}))
    assert made.test()["rmse"] < 0.2 and made.test()["r2"] > 0.98
    row = made.predict([[0.0, 0.0, 0.0, 0.0]])[0]
    assert row["value"] == pytest.approx(3, abs=0.3) and row["label"] is None and "probabilities" not in row


def test_one_logit_for_two_classes(tmp_path: Path) -> None:
    x = torch.randn(200, 3)
    net = nn.Sequential(nn.Linear(3, 1))
    made = nw.fit(net, nw.load(x, (x[:, 0] > 0).long()), loss="bce-with-logits", lr=0.1, out=tmp_path / "r",
                  **(QUICK | {"epochs": 20}))  # fmt: skip
    assert made.test()["accuracy"] > 0.9
    assert [row["label"] for row in made.predict([[3.0, 0, 0], [-3.0, 0, 0]])] == ["1", "0"]


def test_a_python_object_must_be_given_again(tmp_path: Path) -> None:
    data = nw.load(torch.randn(60, 3), torch.arange(60) % 2)
    net = nn.Linear(3, 2)
    made = nw.fit(net, data, out=tmp_path / "r", **QUICK)
    expected = made.test()
    with pytest.raises(RunFolderError, match="network="):
        _ = nw.Run(tmp_path / "r").network
    with pytest.raises(DataError, match="data="):
        nw.Run(tmp_path / "r", network=nn.Linear(3, 2)).test()
    assert nw.Run(tmp_path / "r", network=nn.Linear(3, 2), data=data).test() == expected
    with pytest.raises(CheckpointError, match="another network"):
        _ = nw.Run(tmp_path / "r", network=nn.Linear(3, 5), data=data).network


def test_best_weights_are_kept_unless_the_last_are_asked_for(tmp_path: Path) -> None:
    # A rate at which the validation loss goes up again after its best epoch.
    options = {"hidden": [256, 256], "lr": 0.02, **(QUICK | {"epochs": 25})}
    best = nw.fit("mlp", "digits", out=tmp_path / "best", **options)
    last = nw.fit("mlp", "digits", out=tmp_path / "last", recipe={"checkpoint.keep": "last"}, **options)
    losses = [record["validation_loss"] for record in best.history if "train_loss" in record]
    assert best.result["best_epoch"] == 1 + int(np.argmin(losses)) < len(losses)
    assert best.result["weights_sha256"] == last.result["weights_sha256"]
    assert not torch.equal(best.network[1].weight, last.network[1].weight)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="does not exist"):
        nw.Run(tmp_path / "none")
    with pytest.raises(RunFolderError, match=r"no recipe\.yaml"):
        nw.Run(tmp_path)


def test_what_the_folder_holds(run: Any) -> None:
    names = {path.name for path in run.path.iterdir()}
    assert names == {"recipe.yaml", "metrics.jsonl", "checkpoints", "model.safetensors", "findings.json",
                     "environment.json", "report.html", "preparation.json", "result.json", "split.npz",
                     "guard.safetensors"}  # fmt: skip
    assert json.loads((run.path / "environment.json").read_text())["torch"] == torch.__version__
