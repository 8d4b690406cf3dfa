"""Whatever is wrong with the input: a few lines that say what was expected, what came and where; no traceback."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

QUICK = ("--epochs", 1, "--set", "network.hidden=[8]", "--no-examine")


def refused(ended: Any, *words: str, code: int = 2) -> str:
    """Checks that `ended` is an error for people, which has each of `words` (in any case); gives back the message."""
    said = f"exit {ended.code}\n{ended.stdout[-2000:]}\n--- stderr\n{ended.stderr[-3000:]}"
    assert "Traceback" not in ended.stderr + ended.stdout, said
    assert ended.code == code, said
    assert ended.stdout == "", said
    parts = re.split(r"^netwright: ", ended.stderr, flags=re.MULTILINE)  # before it may be lines of progress
    assert len(parts) == 2, said
    message = parts[1]
    assert 1 <= len(message.splitlines()) <= 4, said
    for word in words:
        assert word.lower() in message.lower(), f"{word!r} is not in\n{said}"
    return message


# ---------------------------------------------------------------------------------------- names and options


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--network", "mlpp"), ("mlpp", "'mlp'")),
        (("--optimizer", "adamm"), ("adamm", "'adam'")),
        (("--loss", "cross-entropie"), ("cross-entropie", "'cross-entropy'")),
        (("--precision", "bf16"), ("bf16", "bf16-mixed")),
        (("--device", "cdua"), ("cdua", "cuda")),
        (("--set", "network.activation=rellu"), ("rellu", "'relu'")),
        (("--set", "schedule.name=cosin"), ("cosin", "'cosine'")),
        (("--set", "optimiser.lr=0.1"), ("optimiser", "optimizer")),
        (("--set", "optimizer.momentun=0.1", "--optimizer", "sgd"), ("momentun", "momentum")),
        (("--set", "network.hiden=[3]"), ("hiden", "hidden")),
        (("--set", "train.epoch=3"), ("epoch", "epochs")),
        (("--set", "early_stopping.patiense=3"), ("patiense", "patience")),
        (("--set", "loss.label_smoothin=0.1"), ("label_smoothin", "label_smoothing")),
        (("--set", "schedule.name=step", "--set", "schedule.gama=0.1"), ("gama", "gamma")),
        (
            ("--set", "early_stopping.monitor=validation_los", "--set", "early_stopping.patience=1"),
            ("validation_los", "validation_loss"),
        ),
        (("--set", "checkpoint.keep=bests"), ("bests", "best", "last")),
        (("--set", "data.preparation=standart"), ("standart", "standard")),
        (("--set", "network.name"), ("network.name", "=")),
        (("--set", "=3"), ("=",)),
    ],
)
def test_an_unknown_name_is_answered_with_the_near_ones(netwright: Any, arguments: Any, words: Any) -> None:
    refused(netwright("fit", "digits", *QUICK[:2], *arguments, "--out", "run", code=None), *words)
    assert not (netwright.folder / "run" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--epochs", 0), ("epochs", "0")),
        (("--epochs", -3), ("epochs", "-3")),
        (("--epochs", "many"), ("epochs", "many")),
        (("--set", "train.epochs=1.5"), ("epochs", "1.5")),
        (("--lr", -0.1), ("lr", "-0.1")),
        (("--lr", "fast"), ("lr", "fast")),
        (("--lr", "nan"), ("lr", "nan")),
        (("--batch", 0), ("batch", "0")),
        (("--batch", -1), ("batch", "-1")),
        (("--limit", 0), ("limit", "0")),
        (("--overfit", 0), ("overfit", "0")),
        (("--overfit", -5), ("overfit", "-5")),
        (("--seed", "x"), ("seed", "x")),
        (("--seed", -1), ("seed", "-1")),
        (("--set", "network.hidden=[a]"), ("hidden", "a")),
        (("--set", "network.hidden=[0]"), ("hidden", "0")),
        (("--set", "network.hidden=[-4]"), ("hidden", "-4")),
        (("--set", "network.dropout=1.5"), ("dropout", "1.5")),
        (("--set", "network.dropout=much"), ("dropout", "much")),
        (("--set", "network.batch_norm=perhaps"), ("batch_norm", "perhaps")),
        (("--set", "network.activation=[relu,relu,relu]"), ("activation", "3")),
        (("--set", "optimizer.weight_decay=heavy"), ("weight_decay", "heavy")),
        (("--set", "optimizer.weight_decay=-1"), ("weight_decay", "-1")),
        (("--set", "optimizer.momentum=quick", "--optimizer", "sgd"), ("momentum", "quick")),
        (("--set", "optimizer.betas=0.9"), ("betas", "0.9")),
        (("--set", "loss.label_smoothing=2"), ("label_smoothing", "2")),
        (("--set", "loss.class_weights=[1,2]"), ("class weights", "2", "10")),
        (("--set", "train.clip=-1"), ("clip", "-1")),
        (("--set", "train.ema=1.5"), ("ema", "1.5")),
        (("--set", "train.accumulate=0"), ("accumulate", "0")),
        (("--set", "early_stopping.patience=-1"), ("patience", "-1")),
        (("--set", "checkpoint.every_steps=0"), ("every_steps", "0")),
        (("--set", "data.validation=1.5"), ("validation", "1.5")),
        (("--set", "data.validation=0.6", "--set", "data.test_share=0.6"), ("split", "validation")),
        (("--set", "data.test_share=-0.1"), ("test_share", "-0.1")),
        (("--set", "data.validation=5000"), ("validation", "5,000")),
        (("--set", "data.unreadable=7"), ("unreadable", "7")),
        (("--set", "data.std=0"), ("std", "0")),
        (("--set", "data.mean=[0.1,0.2,0.3]"), ("mean", "3", "1")),
        (("--set", "schedule.name=step", "--set", "schedule.step_size=often"), ("step_size", "often")),
        (("--set", "train={1,2}"), ("train",)),
        (("--set", "network.name=[unclosed"), ("network.name",)),
    ],
)
def test_an_option_that_cannot_be_is_named_with_its_value(netwright: Any, arguments: Any, words: Any) -> None:
    refused(netwright("fit", "digits", *arguments, "--out", "run", code=None), *words)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_this_machine_lacks_is_refused(netwright: Any) -> None:
    refused(netwright("fit", "digits", *QUICK, "--device", "cuda", code=None), "cuda", "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_fp16_on_the_cpu_trains_or_says_why_not(netwright: Any) -> None:
    ended = netwright("fit", "digits", *QUICK, "--precision", "fp16-mixed", code=None)
    if ended.code:
        refused(ended, "fp16-mixed")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ()),
        (("fitt", "digits"), ("fitt", "fit")),
        (("fit",), ("SOURCE",)),
        (("fit", "digits", "more"), ("more",)),
        (("fit", "digits", "--epoch", 3), ("--epoch", "--epochs")),
        (("fit", "digits", "--epochs"), ("--epochs",)),
        (("test",), ("RUN",)),
        (("predict", "run"), ("FILE",)),
        (("resume",), ("RUN",)),
        (("eject",), ("RUN",)),
    ],
)
def test_a_command_that_is_mistyped_is_misuse(netwright: Any, arguments: Any, words: Any) -> None:
    ended = netwright(*arguments, code=None)
    if not arguments:  # may show the help, which is longer
        assert ended.code in (0, 2)
        assert "fit" in ended.stdout + ended.stderr
        return
    refused(ended, *words)


# ------------------------------------------------------------------------------------------------- sources


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere", ("nowhere", "digits")),
        ("digit", ("digit", "'digits'")),
        ("no/such/folder/", ("no/such/folder",)),
        ("/no/such/file.npz", ("/no/such/file.npz",)),
        ("missing.yaml", ("missing.yaml",)),
        ("", ()),
    ],
)
def test_a_source_that_is_not_there(netwright: Any, source: str, words: Any) -> None:
    refused(netwright("fit", source, *QUICK, code=None), *words)


def test_a_source_of_a_kind_that_cannot_be_read_is_named(netwright: Any, folder: Path) -> None:
    (folder / "notes.docx").write_text("hello")
    refused(netwright("fit", "notes.docx", *QUICK, code=None), "notes.docx", ".npz")


def test_an_empty_folder(netwright: Any, folder: Path) -> None:
    (folder / "photos").mkdir()
    refused(netwright("fit", "photos", *QUICK, code=None), "photos", "sub-folder")


def test_a_folder_with_one_class(netwright: Any, photos: Path) -> None:
    shutil.rmtree(photos / "light")
    refused(netwright("fit", "photos", *QUICK, code=None), "photos", "dark")


def test_a_folder_with_a_class_without_images(netwright: Any, photos: Path) -> None:
    for file in (photos / "light").iterdir():
        file.unlink()
    refused(netwright("fit", "photos", *QUICK, code=None), "light")


def test_a_folder_of_images_without_subfolders(netwright: Any, photos: Path) -> None:
    refused(netwright("fit", "photos/dark", *QUICK, code=None), "dark", "sub-folder")


def test_a_truncated_image_among_good_ones_is_listed_and_counted(netwright: Any, photos: Path) -> None:
    for index in range(20, 150):  # 1 of 300 is below the share of 1 % that may be unreadable
        shutil.copy(photos / "dark" / f"{index % 20:02}.png", photos / "dark" / f"{index}.png")
        shutil.copy(photos / "light" / f"{index % 20:02}.png", photos / "light" / f"{index}.png")
    broken = photos / "dark" / "07.png"
    truncate(broken)
    ended = netwright("fit", "photos", *QUICK, "--out", "run", "--json")
    assert "07.png" in ended.stderr
    assert "1 " in ended.stderr
    assert isinstance(ended.json, dict)


def test_more_unreadable_images_than_the_stated_share_stop_the_run(netwright: Any, photos: Path) -> None:
    for name in ("dark/03.png", "light/11.png"):
        (photos / name).write_bytes(b"not an image")
    message = refused(netwright("fit", "photos", *QUICK, "--out", "run", code=None), "2", "40", "0.01")
    assert "03.png" in message or "11.png" in message
    ended = netwright("fit", "photos", *QUICK, "--out", "run", "--set", "data.unreadable=0.1")
    assert "03.png" in ended.stderr and "11.png" in ended.stderr


def test_quiet_does_not_hide_that_examples_were_left_out(netwright: Any, photos: Path) -> None:
    truncate(photos / "dark" / "03.png")
    ended = netwright("fit", "photos", *QUICK, "--set", "data.unreadable=0.1", "--quiet", "--json")
    assert "03.png" in ended.stderr


def test_classes_too_small_to_be_split(netwright: Any, photos: Path) -> None:
    for name in ("dark", "light"):
        for file in sorted((photos / name).iterdir())[1:]:
            file.unlink()
    refused(netwright("fit", "photos", *QUICK, code=None), "2")


# ----------------------------------------------------------------------------------------------------- IDX


@pytest.fixture
def idx(folder: Path) -> Path:
    """A folder for NETWRIGHT_DATA with a small, sound copy of MNIST's files."""
    home = folder / "named" / "mnist"
    home.mkdir(parents=True)
    numbers = np.random.default_rng(0)
    for part, count in (("train", 100), ("t10k", 40)):
        images = numbers.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        write_idx(
            home / f"{part}-images-idx3-ubyte.gz",
            struct.pack(">IIII", 2051, count, 28, 28) + images.tobytes(),
        )
        labels = (np.arange(count) % 10).astype(np.uint8)
        write_idx(home / f"{part}-labels-idx1-ubyte.gz", struct.pack(">II", 2049, count) + labels.tobytes())
    return folder / "named"


