"""`netwright inspect`: a network layer by layer; with `--augment`, a picture whose tiles are what the network would get."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


def test_a_picture_of_the_first_epochs(netwright: Any, photos: Path, folder: Path) -> None:
    ended = netwright("inspect", "photos", "--augment", "--set", "augment.brightness=0.5", "--json")
    assert ended.json["picture"] == "augment.png" and ended.json["examples"] == 6
    assert ended.json["augment"] == [
        "training images are brightness changed by up to 50%, anew in every epoch"
    ]
    with Image.open(folder / "augment.png") as picture:
        assert picture.width > picture.height > 400
    assert not (folder / "runs").exists()


def test_other_changes_make_another_picture_and_the_same_ones_the_same(netwright: Any, folder: Path) -> None:
    for name, shift in (("a", 2), ("b", 2), ("c", 3)):
        netwright("inspect", "digits", "--augment", "--set", f"augment.shift={shift}", "--out", f"{name}.png")
    pixels = {name: np.asarray(Image.open(folder / f"{name}.png")) for name in "abc"}
    assert np.array_equal(pixels["a"], pixels["b"]) and not np.array_equal(pixels["a"], pixels["c"])


def test_of_a_run_its_own_recipe(netwright: Any, folder: Path) -> None:
    netwright("fit", "digits", "--limit", 100, "--epochs", 1, "--out", "run", "--set", "augment.mixup=0.2")
    ended = netwright("inspect", "run", "--augment", "--out", "mixed.png")
    assert ended.stdout == "mixed.png\n" and "mixed in pairs" in ended.stderr
    assert (folder / "mixed.png").is_file()


def test_recordings_are_drawn_as_spectrograms(netwright: Any, folder: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    for name, pitch in (("low", 200), ("high", 2000)):
        (folder / "sounds" / name).mkdir(parents=True)
        for index in range(10):
            wave = np.sin(np.arange(4000) * (pitch + 10 * index) * 2 * np.pi / 8000)
            soundfile.write(folder / "sounds" / name / f"{index}.wav", wave, 8000)
    ended = netwright("inspect", "sounds", "--augment")  # what the kind of data wants
    assert "training recordings are moved" in ended.stderr and (folder / "augment.png").is_file()


def test_what_cannot_be_drawn(netwright: Any, folder: Path) -> None:
    (folder / "rows.csv").write_text("a,b\n" + "".join(f"{n / 7:.3f},{'xy'[n % 2]}\n" for n in range(40)))
    for words, said in (
        (("digits",), "give --augment"),
        (("digits", "--augment"), "nothing changes the training examples of digits"),
        (("digits", "--augment", "--set", "augment.shfit=1"), "did you mean 'augment.shift'"),
        (("digits", "--augment", "--set", "augment.hue=0.1"), "have 1 channels"),
        (("rows.csv", "--augment", "--set", "data.target=b", "--set", "augment.flip=true"), "changes images"),
        (("nothing/", "--augment"), "no such file"),
        (
            ("digits", "--augment", "--set", "augment.flip=true", "--out", "no/such/folder.png"),
            "no/such/folder.png",
        ),
    ):
        ended = netwright("inspect", *words, code=2)
        assert said in ended.stderr and "Traceback" not in ended.stderr
        assert not (folder / "augment.png").exists()


NETS = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2))
        for number, (name, parameter) in enumerate(self.named_parameters()):
            # Numbers whose figures are the same on every machine.
            parameter.data = (-1) ** number * 0.25 * (1 + number) + 0 * parameter.data

class Broken(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(6, 4), nn.Linear(5, 2))

class Wide(nn.Linear):
    def __init__(self, width):
        super().__init__(6, width)

def nothing():
    return 3

class NoModule:
    pass
"""


@pytest.fixture
def nets(folder: Path) -> Path:
    (folder / "nets.py").write_text(NETS)
    np.save(folder / "one.npy", np.arange(6, dtype=np.float32).reshape(1, 6) - 2)
    return folder / "nets.py"


