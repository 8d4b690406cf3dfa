"""The logs beside metrics.jsonl, read back by their own tools, and what a failing one does to a training: nothing."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from netwright.errors import NetwrightError, RecipeError
from netwright.loggers import Loggers, check_loggers
from netwright.recipe import Recipe

PACKAGES = ("tensorboard", "mlflow", "wandb", "codecarbon")
READ = """
import json, sys, warnings
warnings.simplefilter("ignore")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0}); events.Reload()
print(json.dumps({tag: [[one.step, one.value] for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}))
"""


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a folder; read in a process of its own, because its imports warn."""
    read = subprocess.run(
        [sys.executable, "-c", READ, str(folder)], capture_output=True, text=True, check=True
    )
    return json.loads(read.stdout)


def without(*absent: str) -> None:
    for package in PACKAGES:
        if package not in absent and importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that told everyone."""
    without()
    folder = tmp_path_factory.mktemp("logged")
    command = [sys.executable, "-m", "netwright", "fit", "digits", "--epochs", "3", "--out", "run", "--quiet"]
    command += ["--set", "log.to=[tensorboard, mlflow, wandb]", "--set", "log.energy=true", "--no-examine"]
    environment = {**os.environ, "WANDB_MODE": "offline", "HOME": str(folder)}
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        environment.pop(name, None)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) == ["run"]
    return folder / "run"


def records(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_tensorboard_has_each_record_and_the_scores(logged: Path) -> None:
    found = scalars(logged / "logs")
    epochs = [one for one in records(logged) if "train_loss" in one]
    assert found["train_loss"] == [[one["step"], pytest.approx(one["train_loss"])] for one in epochs]
    gradients = found["layers/1/gradient"]
    assert gradients == [[one["step"], pytest.approx(one["layers"]["1"]["gradient"])] for one in epochs]
    test = json.loads((logged / "result.json").read_text())["test"]
    assert found["test_accuracy"][0][1] == pytest.approx(test["accuracy"])


def test_mlflow_has_the_recipe_the_records_and_the_scores(logged: Path) -> None:
    (run,) = [path for path in (logged / "logs" / "mlruns").glob("*/*") if path.is_dir()]
    assert (run / "params" / "optimizer.name").read_text() == "adam"
    lines = (run / "metrics" / "train_loss").read_text().split()
    epochs = [one for one in records(logged) if "train_loss" in one]
    assert [float(value) for value in lines[1::3]] == pytest.approx([one["train_loss"] for one in epochs])
    assert [int(step) for step in lines[2::3]] == [one["step"] for one in epochs]
    assert "status: 3" in (run / "meta.yaml").read_text()  # FINISHED


def test_wandb_keeps_an_offline_run(logged: Path) -> None:
    (file,) = (logged / "logs" / "wandb").glob("offline-run-*/run-*.wandb")
    content = file.read_bytes()
    for words in (b"train_loss", b"validation_accuracy", b"optimizer.name", b"test_accuracy"):
        assert words in content


def test_energy_says_how_it_was_measured(logged: Path) -> None:
    energy = json.loads((logged / "result.json").read_text())["energy"]
    assert energy["kwh"] == pytest.approx(energy["cpu_kwh"] + energy["gpu_kwh"] + energy["ram_kwh"])
    assert energy["kwh"] > 0
    assert energy["how"].startswith("codecarbon 3")
    page = (logged / "report.html").read_text()
    assert "Energy, estimated" in page and "How the energy was estimated: codecarbon 3" in page


def test_a_resumed_run_goes_on_in_the_same_log(tmp_path: Path) -> None:
    if importlib.util.find_spec("tensorboard") is None:
        pytest.skip("tensorboard is not installed")
    program = (
        "import sys; from pathlib import Path; from netwright.loggers import Loggers; from netwright.recipe import Recipe\n"
        "recipe = Recipe.build({'log.to': 'tensorboard'})\n"
        "for done, last in ((0, 30), (20, 40)):\n"
        "    log = Loggers.of(Path(sys.argv[1]), recipe, done=done, first=True)\n"
        "    for step in range(done + 1, last + 1): log.record({'step': step, 'loss': done + step / 100})\n"
        "    log.flush()\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    found = scalars(tmp_path / "logs")["loss"]
    assert [step for step, _ in found] == list(range(1, 41))
    assert found[24][1] == pytest.approx(20.25)  # that of the second start


class Failing:
    def record(self, values: Any, step: int) -> None:
        raise ConnectionError("no route to host")

    def flush(self) -> None: ...

    def finish(self, scores: Any) -> None: ...


def test_a_log_that_fails_is_dropped_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    loggers = Loggers({"mlflow": Failing()})
    for step in range(3):
        loggers.record({"step": step, "loss": 1.0})
    loggers.finish({"test": {"accuracy": 1.0}})
    assert capsys.readouterr().err == "nothing more is logged to mlflow: no route to host\n"


def test_a_log_that_cannot_be_opened_is_no_reason_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any) -> Any:
        raise RuntimeError("not logged in")

    monkeypatch.setattr("netwright.loggers._OPENERS", {"wandb": refuse})
    recipe = Recipe.build({"log.to": "wandb"})
    assert Loggers.of(tmp_path, recipe, done=0, first=True).opened == {}
    assert capsys.readouterr().err == "nothing more is logged to wandb: not logged in\n"
    assert Loggers.of(tmp_path, recipe, done=0, first=False).opened == {}
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            {"log.to": "tensorboard"},
            "log.to=tensorboard needs tensorboard, which is not installed: pip install 'netwright[tensorboard]'",
        ),
        (
            {"log.to": ["mlflow"]},
            "log.to=mlflow needs mlflow, which is not installed: pip install 'netwright[mlflow]'",
        ),
        (
            {"log.energy": True},
            "log.energy=true needs codecarbon, which is not installed: pip install 'netwright[energy]'",
        ),
    ],
)
def test_a_missing_package_is_named_before_anything_is_read(
    entries: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RecipeError) as raised:
        check_loggers(Recipe.build(entries))
    assert str(raised.value) == message


def test_nothing_is_asked_for_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_loggers(Recipe.build({}))
    assert Recipe.build({}).log.to == [] and Recipe.build({"log.to": "wandb"}).log.to == ["wandb"]
    with pytest.raises(NetwrightError, match="tensorboard"):
        Recipe.build({"log.to": "tensorbord"})
    with pytest.raises(RecipeError, match=r"log\.to: expected a name or a list of them"):
        Recipe.build({"log.to": 5})
    assert Recipe.build({"log.to": None}).log.to == []