def write_idx(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content))


def read_idx(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes())


def wrong_magic(home: Path) -> tuple[str, ...]:
    path = home / "train-images-idx3-ubyte.gz"
    write_idx(path, struct.pack(">I", 1234) + read_idx(path)[4:])
    return ("train-images-idx3-ubyte.gz", "magic", "04 d2")  # 1234


def images_and_labels_swapped(home: Path) -> tuple[str, ...]:
    images, labels = home / "train-images-idx3-ubyte.gz", home / "train-labels-idx1-ubyte.gz"
    content = images.read_bytes(), labels.read_bytes()
    images.write_bytes(content[1])
    labels.write_bytes(content[0])
    return ("train-images-idx3-ubyte.gz", "3", "(100,)")


def too_short(home: Path) -> tuple[str, ...]:
    path = home / "train-images-idx3-ubyte.gz"
    write_idx(path, read_idx(path)[:-500])
    return ("train-images-idx3-ubyte.gz", "78400", "77900")


def too_long(home: Path) -> tuple[str, ...]:
    path = home / "t10k-labels-idx1-ubyte.gz"
    write_idx(path, read_idx(path) + bytes(7))
    return ("t10k-labels-idx1-ubyte.gz", "4")


def another_count(home: Path) -> tuple[str, ...]:
    write_idx(home / "train-labels-idx1-ubyte.gz", struct.pack(">II", 2049, 90) + bytes(90))
    return ("100", "90")


