"""IDX files: real ones against the known facts of MNIST, and every way a file can be wrong."""

import gzip
import struct

import numpy as np
import pytest

from netwright.data import load, named
from netwright.data.idx import read_idx
from netwright.errors import DataError


def idx_bytes(values: np.ndarray, code: int = 8) -> bytes:
    """The format written straight from its description."""
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, code, values.ndim, *values.shape) + values.tobytes()


@pytest.mark.parametrize(
    ("code", "dtype"), [(8, ">u1"), (9, ">i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")]
)
@pytest.mark.parametrize("zipped", [False, True])
def test_every_type_comes_back(tmp_path, code, dtype, zipped):
    values = np.arange(24).reshape(2, 3, 4).astype(dtype)
    content = idx_bytes(values, code)
    path = tmp_path / "values"
    path.write_bytes(gzip.compress(content) if zipped else content)
    came = read_idx(str(path))
    assert came.dtype == np.dtype(dtype).newbyteorder("=") and came.dtype.isnative
    np.testing.assert_array_equal(came, values)


GOOD = idx_bytes(np.arange(200, dtype=np.uint8))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "came an empty file"),
        (b"\x00\x00", "came 00 00"),
        (b"PK\x03\x04" + GOOD, "came 50 4b 03 04"),
        (b"\x00\x00\x07\x01" + GOOD[4:], "not an IDX file"),
        (b"\x00\x00\x08\x00" + GOOD[4:], "not an IDX file"),
        (GOOD[:6], "ends after 6 bytes"),
        (GOOD[:-1], "Expected 200 values, 200 bytes of them; came 199 bytes"),
        (GOOD + b"x", "more bytes follow"),
        (struct.pack(">BBBBI", 0, 0, 8, 1, 2**32 - 1), "too short for its header"),
        (
            gzip.compress(struct.pack(">BBBBIII", 0, 0, 8, 3, 2**31, 2**31, 2**31), mtime=0),
            "too short for its header",
        ),
        (gzip.compress(GOOD, mtime=0)[:-30], "damaged or truncated"),
        (
            gzip.compress(GOOD, mtime=0)[:40] + bytes(20) + gzip.compress(GOOD, mtime=0)[60:],
            "damaged or truncated",
        ),
        (gzip.compress(GOOD[:-1], mtime=0), "came 199 bytes"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path, content, message):
    path = tmp_path / "train-labels-idx1-ubyte"
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        read_idx(str(path))
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and message in text and len(text.splitlines()) <= 4


@pytest.fixture
def tiny_mnist(tmp_path, monkeypatch):
    """Four IDX files like MNIST's, 40 + 20 examples, in a NETWRIGHT_DATA of their own."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    for prefix, count in (("train", 40), ("t10k", 20)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx_bytes(images))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    monkeypatch.setenv("NETWRIGHT_DATA", str(folder.parent))
    return folder


def test_unzipped_files_in_netwright_data_are_found(tiny_mnist):
    data = load("mnist")
    assert (len(data.train), len(data.validation), len(data.test)) == (36, 4, 20)
    assert data.reading.paths[0] == str(tiny_mnist / "train-images-idx3-ubyte")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "t10k-labels-idx1-ubyte").unlink(), "missing t10k-labels-idx1-ubyte.gz"),
        (
            lambda f: (f / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(39, np.uint8))),
            "expected a label for each of the 40 images in train-images-idx3-ubyte, came 39",
        ),
        (
            lambda f: (f / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.arange(40, dtype=np.uint8))),
            "expected labels from 0 to 9, came 10 at index 10 (30 out of range)",
        ),
        (
            lambda f: (f / "train-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros(40, np.uint8))),
            "expected uint8 values in 3 dimensions, came uint8 of shape (40,)",
        ),
        (lambda f: (f / "train-images-idx3-ubyte").write_bytes(b"no"), "not an IDX file"),
    ],
)
def test_bad_files_in_netwright_data_are_named(tiny_mnist, spoil, message):
    spoil(tiny_mnist)
    with pytest.raises(DataError) as caught:
        load("mnist")
    text = str(caught.value)
    assert str(tiny_mnist) in text and message in text and len(text.splitlines()) <= 4


def test_without_local_files_the_cache_is_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_DATA", str(tmp_path))
    with pytest.raises(DataError, match="could not be fetched"):
        load("mnist")


def test_real_mnist_is_what_it_is_known_to_be(real):
    whole = load("mnist", validation=0)
    assert (len(whole.train), len(whole.validation), len(whole.test)) == (60_000, 0, 10_000)
    assert whole.input_shape == (1, 28, 28) and whole.num_outputs == 10
    # The mean and std of the training images that all of the field's loaders use, to their four digits.
    assert whole.preparation.mean.item() == pytest.approx(0.1307, abs=5e-5)
    assert whole.preparation.std.item() == pytest.approx(0.3081, abs=5e-5)
    # Counts of each digit in the training set, as published with it.
    assert whole.class_counts == (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
    raw = np.frombuffer(gzip.decompress((real / "mnist" / named.IDX_FILES[0]).read_bytes())[16:], np.uint8)
    np.testing.assert_array_equal(whole.train.inputs.numpy().reshape(-1), raw)


def test_fashion_mnist_has_its_names(real):
    data = load("fashion-mnist", limit=100)
    assert data.classes[0] == "T-shirt/top" and data.classes[9] == "Ankle boot"
    assert (len(data.train), len(data.test)) == (100, 100)
