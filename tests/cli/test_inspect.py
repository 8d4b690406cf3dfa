"""`netwright inspect SOURCE --augment`: a picture whose tiles are what the network would get."""

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