def label_out_of_range(home: Path) -> tuple[str, ...]:
    path = home / "train-labels-idx1-ubyte.gz"
    write_idx(path, read_idx(path)[:-1] + bytes([77]))
    return ("train-labels-idx1-ubyte.gz", "77", "9")


def truncated_gzip(home: Path) -> tuple[str, ...]:
    path = home / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:5000])
    return ("train-images-idx3-ubyte.gz",)


def not_gzip(home: Path) -> tuple[str, ...]:
    (home / "train-images-idx3-ubyte.gz").write_bytes(b"<html>moved</html>")
    return ("train-images-idx3-ubyte.gz",)


def empty_file(home: Path) -> tuple[str, ...]:
    (home / "train-images-idx3-ubyte.gz").write_bytes(b"")
    return ("train-images-idx3-ubyte.gz",)


def another_size_in_the_test_part(home: Path) -> tuple[str, ...]:
    write_idx(
        home / "t10k-images-idx3-ubyte.gz", struct.pack(">IIII", 2051, 40, 27, 28) + bytes(40 * 27 * 28)
    )
    return ("27", "28")


def a_header_that_promises_terabytes(home: Path) -> tuple[str, ...]:
    path = home / "train-images-idx3-ubyte.gz"
    write_idx(path, struct.pack(">IIII", 2051, 2**32 - 1, 2**16, 2**16) + bytes(100))
    return ("train-images-idx3-ubyte.gz",)