def test_a_network_in_a_file(netwright: Any, nets: Path, golden: Any) -> None:
    golden("inspect-file.txt", netwright("inspect", "nets.py:Net", "--example", "one.npy").stdout)


def test_a_run_on_an_example_of_its_own(netwright: Any, run: Path, folder: Path) -> None:
    ended = netwright("inspect", "run", "--html", "tour.html", "--diagram", "net.svg", "--json")
    content = ended.json
    assert content["parameters"] == 64 * 16 + 16 + 16 * 10 + 10 and content["run"] == "run"
    assert [stop["kind"] for stop in content["tour"]["stops"]] == ["Flatten", "Linear", "ReLU", "Linear"]
    assert content["tour"]["gradient_of"] == "the loss" and content["tour"]["stops"][0]["received"][
        "shape"
    ] == [1, 1, 8, 8]
    assert [stop["gave"]["shape"][0] for stop in content["together"]] == [3] * 4
    page = (folder / "tour.html").read_text(encoding="utf-8")
    assert page.count("<svg") > 4 and "http://" not in page and len(page) < 3_000_000
    assert (folder / "net.svg").read_text(encoding="utf-8").startswith("<svg ")


def test_a_run_on_a_file(netwright: Any, run: Path, folder: Path) -> None:
    Image.new("L", (8, 8), 255).save(folder / "white.png")
    ended = netwright("inspect", "run", "--example", "white.png")
    assert "The example: white.png, prepared as in training." in ended.stdout
    assert "gradient of each example's largest output" in ended.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], "nothing is not a run: it does not exist"),
        (["nets.py"], "write nets.py:Name. It defines: Net, Broken, Wide, nothing, NoModule"),
        (["net.py:Net"], "no such file: net.py"),
        (["nets.py:Nett"], "did you mean Net"),
        (["nets.py:NoModule"], "it is the class NoModule"),
        (["nets.py:nothing"], "should make an nn.Module; it made a int"),
        (["nets.py:Wide"], "missing a required argument: 'width'"),
        (["nets.py:Wide", "--set", "network.wdith=3"], "did you mean 'width'"),
        (["nets.py:Net", "--set", "optimizer.lr=3"], "inspect takes network.ARGUMENT=VALUE"),
        (
            ["nets.py:Broken"],
            "layer 1, Linear(in_features=5, out_features=2, bias=True), refused (1, 4) float32",
        ),
        (["nets.py:Net", "--input", "7"], "It takes 6 numbers in the last dimension, and 7 came."),
        (["nets.py:Net", "--input", "six"], "--input is a shape without N"),
        (["nets.py:Net", "--example", "nets.py"], "cannot be read as an example"),
        (["nets.py:Net", "--example", "none.npy"], "no such file: none.npy"),
        (["nets.py:Net", "--input", "6", "--example", "one.npy"], "leave one out"),
        (["nets.py:Net", "--diagram", "net.png"], "not .png"),
        (["nets.py:Net", "--html", "no/such/page.html"], "no/such/page.html"),
        (["nets.py:Net", "--out", "x.png"], "--out does not go with inspect without --augment"),
        (["digits", "--augment", "--html", "x.html"], "--html does not go with --augment"),
        (["one.npy"], "one.npy is a file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_inspected(netwright: Any, nets: Path, words: list[str], said: str) -> None:
    ended = netwright("inspect", *words, code=2)
    assert said in ended.stderr and "Traceback" not in ended.stderr and ended.stdout == ""


def test_a_terminal_without_the_letters(fresh: Any, nets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    assert "38 parameters (152 bytes) ? 32 multiply?adds" in fresh("inspect", "nets.py:Net").stdout


def test_runs_that_cannot_be_inspected(netwright: Any, run: Path, folder: Path) -> None:
    (folder / "note.txt").write_text("hello")
    for words, said in (
        (["run", "--example", "note.txt"], "note.txt"),
        (["run", "--input", "8x8"], "go with file.py:Name"),
    ):
        assert said in netwright("inspect", *words, code=2).stderr
    (run / "model.safetensors").unlink()
    assert "it was interrupted before its first epoch ended" in netwright("inspect", "run", code=2).stderr
