"""Every verb as the contract has it: flags, keys, exit codes, and what goes to which stream."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.torch import load_file

QUICK = ("--epochs", 2, "--set", "network.hidden=[8]", "--no-examine")
DIGITS = [str(n) for n in range(10)]


def picture(path: Path, value: int = 128) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(path)
    return path


# ----------------------------------------------------------------------------------- in fresh interpreters


@pytest.mark.slow
def test_from_the_first_fit_to_a_prediction(fresh: Any, folder: Path) -> None:
    """What the README promises: nothing but names, one after the other, in an empty folder."""
    ended = fresh("fit", "digits", "--json")
    found = ended.json
    assert {"run", "test", "epochs", "steps", "seconds", "parameters", "weights_sha256", "findings"} <= set(
        found
    )
    assert {"loss", "accuracy", "interval"} <= set(found["test"])
    low, high = found["test"]["interval"]
    assert 0.9 < low < found["test"]["accuracy"] < high <= 1
    run = folder / found["run"]
    for name in ("recipe.yaml", "metrics.jsonl", "model.safetensors", "findings.json", "environment.json",
                 "report.html", "checkpoints"):  # fmt: skip
        assert (run / name).exists(), name
    assert list(folder.iterdir()) == [folder / "runs"]
    assert re.search(r"epoch +1/", ended.stderr)
    assert "\x1b" not in ended.stderr and "\r" not in ended.stderr, "plain lines where there is no terminal"

    tested = fresh("test", run, "--json").json
    assert tested["test"]["accuracy"] == found["test"]["accuracy"]
    picture(folder / "seven.png")
    predicted = fresh("predict", run, "seven.png", "--json").json
    assert [p["input"] for p in predicted] == ["seven.png"]
    resumed = fresh("resume", run, "--json").json
    assert resumed["weights_sha256"] == found["weights_sha256"]


def test_the_command_is_also_installed_under_its_name(folder: Path) -> None:
    import subprocess
    import sys

    command = Path(sys.executable).with_name("netwright")
    if not command.exists():
        pytest.skip("netwright is not installed beside this Python")
    ended = subprocess.run([command, "--version"], cwd=folder, capture_output=True, text=True)
    assert ended.returncode == 0
    assert ended.stdout.startswith("netwright ")


# --------------------------------------------------------------------------------------------------- fit


def test_fit_prints_the_result_to_stdout_and_the_progress_to_stderr(netwright: Any) -> None:
    ended = netwright("fit", "digits", *QUICK, "--out", "run")
    assert "accuracy" in ended.stdout and "95 %" in ended.stdout and "run" in ended.stdout
    assert re.search(r"epoch +1/2", ended.stderr) and not re.search(r"epoch +1/", ended.stdout)
    assert "\x1b" not in ended.stdout + ended.stderr


def test_quiet_shows_no_progress(netwright: Any) -> None:
    ended = netwright("fit", "digits", *QUICK, "--quiet", "--json")
    assert ended.stderr == ""
    assert ended.json["epochs"] == 2


def test_the_numbers_of_a_fit_are_what_they_are_called(netwright: Any, folder: Path) -> None:
    found = netwright("fit", "digits", *QUICK, "--batch", 100, "--out", "run", "--json").json
    assert found["parameters"] == 64 * 8 + 8 + 8 * 10 + 10
    assert found["epochs"] == 2
    assert found["steps"] == 2 * 13, "1,258 to train in batches of 100"
    assert 0 < found["seconds"] < 60
    assert found["findings"] == []
    weights = load_file(folder / "run" / "model.safetensors")
    assert sum(w.numel() for w in weights.values()) == found["parameters"]


@pytest.mark.parametrize("options", [(), ("train.ema=0.9", "network.batch_norm=true")])
def test_the_hash_is_the_one_of_the_contract(
    netwright: Any, weights_sha256: Any, folder: Path, options: tuple[str, ...]
) -> None:
    settings = [word for option in ("checkpoint.keep=last", *options) for word in ("--set", option)]
    found = netwright("fit", "digits", *QUICK, *settings, "--out", "run", "--json").json
    assert weights_sha256(load_file(folder / "run" / "model.safetensors")) == found["weights_sha256"]


def test_a_seed_decides_everything_and_nothing_else_does(netwright: Any) -> None:
    def sha(*arguments: Any, **environment: str) -> str:
        options = (*QUICK, "--set", "network.dropout=0.2", *arguments)
        return netwright("fit", "digits", *options, "--json", "--quiet", env=environment).json[
            "weights_sha256"
        ]

    first = sha("--seed", 3)
    assert sha("--seed", 3, PYTHONHASHSEED="5") == first
    assert sha("--seed", 4) != first
    assert sha("--seed", 3, "--set", "log.every_steps=1", "--set", "checkpoint.every_steps=2") == first


def test_every_flag_reaches_the_recipe(netwright: Any, folder: Path) -> None:
    netwright(
        *("fit", "digits", "--network", "mlp", "--optimizer", "sgd", "--loss", "cross-entropy", "--lr", 0.02),
        *(
            "--epochs",
            1,
            "--batch",
            50,
            "--seed",
            9,
            "--precision",
            "bf16-mixed",
            "--device",
            "cpu",
            "--out",
            "run",
        ),
        *("--limit", 200, "--quiet"),
        *(
            "--set",
            "optimizer.momentum=0.5",
            "--set",
            "optimizer.weight_decay=0.001",
            "--set",
            "network.hidden=[9, 7]",
        ),
        *(
            "--set",
            "network.activation=tanh",
            "--set",
            "network.dropout=0.25",
            "--set",
            "schedule.name=cosine",
        ),
        *("--set", "early_stopping.patience=4"),
    )
    recipe = yaml.safe_load((folder / "run" / "recipe.yaml").read_text())
    assert recipe["network"] == {"name": "mlp", "hidden": [9, 7], "activation": "tanh", "dropout": 0.25}
    assert recipe["optimizer"] == {"name": "sgd", "lr": 0.02, "momentum": 0.5, "weight_decay": 0.001}
    assert recipe["loss"]["name"] == "cross-entropy"
    assert recipe["schedule"]["name"] == "cosine"
    assert recipe["data"]["batch"] == 50
    assert (recipe["train"]["epochs"], recipe["train"]["seed"]) == (1, 9)
    assert recipe["train"]["precision"] == "bf16-mixed"
    assert recipe["early_stopping"]["patience"] == 4


def test_examining_changes_no_bit(netwright: Any) -> None:
    command = ("fit", "digits", "--epochs", 2, "--set", "network.dropout=0.2", "--json")
    sha = {
        netwright(*command, *flag).json["weights_sha256"] for flag in ((), ("--no-examine",), ("--force",))
    }
    assert len(sha) == 1


def test_a_recipe_file_is_a_source_and_set_comes_after_it(netwright: Any, folder: Path) -> None:
    (folder / "mine.yaml").write_text(
        "data: {source: digits, batch: 32}\nnetwork: {name: mlp, hidden: [8]}\n"
        "optimizer: {name: sgd, lr: 0.1, momentum: 0.9}\ntrain: {epochs: 3, seed: 5}\n"
    )
    first = netwright("fit", "mine.yaml", "--out", "one", "--json").json
    assert (first["epochs"], first["steps"]) == (3, 3 * 40)
    flags = ("--batch", 32, "--optimizer", "sgd", "--lr", 0.1, "--epochs", 3, "--seed", 5)
    settings = ("--set", "network.hidden=[8]", "--set", "optimizer.momentum=0.9")
    assert (
        netwright("fit", "digits", *flags, *settings, "--json").json["weights_sha256"]
        == first["weights_sha256"]
    )
    # The recipe that a run keeps is one too.
    again = netwright("fit", "one/recipe.yaml", "--out", "two", "--json").json
    assert again["weights_sha256"] == first["weights_sha256"]
    changed = netwright("fit", "mine.yaml", "--epochs", 1, "--set", "network.hidden=[4]", "--json").json
    assert changed["epochs"] == 1
    assert changed["parameters"] == 64 * 4 + 4 + 4 * 10 + 10


def test_a_recipe_names_its_data_relative_to_where_it_is_used(
    netwright: Any, folder: Path, photos: Path
) -> None:
    (folder / "mine.yaml").write_text("data: {source: photos, batch: 8}\ntrain: {epochs: 1}\n")
    assert netwright("fit", "mine.yaml", "--json").json["epochs"] == 1


def test_limit_keeps_so_many_of_each_part(netwright: Any) -> None:
    found = netwright("fit", "digits", *QUICK, "--limit", 100, "--batch", 10, "--out", "run", "--json").json
    assert found["steps"] == 2 * 10
    tested = netwright("test", "run", "--json").json["test"]
    assert sum(map(sum, tested["confusion"])) <= 100


def test_overfit_learns_a_few_by_heart(netwright: Any) -> None:
    found = netwright("fit", "digits", "--overfit", 20, "--epochs", 60, "--out", "run", "--json").json
    assert found["test"]["accuracy"] == 1.0
    assert sum(map(sum, netwright("test", "run", "--json").json["test"]["confusion"])) == 20


def test_resume_without_a_run_begins_one(netwright: Any) -> None:
    first = netwright("fit", "digits", *QUICK, "--out", "run", "--resume", "--json").json
    assert netwright("fit", "digits", *QUICK, "--out", "run", "--resume", "--json").json == first


def test_runs_without_out_have_folders_of_their_own(netwright: Any, folder: Path) -> None:
    found = {netwright("fit", "digits", *QUICK, "--json", "--quiet").json["run"] for _ in range(2)}
    assert len(found) == 2
    assert all((folder / run / "model.safetensors").exists() for run in found)


def test_metrics_has_a_record_a_step_or_epoch(netwright: Any, folder: Path) -> None:
    netwright("fit", "digits", *QUICK, "--out", "run", "--set", "log.every_steps=5")
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    epochs = [line for line in lines if "train_loss" in line]
    assert [line["epoch"] for line in epochs] == [1, 2]
    assert all({"validation_loss", "validation_accuracy", "lr", "step"} <= set(line) for line in epochs)
    steps = [line["step"] for line in lines if "train_loss" not in line]
    assert steps == [5, 10, 15, 20, 25, 30, 35, 40]


def test_the_learning_rate_is_found(netwright: Any, folder: Path) -> None:
    found = netwright("fit", "digits", *QUICK, "--lr", "find", "--out", "run", "--json").json
    assert found["test"]["accuracy"] > 0.3
    again = netwright("fit", "digits", *QUICK, "--lr", "find", "--out", "again", "--json").json
    assert again["weights_sha256"] == found["weights_sha256"]


def test_early_stopping_ends_before_the_last_epoch(netwright: Any) -> None:
    stop = ("--set", "early_stopping.patience=1", "--set", "early_stopping.min_delta=0.5")
    found = netwright("fit", "digits", "--epochs", 30, *stop, "--json").json
    assert 1 < found["epochs"] < 10


def test_the_best_weights_are_kept_unless_the_last_are_wanted(
    netwright: Any, weights_sha256: Any, folder: Path
) -> None:
    """With such a rate the last epoch is not the best; the hash is always that of the last."""
    wild = ("--lr", 0.1, "--epochs", 8, "--seed", 1, "--set", "network.hidden=[16]")
    found = {
        keep: netwright(
            "fit", "digits", *wild, "--set", f"checkpoint.keep={keep}", "--out", keep, "--json"
        ).json
        for keep in ("best", "last")
    }
    lines = [json.loads(line) for line in (folder / "best" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["validation_loss"] for line in lines if "train_loss" in line]
    assert losses[-1] > min(losses), "choose another rate for this test"
    assert found["best"]["weights_sha256"] == found["last"]["weights_sha256"]
    assert weights_sha256(load_file(folder / "last" / "model.safetensors")) == found["last"]["weights_sha256"]
    assert weights_sha256(load_file(folder / "best" / "model.safetensors")) != found["best"]["weights_sha256"]


def test_a_folder_of_images_with_everything_in_it(netwright: Any, photos: Path) -> None:
    """Grey, alpha, palette, 16 bits, JPEG with a rotation, other sizes."""
    base = Image.fromarray(np.full((15, 9, 3), 200, np.uint8))
    for index, mode in enumerate(("L", "RGBA", "P", "LA", "1", "CMYK")):
        base.convert(mode).save(photos / "light" / f"m{index}.{'jpg' if mode == 'CMYK' else 'png'}")
    Image.fromarray(np.full((9, 15), 50_000, np.uint16)).save(photos / "light" / "deep.png")
    exif = Image.Exif()
    exif[274] = 6
    base.save(photos / "light" / "turned.jpg", exif=exif)
    found = netwright(
        "fit", "photos", "--network", "cnn", "--epochs", 8, "--batch", 4, "--out", "run", "--json"
    ).json
    assert found["test"]["accuracy"] > 0.7
    for one in netwright("predict", "run", "photos/light", "photos/dark", "--json").json:
        assert set(one["probabilities"]) == {"dark", "light"}


@pytest.fixture
def numbers(folder: Path) -> Path:
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 3)).astype(np.float32)
    np.savez(folder / "prices.npz", x=x, y=(x @ [2.0, -1.0, 0.5] + 10).astype(np.float32))
    return folder / "prices.npz"


def test_numbers_are_tested_by_their_errors(netwright: Any, numbers: Path) -> None:
    found = netwright(
        "fit", "prices.npz", "--epochs", 25, "--lr", 0.03, "--batch", 16, "--out", "run", "--json"
    ).json
    assert {"loss", "rmse", "mae", "r2", "interval"} <= set(found["test"])
    assert found["test"]["r2"] > 0.9
    low, high = found["test"]["interval"]
    assert low <= found["test"]["rmse"] <= high
    rows = "[1, 0, 0]\n[0, 0, 0]\n"
    values = [row["value"] for row in netwright("predict", "run", "-", "--json", stdin=rows).json]
    assert values[0] == pytest.approx(12, abs=1) and values[1] == pytest.approx(10, abs=1)


@pytest.mark.skipif(not os.environ.get("NETWRIGHT_DATA"), reason="NETWRIGHT_DATA is not set")
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_named_sets_are_read_from_netwright_data(netwright: Any, name: str) -> None:
    found = netwright("fit", name, "--limit", 300, *QUICK, "--json").json
    assert found["parameters"] == 784 * 8 + 8 + 8 * 10 + 10


# -------------------------------------------------------------------------------------------------- test


def test_test_reports_each_class_and_the_confusion(netwright: Any, run: Path) -> None:
    found = netwright("test", "run", "--json").json["test"]
    assert {"loss", "accuracy", "interval", "per_class", "confusion"} <= set(found)
    confusion = np.array(found["confusion"])
    assert confusion.shape == (10, 10)
    assert np.trace(confusion) / confusion.sum() == pytest.approx(found["accuracy"], abs=1e-6)
    for label, one in enumerate(found["per_class"]):
        assert one["class"] == str(label)
        assert one["support"] == confusion[label].sum()
        if one["support"]:
            assert one["recall"] == pytest.approx(confusion[label, label] / one["support"], abs=1e-6)
        predicted = confusion[:, label].sum()
        if predicted:
            assert one["precision"] == pytest.approx(confusion[label, label] / predicted, abs=1e-6)


def test_test_for_people_prints_a_table(netwright: Any, run: Path) -> None:
    ended = netwright("test", "run")
    for word in ("accuracy", "95 %", "precision", "recall", "F1"):
        assert word in ended.stdout
    assert "\x1b" not in ended.stdout


def test_test_on_other_data(netwright: Any, folder: Path, photos: Path) -> None:
    netwright("fit", "photos", "--epochs", 10, "--batch", 8, "--out", "run")
    shutil.copytree(photos / "dark", folder / "more" / "dark")
    shutil.copytree(photos / "light", folder / "more" / "light")
    for file in sorted((folder / "more" / "light").iterdir())[5:]:
        file.unlink()
    found = netwright("test", "run", "--data", "more", "--json").json["test"]
    assert [one["support"] for one in found["per_class"]] == [20, 5]


def test_test_changes_nothing_in_the_run(netwright: Any, run: Path) -> None:
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    netwright("test", "run")
    netwright("predict", "run", picture(run.parent / "a.png"))
    netwright("eject", "run")
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


def test_a_run_that_was_moved_and_renamed_is_still_a_run(netwright: Any, run: Path) -> None:
    expected = netwright("test", "run", "--json").json["test"]
    (run.parent / "attic").mkdir()
    run.rename(run.parent / "attic" / "old one")
    elsewhere = run.parent / "elsewhere"
    elsewhere.mkdir()
    assert netwright("test", "../attic/old one", "--json", cwd=elsewhere).json["test"] == expected
    picture(elsewhere / "a.png")
    assert netwright("predict", "../attic/old one", "a.png", "--json", cwd=elsewhere).json


def test_a_run_with_a_network_of_your_own_moves_with_it(netwright: Any, folder: Path) -> None:
    (folder / "mine.py").write_text(
        "from torch import nn\nclass Net(nn.Sequential):\n    def __init__(self, width=6):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(64, width), nn.Tanh(), nn.Linear(width, 10))\n"
    )
    netwright(
        "fit", "digits", "--epochs", 1, "--network", "mine.py:Net", "--set", "network.width=7", "--out", "run"
    )
    expected = netwright("test", "run", "--json").json["test"]
    (folder / "mine.py").unlink()
    (folder / "far").mkdir()
    (folder / "run").rename(folder / "far" / "run")
    assert netwright("test", "far/run", "--json").json["test"] == expected


# ----------------------------------------------------------------------------------------------- predict


def test_predict_reads_files_and_folders(netwright: Any, run: Path) -> None:
    for name in ("a.png", "more/b.png", "more/deeper/c.png"):
        picture(run.parent / name)
    found = netwright("predict", "run", "a.png", "more", "--json").json
    assert [Path(one["input"]).name for one in found] == ["a.png", "b.png", "c.png"]
    for one in found:
        assert {"input", "label", "probabilities", "unlike_training"} <= set(one)
        assert sorted(one["probabilities"]) == DIGITS
        assert sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-4)
        assert one["label"] == max(one["probabilities"], key=one["probabilities"].get)


def test_predict_reads_rows(netwright: Any, run: Path) -> None:
    """Raw rows are prepared as the training data was: the same digit, the same answer as in Python."""
    from sklearn.datasets import load_digits

    images = load_digits().images[:20].astype(int).tolist()
    lines = "".join(json.dumps(image) + "\n" for image in images)
    found = netwright("predict", "run", "-", "--json", stdin=lines).json
    assert len(found) == 20
    assert netwright("predict", "run", "-", "--json", stdin=json.dumps(images)).json == found
    alone = netwright("predict", "run", "-", "--json", stdin=json.dumps(images[3]) + "\n").json
    assert alone[0]["label"] == found[3]["label"]
    truth = load_digits().target[:20]
    assert np.mean([one["label"] == str(t) for one, t in zip(found, truth, strict=True)]) > 0.2


def test_predict_for_people_prints_a_line_each(netwright: Any, run: Path) -> None:
    picture(run.parent / "a.png"), picture(run.parent / "b.png", 3)
    lines = netwright("predict", "run", "a.png", "b.png").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["a.png", "b.png"]
    assert all("%" in line for line in lines)


def test_predict_writes_csv(netwright: Any, run: Path) -> None:
    picture(run.parent / "a, b.png"), picture(run.parent / "c.png", 3)
    found = netwright("predict", "run", "a, b.png", "c.png", "--json").json
    netwright("predict", "run", "a, b.png", "c.png", "--out", "labels.csv")
    with open(run.parent / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["input"] for row in rows] == ["a, b.png", "c.png"]
    assert [row["label"] for row in rows] == [one["label"] for one in found]
    assert any(float(v) == pytest.approx(max(found[0]["probabilities"].values()), rel=1e-5) for k, v in rows[0].items()
               if k not in ("input", "label") and v)  # fmt: skip


def test_predict_writes_json_lines(netwright: Any, run: Path) -> None:
    picture(run.parent / "a.png"), picture(run.parent / "c.png", 3)
    found = netwright("predict", "run", "a.png", "c.png", "--json").json
    netwright("predict", "run", "a.png", "c.png", "--out", "labels.jsonl")
    assert [json.loads(line) for line in (run.parent / "labels.jsonl").read_text().splitlines()] == found


def test_predict_is_of_eval_mode_and_the_same_in_any_company(netwright: Any, folder: Path) -> None:
    options = ("--set", "network.dropout=0.5", "--set", "network.batch_norm=true")
    netwright("fit", "digits", *QUICK, *options, "--out", "run")
    files = [picture(folder / f"{value}.png", value).name for value in (0, 60, 250)]
    together = netwright("predict", "run", *files, "--json").json
    for file, one in zip(files, together, strict=True):
        alone = netwright("predict", "run", file, "--json").json[0]
        assert list(alone["probabilities"].values()) == pytest.approx(
            list(one["probabilities"].values()), abs=1e-5
        )


def test_a_reader_that_goes_away_is_no_traceback(run: Path) -> None:
    import subprocess
    import sys

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = f"{sys.executable} -m netwright eject run | head -c 10"
    ended = subprocess.run(
        command, shell=True, cwd=run.parent, env=environment, capture_output=True, text=True
    )
    assert "Traceback" not in ended.stderr and "BrokenPipe" not in ended.stderr


# --------------------------------------------------------------------------------------------------- help


@pytest.mark.parametrize("verb", ["fit", "test", "predict", "resume", "eject"])
def test_help_is_on_stdout(netwright: Any, verb: str) -> None:
    ended = netwright(verb, "--help")
    assert "Usage: netwright" in ended.stdout
    assert ended.stderr == ""
    assert verb in netwright("--help").stdout