def test_the_small_copy_is_sound(netwright: Any, idx: Path) -> None:
    netwright("fit", "mnist", *QUICK, env={"NETWRIGHT_DATA": str(idx)})


@pytest.mark.parametrize(
    "damage",
    [
        wrong_magic, images_and_labels_swapped, too_short, too_long, another_count, label_out_of_range,
        truncated_gzip, not_gzip, empty_file, another_size_in_the_test_part, a_header_that_promises_terabytes,
    ],
)  # fmt: skip
def test_damaged_idx_files_are_named(netwright: Any, idx: Path, damage: Any) -> None:
    words = damage(idx / "mnist")
    refused(netwright("fit", "mnist", *QUICK, env={"NETWRIGHT_DATA": str(idx)}, code=None), *words)


# ---------------------------------------------------------------------------------------------------- .npz


def arrays(**changed: Any) -> dict[str, Any]:
    numbers = np.random.default_rng(0)
    found = {"x": numbers.normal(size=(60, 4)).astype(np.float32), "y": np.arange(60) % 3}
    return {name: value for name, value in {**found, **changed}.items() if value is not None}


def with_value(value: float, dtype: Any = np.float32) -> Any:
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(dtype)
    x[41, 2] = value
    return x


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"x": with_value(np.nan)}, ("nan", "41", "2")),
        ({"x": with_value(np.inf)}, ("inf", "41", "2")),
        ({"y": np.where(np.arange(60) == 17, np.nan, 0.5)}, ("nan", "17")),
        ({"y": np.arange(50) % 3}, ("60", "50")),
        ({"y": np.zeros(60, int)}, ("class",)),
        ({"y": None}, ("y",)),
        ({"x": None}, ("x",)),
        ({"x": np.zeros((0, 4)), "y": np.zeros(0, int)}, ("0",)),
        ({"x": np.array(["a"] * 60)}, ("x",)),
        ({"x": np.array([{}] * 60, dtype=object)}, ("x",)),
        ({"x": np.float32(3), "y": 1}, ("x",)),
        ({"y": np.zeros((60, 2, 2))}, ("2",)),
    ],
)
def test_arrays_that_cannot_be_learned_from(netwright: Any, folder: Path, changed: Any, words: Any) -> None:
    np.savez(folder / "set.npz", **arrays(**changed))
    refused(netwright("fit", "set.npz", *QUICK, code=None), "set", *words)


def test_a_file_called_npz_that_is_none(netwright: Any, folder: Path) -> None:
    (folder / "set.npz").write_bytes(b"PK not really")
    refused(netwright("fit", "set.npz", *QUICK, code=None), "set.npz")


def test_sound_arrays_are_learned(netwright: Any, folder: Path) -> None:
    np.savez(folder / "set.npz", **arrays())
    netwright("fit", "set.npz", *QUICK)


# ------------------------------------------------------------------------------------------- network files

