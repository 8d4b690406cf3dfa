"""CIFAR-10 from archives made here byte by byte, after the authors' description of their format."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from netwright.data import load
from netwright.data.cifar import read_cifar10
from netwright.errors import DataError

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def pack(path: Path, files: dict[str, bytes]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return str(path)


def records(labels: list[int], rng: np.random.Generator) -> tuple[bytes, np.ndarray]:
    pixels = rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
    return b"".join(bytes([label]) + row.tobytes() for label, row in zip(labels, pixels)), pixels


def picture(colour: tuple[int, int, int], side: int = 32) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NETWRIGHT_DATA", str(tmp_path))
    return tmp_path


def test_the_authors_records(home: Path) -> None:
    rng = np.random.default_rng(0)
    second, later = records([5, 6], rng)
    first, early = records([0, 9, 3] * 5, rng)
    test, _ = records([1, 2], rng)
    files = {
        "cifar-10-batches-bin/data_batch_2.bin": second,
        "cifar-10-batches-bin/readme.html": b"<html>",
        "cifar-10-batches-bin/data_batch_1.bin": first,
        "cifar-10-batches-bin/test_batch.bin": test,
    }
    path = pack(home / "cifar10" / "cifar-10-binary.tar.gz", files)
    images, labels = read_cifar10(path)["train"]
    assert labels.tolist() == [0, 9, 3] * 5 + [5, 6]
    # A row of the red channel comes first: 32 values of red of the first line.
    assert images[0, 0, 0].tolist() == early[0, :32].tolist() and images[0, 2, 31, 31] == early[0, -1]
    assert images[15, 1, 0, 0] == later[0, 1024]
    data = load("cifar10", validation=0)
    assert data.classes == tuple(NAMES) and data.input_shape == (3, 32, 32) and len(data.test) == 2
    assert not any("JPEG" in note for note in data.notes)


def test_pictures_by_class(home: Path) -> None:
    files = {}
    for part in ("test", "train"):
        for number, name in enumerate(reversed(NAMES)):
            for index in (1, 0):
                files[f"./{part}/{name}/{index:04d}.png"] = picture((number, index, 7))
    pack(home / "cifar10-jpeg" / "cifar10_jpeg.tar.gz", files)
    data = load("cifar10", validation=0)
    assert data.train.targets.tolist() == [label for label in range(10) for _ in range(2)]
    assert data.train.inputs[:, 0, 0, 0].tolist() == [9 - label for label in range(10) for _ in range(2)]
    assert data.train.inputs[:, 1, 5, 5].tolist() == [0, 1] * 10
    assert any("JPEG copies" in note for note in data.notes)


def test_the_authors_archive_comes_first(home: Path) -> None:
    rng = np.random.default_rng(0)
    pack(home / "cifar10-jpeg" / "cifar10_jpeg.tar.gz", {})
    both = {"a/data_batch_1.bin": records([1, 2], rng)[0], "a/test_batch.bin": records([1], rng)[0]}
    path = pack(home / "cifar10" / "cifar-10-binary.tar.gz", both)
    assert load("cifar10", validation=0).reading.paths == (path,)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a/data_batch_1.bin": b"123", "a/test_batch.bin": b""}, "not a multiple of 3,073"),
        ({"readme": b"x"}, "came neither"),
        (
            {"a/data_batch_1.bin": bytes([10]) + bytes(3072), "a/test_batch.bin": bytes(3073)},
            "came 10 at index 0",
        ),
        ({"train/cat/1.jpg": b"no picture", "test/cat/1.jpg": b"no"}, "train/cat/1.jpg"),
        ({"train/cat/1.png": picture((1, 2, 3)), "test/dog/1.png": picture((1, 2, 3))}, "test/dog/1.png"),
        ({"train/cat/1.png": picture((1, 2, 3), side=31), "test/cat/1.png": b""}, "came 31 x 31"),
        (
            {"train/cat/1.png": picture((1, 2, 3)), "a/data_batch_1.bin": bytes(3073)},
            "came both",
        ),
    ],
)
def test_what_is_wrong_is_named(home: Path, files: dict[str, bytes], message: str) -> None:
    path = pack(home / "cifar10-jpeg" / "cifar10_jpeg.tar.gz", files)
    with pytest.raises(DataError) as caught:
        load("cifar10")
    text = str(caught.value)
    assert path in text and message in text and len(text.splitlines()) <= 4


@pytest.mark.parametrize("content", [b"", b"rubbish", "cut"])
def test_a_damaged_archive(home: Path, content: Any) -> None:
    path = Path(
        pack(home / "cifar10-jpeg" / "cifar10_jpeg.tar.gz", {"train/cat/1.png": picture((1, 2, 3)) * 50})
    )
    path.write_bytes(path.read_bytes()[:60] if content == "cut" else content)
    with pytest.raises(DataError, match=r"not a whole \.tar\.gz archive|came neither"):
        load("cifar10")


def test_without_the_archive_it_is_fetched(home: Path) -> None:
    with pytest.raises(
        DataError, match=r"cifar-10-binary.tar.gz could not be fetched \(expected 170,052,171 bytes"
    ):
        load("cifar10")


@pytest.mark.slow
def test_the_real_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    given = os.environ.get("NETWRIGHT_DATA")
    if not given or not (Path(given) / "cifar10-jpeg").is_dir():
        pytest.skip("NETWRIGHT_DATA is not set, or has no cifar10-jpeg")
    data = load("cifar10", validation=0)
    assert (len(data.train), len(data.test), data.class_counts) == (50_000, 10_000, (5_000,) * 10)
    # The means that are known of the original pixels, to two digits: JPEG hardly moves them.
    assert data.preparation.mean.flatten().tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=2e-3)