FILES = {
    "eleven.py": "from torch import nn\nclass Net(nn.Sequential):\n"
    "    def __init__(self):\n        super().__init__(nn.Flatten(), nn.Linear(64, 11))\n",
    "wide.py": "from torch import nn\nclass Net(nn.Sequential):\n"
    "    def __init__(self):\n        super().__init__(nn.Flatten(), nn.Linear(65, 10))\n",
    "pair.py": "from torch import nn\nclass Net(nn.Linear):\n    def __init__(self):\n        super().__init__(64, 10)\n"
    "    def forward(self, x):\n        return super().forward(x.flatten(1)), 1\n",
    "syntax.py": "from torch import nn\n\nclass Net(nn.Module:\n    pass\n",
    "needs.py": "from torch import nn\nclass Net(nn.Linear):\n    def __init__(self, width):\n        super().__init__(64, width)\n",
    "raises.py": "raise RuntimeError('no luck today')\n",
    "imports.py": "import a_module_that_is_nowhere\n",
    "forward.py": "from torch import nn\nclass Net(nn.Linear):\n    def __init__(self):\n        super().__init__(64, 10)\n"
    "    def forward(self, x):\n        raise ValueError('half way through')\n",
    "plain.py": "Net = 3\n",
    "exits.py": "import sys\nsys.exit(0)\n",
    "empty.py": "from torch import nn\nclass Net(nn.Flatten):\n    pass\n",
}


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("eleven.py:Net", ("11", "10", "Net")),
        ("wide.py:Net", ("Net", "64", "65")),
        ("pair.py:Net", ("Net", "tuple", "tensor")),
        ("syntax.py:Net", ("syntax.py:3", "syntax")),
        ("needs.py:Net", ("Net", "width", "option")),
        ("raises.py:Net", ("raises.py", "no luck today")),
        ("imports.py:Net", ("imports.py", "a_module_that_is_nowhere")),
        ("forward.py:Net", ("Net", "half way through")),
        ("plain.py:Net", ("plain.py", "Net", "int")),
        ("exits.py:Net", ("exits.py",)),
        ("empty.py:Net", ("Net", "64", "10")),
        ("eleven.py:Nett", ("eleven.py", "Nett", "Net")),
        ("eleven.py", ("eleven.py", ":")),
        ("eleven.py:", ("eleven.py",)),
        ("absent.py:Net", ("absent.py",)),
    ],
)
def test_a_network_file_that_does_not_fit(netwright: Any, folder: Path, reference: str, words: Any) -> None:
    for name, content in FILES.items():
        (folder / name).write_text(content)
    refused(netwright("fit", "digits", "--epochs", 1, "--network", reference, code=None), *words)


def test_an_option_for_a_network_file_is_passed_on(netwright: Any, folder: Path) -> None:
    (folder / "needs.py").write_text(FILES["needs.py"] + FORWARD)
    netwright("fit", "digits", "--epochs", 1, "--network", "needs.py:Net", "--set", "network.width=10")


FORWARD = "    def forward(self, x):\n        return super().forward(x.flatten(1))\n"


# ------------------------------------------------------------------------------------------------- recipes


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("data: {source: digits}\ntrain: {epochs: 1\n", ("recipe.yaml", "line")),
        ("- 1\n- 2\n", ("recipe.yaml",)),
        ("", ("recipe.yaml",)),
        ("data: {source: digits}\ntrian: {epochs: 1}\n", ("trian", "train")),
        ("data: {source: digits}\ntrain: {epochs: soon}\n", ("epochs", "soon")),
        ("data: {source: digits}\nnetwork: {name: mlp, hidden: deep}\n", ("hidden", "deep")),
        ("train: {epochs: 1}\n", ("source",)),
        ("data: !!python/object/apply:os.system ['touch owned']\n", ("recipe.yaml",)),
    ],
)
def test_a_recipe_that_cannot_be(netwright: Any, folder: Path, content: str, words: Any) -> None:
    (folder / "recipe.yaml").write_text(content)
    refused(netwright("fit", "recipe.yaml", code=None), *words)
    assert not (folder / "owned").exists()


# -------------------------------------------------------------------------------------------------- folders


def test_an_out_folder_that_is_not_empty_is_left_alone(netwright: Any, folder: Path) -> None:
    (folder / "thesis").mkdir()
    (folder / "thesis" / "chapter.txt").write_text("once")
    refused(netwright("fit", "digits", *QUICK, "--out", "thesis", code=None), "thesis", "empty")
    assert [p.name for p in (folder / "thesis").iterdir()] == ["chapter.txt"]


def test_an_out_folder_that_holds_a_run_is_left_alone(netwright: Any, run: Path) -> None:
    before = contents(run)
    refused(netwright("fit", "digits", *QUICK, "--out", "run", code=None), "run", "--resume")
    assert contents(run) == before


def test_an_out_that_is_a_file(netwright: Any, folder: Path) -> None:
    (folder / "thesis").write_text("once")
    refused(netwright("fit", "digits", *QUICK, "--out", "thesis", code=None), "thesis")
    assert (folder / "thesis").read_text() == "once"


def test_an_out_folder_under_a_file(netwright: Any, folder: Path) -> None:
    (folder / "thesis").write_text("once")
    refused(netwright("fit", "digits", *QUICK, "--out", "thesis/run", code=None), "thesis")


def test_resuming_with_another_recipe_is_refused(netwright: Any, run: Path) -> None:
    before = contents(run)
    ended = netwright("fit", "digits", "--epochs", 2, "--lr", 0.5, "--out", "run", "--resume", code=None)
    refused(ended, "lr", "0.5")
    assert contents(run) == before


def contents(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


VERBS = ((("test", "run")), ("predict", "run", "image.png"), ("resume", "run"), ("eject", "run"))


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
@pytest.mark.parametrize("what", ["missing", "empty", "a file", "photos"])
def test_a_folder_that_is_not_a_run(netwright: Any, folder: Path, photos: Path, verb: Any, what: str) -> None:
    image(folder / "image.png")
    if what == "empty":
        (folder / "run").mkdir()
    elif what == "a file":
        (folder / "run").write_text("hello")
    elif what == "photos":
        shutil.copytree(photos, folder / "run")
    refused(netwright(*verb, code=None), "run")


def image(path: Path, side: int = 8) -> Path:
    Image.fromarray(np.full((side, side), 128, np.uint8)).save(path)
    return path


def noise(path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


# ----------------------------------------------------------------------------------------- damaged run folders


@pytest.mark.parametrize("verb", VERBS[:2], ids=lambda verb: verb[0])
@pytest.mark.parametrize(
    "damage",
    [lambda c: c[: len(c) // 2], lambda c: b"", lambda c: b"[]", lambda c: b"\xff\xfe\x00" + c, None],
    ids=["cut", "emptied", "a list", "not text", "removed"],
)
@pytest.mark.parametrize("name", ["preparation.json", "recipe.yaml", "model.safetensors"])
def test_a_damaged_file_of_a_run_is_named(
    netwright: Any, run: Path, name: str, damage: Any, verb: Any
) -> None:
    image(run.parent / "image.png")
    file = run / name
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage(file.read_bytes()))
    if name == "recipe.yaml" and damage is not None and not yaml_breaks(file):
        pytest.skip("half of the recipe is still a recipe")
    refused(netwright(*verb, code=None), "run" if damage is None else name)


def yaml_breaks(path: Path) -> bool:
    import yaml

    try:
        return not isinstance(yaml.safe_load(path.read_bytes()), dict)
    except yaml.YAMLError:
        return True


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p["preparation"].pop("kind"), ("preparation", "kind")),
        (lambda p: p["preparation"].update(kind="sound"), ("preparation", "sound")),
        (lambda p: p["preparation"].update(mean="x"), ("preparation", "mean")),
        (lambda p: p["preparation"].update(std=[1.0, 2.0, 3.0]), ("preparation", "std")),
        (lambda p: p.pop("classes"), ("preparation.json", "classes")),
        (lambda p: p.update(classes=["0", "1"]), ("2", "10")),
        (lambda p: p.update(num_outputs=3), ("3", "10")),
    ],
)
def test_a_changed_preparation_is_named(netwright: Any, run: Path, change: Any, words: Any) -> None:
    image(run.parent / "image.png")
    found = json.loads((run / "preparation.json").read_text())
    change(found)
    (run / "preparation.json").write_text(json.dumps(found))
    refused(netwright("predict", "run", "image.png", code=None), *words)


def test_weights_of_another_network_are_refused(netwright: Any, run: Path) -> None:
    recipe = (run / "recipe.yaml").read_text()
    assert "- 16" in recipe
    (run / "recipe.yaml").write_text(recipe.replace("- 16", "- 24"))
    refused(netwright("test", "run", code=None), "model.safetensors", "16", "24")


def test_a_model_of_another_run_is_refused(netwright: Any, run: Path) -> None:
    netwright("fit", "digits", "--epochs", 1, "--set", "network.hidden=[24]", "--out", "other")
    shutil.copy(run.parent / "other" / "model.safetensors", run)
    refused(
        netwright("predict", "run", image(run.parent / "image.png"), code=None),
        "model.safetensors",
        "16",
        "24",
    )


def test_checkpoints_of_another_network_are_refused(netwright: Any, folder: Path) -> None:
    """Those of a run with another hidden size, put into an interrupted one."""
    for name, hidden in (("one", 16), ("other", 24)):
        arguments = (
            "--epochs",
            3,
            "--set",
            f"network.hidden=[{hidden}]",
            "--set",
            "checkpoint.every_steps=7",
        )
        netwright("fit", "digits", *arguments, "--out", name)
    for leftover in ("model.safetensors", "result.json", "report.html"):
        (folder / "one" / leftover).unlink()
    shutil.rmtree(folder / "one" / "checkpoints")
    shutil.copytree(folder / "other" / "checkpoints", folder / "one" / "checkpoints")
    ended = netwright("resume", "one", code=None)
    refused(ended, "checkpoint", "16", "24", code=ended.code if ended.code in (1, 2) else 2)


def test_a_pickle_among_the_checkpoints_is_not_executed(netwright: Any, folder: Path) -> None:
    class Owned:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(folder / "owned"),)

    netwright("fit", "digits", "--epochs", 2, "--set", "network.hidden=[8]", "--out", "run")
    for leftover in ("model.safetensors", "result.json", "report.html"):
        (folder / "run" / leftover).unlink()
    for file in (folder / "run" / "checkpoints").iterdir():
        torch.save({"network": Owned()}, file)
        # The name may hold a digest of the content: give it the one that this content would have.
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        stem, _, old = file.stem.rpartition("-")
        file.rename(file.with_name(f"{stem}-{digest[: len(old)]}{file.suffix}"))
    ended = netwright("resume", "run", code=None)
    assert not (folder / "owned").exists()
    assert "Traceback" not in ended.stderr


# ------------------------------------------------------------------------------------------------- predict


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: None, ("given.png",)),
        (lambda p: p.write_text("I am a text"), ("given.png",)),
        (lambda p: p.write_bytes(b""), ("given.png",)),
        (lambda p: p.mkdir(), ("given.png",)),
        (lambda p: truncate(noise(p)), ("given.png",)),
    ],
    ids=["missing", "text", "empty", "empty folder", "truncated"],
)
def test_predict_on_a_file_that_is_no_image(netwright: Any, run: Path, make: Any, words: Any) -> None:
    make(run.parent / "given.png")
    refused(netwright("predict", "run", "given.png", code=None), *words)


def test_predict_writes_nothing_if_one_of_the_files_is_bad(netwright: Any, run: Path) -> None:
    image(run.parent / "good.png")
    (run.parent / "bad.png").write_text("text")
    ended = netwright("predict", "run", "good.png", "bad.png", "--out", "labels.csv", code=None)
    refused(ended, "bad.png")
    assert not (run.parent / "labels.csv").exists()


ROW = [[0] * 8] * 8


@pytest.mark.parametrize(
    ("stdin", "words"),
    [
        ("hello\n", ("json", "1")),
        ("", ("standard input",)),
        ("\n\n", ("standard input",)),
        ("[1, 2, 3]\n", ("input", "8")),
        (json.dumps(ROW) + "\n" + json.dumps(ROW[:7]) + "\n", ("1", "7", "8")),
        (json.dumps(ROW) + "\n{", ("2",)),
        ('{"a": 1}\n', ("json",)),
        ('"text"\n', ("json",)),
        (json.dumps([["a"] * 8] * 8) + "\n", ("numbers",)),
        (json.dumps([[None] * 8] * 8) + "\n", ("numbers",)),
        (json.dumps([[float("nan")] * 8] * 8) + "\n", ("nan",)),
        (json.dumps([[1e300] * 8] * 8) + "\n", ("input",)),
        ("[" * 100_000, ("standard input",)),
        (b"\xff\xfe\x00\n", ("standard input",)),
    ],
    ids=["words", "empty", "blank", "3 numbers", "7 rows", "cut", "object", "string", "letters", "nulls", "nan",
         "huge", "deep", "bytes"],
)  # fmt: skip
def test_predict_on_rows_that_are_not_examples(netwright: Any, run: Path, stdin: Any, words: Any) -> None:
    refused(netwright("predict", "run", "-", "--json", stdin=stdin, code=None), *words)


def test_predict_with_standard_input_closed(run: Path) -> None:
    command = f"exec {sys.executable} -m netwright predict run - <&-"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    ended = subprocess.run(
        command, shell=True, cwd=run.parent, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "standard input" in ended.stderr


def test_predict_out_into_a_folder_that_is_not_there(netwright: Any, run: Path) -> None:
    image(run.parent / "good.png")
    ended = netwright("predict", "run", "good.png", "--out", "no/where.csv", code=None)
    refused(ended, "no/where.csv", code=ended.code if ended.code in (1, 2) else 2)


def test_test_on_data_of_another_kind(netwright: Any, run: Path, photos: Path) -> None:
    refused(netwright("test", "run", "--data", "photos", code=None), "dark")


def test_test_on_data_that_is_not_there(netwright: Any, run: Path) -> None:
    refused(netwright("test", "run", "--data", "nowhere", code=None), "nowhere")


def test_eject_into_a_folder_that_is_not_there(netwright: Any, run: Path) -> None:
    ended = netwright("eject", "run", "--out", "no/where.py", code=None)
    refused(ended, "no/where.py", code=ended.code if ended.code in (1, 2) else 2)


# --------------------------------------------------------------------------------------- a run that fails


def test_a_loss_that_is_no_number_fails_the_run(netwright: Any) -> None:
    """The rate is so high that the weights overflow: not misuse, but nothing to keep either."""
    arguments = ("--optimizer", "sgd", "--lr", 1e30, "--epochs", 5, "--out", "run")
    refused(netwright("fit", "digits", *arguments, "--quiet", code=None), "learning rate", code=1)


# ---------------------------------------------------------------------------------------------- full disk

LONG = (
    *("fit", "digits", "--epochs", "6", "--set", "network.hidden=[64]", "--set", "checkpoint.every_steps=7"),
    *("--set", "checkpoint.keep=last", "--quiet", "--json", "--no-examine"),
)


@pytest.fixture
def disk(folder: Path) -> Iterator[Path]:
    """A disk of its own, 1 MB."""
    (folder / "disk").mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder / "disk"], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"mounting is not permitted: {mounted.stderr.decode().strip()}")
    yield folder / "disk"
    subprocess.run(["umount", "-l", folder / "disk"], check=True)


@pytest.mark.skipif(os.name != "posix" or not shutil.which("mount"), reason="no mount command")
@pytest.mark.parametrize("room", [0, 60, 130, 250])
def test_a_full_disk_fails_the_run_and_leaves_the_earlier_checkpoint(
    netwright: Any, disk: Path, room: int
) -> None:
    """`room` kB are free: from none at all to almost enough; a checkpoint of this network takes about 70."""
    expected = netwright(*LONG, "--out", "elsewhere").json["weights_sha256"]
    ballast = disk / "ballast"
    ballast.write_bytes(bytes((1024 - 8 - room) * 1024))
    ended = netwright(*LONG, "--out", "disk/run", code=None)
    refused(ended, "disk is full", "resume", code=1)
    good = list((disk / "run" / "checkpoints").glob("step-*.pt")) if (disk / "run").exists() else []
    for file in good:
        torch.load(file, weights_only=True, map_location="cpu")
    assert good or room < 250
    ballast.unlink()
    again = netwright("resume", "disk/run", "--json", code=None) if good else None
    if again is None or again.code:
        again = netwright(*LONG, "--out", "disk/run", "--resume")
    assert again.json["weights_sha256"] == expected


@pytest.mark.parametrize("limit", [3_000, 40_000])
def test_a_file_that_may_not_grow_fails_the_run(netwright: Any, limit: int) -> None:
    """RLIMIT_FSIZE: writing fails with EFBIG, as a full disk does with ENOSPC (SIGXFSZ is ignored by Python)."""
    expected = netwright(*LONG, "--out", "elsewhere").json["weights_sha256"]
    refused(netwright(*LONG, "--out", "run", limit=limit, code=None), "run", code=1)
    assert netwright(*LONG, "--out", "run", "--resume").json["weights_sha256"] == expected


def test_a_folder_that_may_not_be_written_to(netwright: Any, folder: Path) -> None:
    if os.geteuid() == 0:
        where = Path("/proc/netwright")
    else:
        where = folder / "locked" / "run"
        where.parent.mkdir(mode=0o500)
    ended = netwright("fit", "digits", *QUICK, "--out", where, "--quiet", code=None)
    refused(ended, str(where), code=ended.code if ended.code in (1, 2) else 2)
