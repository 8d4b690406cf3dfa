"""Examples on disk: the batches of a set in memory, bit for bit, in memory that does not grow with the set."""

from __future__ import annotations

import itertools
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from netwright.data import load
from netwright.data.memory import choose_stream
from netwright.data.split import Split
from netwright.data.stream import StreamSplit
from netwright.errors import DataError

RNG = np.random.default_rng(0)
KINDS: dict[str, np.ndarray] = {
    "bytes, channels first": RNG.integers(0, 256, (300, 3, 8, 8), dtype=np.uint8),
    "bytes, channels last": RNG.integers(0, 256, (300, 9, 8, 3), dtype=np.uint8),
    "whole numbers to 255": RNG.integers(0, 256, (300, 8, 8)),
    "whole numbers to 256": RNG.integers(0, 257, (300, 8, 8)),
    "features in double precision": RNG.normal(1000, 2, (300, 7)),
    "features": RNG.normal(3, 2, (300, 16)).astype(np.float32),
    "grey floats": RNG.normal(3, 2, (300, 4, 5)).astype(np.float32),
    "features in bytes": RNG.integers(0, 256, (300, 8), dtype=np.uint8),
    "big-endian": RNG.normal(3, 2, (300, 6)).astype(">f4"),
}
LABELS = RNG.integers(0, 3, 300)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """Writes arrays as .npy files of a new folder."""
    numbers = itertools.count()

    def save(**arrays: np.ndarray) -> Path:
        folder = tmp_path / f"set{next(numbers)}"
        folder.mkdir()
        for name, values in arrays.items():
            np.save(folder / f"{name}.npy", values)
        return folder

    return save


def assert_same(held: object, streamed: object) -> None:
    """Every part has the same batches, on memory of the same alignment, from the beginning and from a place in it."""
    assert held.preparation.to_dict() == streamed.preparation.to_dict()
    assert held.classes == streamed.classes
    for name in ("train", "validation", "test"):
        ours, theirs = getattr(streamed, name), getattr(held, name)
        assert isinstance(ours, StreamSplit) and isinstance(theirs, Split) and len(ours) == len(theirs)
        for start in (0, 3):
            pairs = zip(
                ours.epoch(16, seed=1, epoch=2, start=start),
                theirs.epoch(16, seed=1, epoch=2, start=start),
                strict=True,
            )
            for (x, y), (u, v) in pairs:
                assert torch.equal(x, u) and torch.equal(y, v) and x.dtype == u.dtype and y.dtype == v.dtype
                # A matrix product's bits depend on it.
                assert x.data_ptr() % 64 == u.data_ptr() % 64
        for (x, _), (u, _) in zip(ours.batches(7), theirs.batches(7), strict=True):
            assert torch.equal(x, u)


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_give_the_batches_that_they_give_in_memory(saved, kind):
    folder = saved(x=KINDS[kind], y=LABELS)
    assert_same(load(folder, stream=False), load(folder, stream=True))


@pytest.mark.parametrize("workers", [0, "thread", 1, 2])
def test_who_reads_changes_no_batch(saved, workers):
    folder = saved(x=KINDS["bytes, channels first"], y=LABELS)
    assert_same(load(folder, stream=False), load(folder, stream=True, workers=workers))


def test_numbers_to_predict_and_parts_of_its_own(saved):
    x = KINDS["features"]
    folder = saved(x_train=x[:200], y_train=x[:200, 0] * 2, x_test=x[200:], y_test=x[200:, 0] * 2)
    held, streamed = load(folder, stream=False), load(folder, stream=True)
    assert_same(held, streamed)
    assert streamed.task == "regression" and len(streamed.test) == 100
    np.testing.assert_array_equal(streamed.test.raw(slice(None)), x[200:])


def test_copies_stay_together_and_trials_are_the_same(saved):
    x = KINDS["features"].copy()
    x[150:200] = x[:50]
    folder = saved(x=x, y=LABELS)
    for options in ({}, {"limit": 40}, {"overfit": 20}, {"test_share": 0.4, "validation": 30, "seed": 5}):
        assert_same(load(folder, stream=False, **options), load(folder, stream=True, **options))
    streamed = load(folder, stream=True)
    assert (
        "50 of 300 training examples are copies of others; copies are kept in the same part" in streamed.notes
    )
    kept = {row.tobytes() for row in streamed.train.raw(slice(None)).numpy()}
    assert not kept & {row.tobytes() for row in streamed.test.raw(slice(None)).numpy()}


def test_images_are_decoded_as_they_are_in_memory(photos, picture):
    picture(photos / "cat" / "wide.png", mode="RGB", size=(40, 20))
    for index in range(90):
        picture(photos / "dog" / f"more{index}.png", seed=300 + index)
    (photos / "dog" / "broken.png").write_bytes((photos / "dog" / "0.png").read_bytes()[:150])
    held, streamed = (load(photos, stream=stream, unreadable=0.1) for stream in (False, True))
    assert_same(held, streamed)
    assert held.train.names == streamed.train.names
    assert [note for note in streamed.notes if "cannot be read" in note] == [
        note for note in held.notes if "cannot be read" in note
    ]
    for workers in ("thread", 2):
        assert_same(held, load(photos, stream=True, unreadable=0.1, workers=workers))


def test_a_place_in_an_epoch_is_jumped_to(saved, monkeypatch):
    """What lies before it is not read."""
    streamed = load(saved(x=KINDS["features"], y=LABELS), stream=True, workers=0)
    whole = list(streamed.train.epoch(8, seed=0, epoch=4))
    read = []
    reader = type(streamed.train.reader)
    original = reader.read
    monkeypatch.setattr(reader, "read", lambda self, rows: read.extend(rows.tolist()) or original(self, rows))
    monkeypatch.setattr("netwright.data.epochs.CHUNK_BYTES", 1)
    rest = list(streamed.train.epoch(8, seed=0, epoch=4, start=20))
    assert len(read) == len(streamed.train) - 20 * 8
    for (x, y), (u, v) in zip(rest, whole[20:], strict=True):
        assert torch.equal(x, u) and torch.equal(y, v)


def test_an_epoch_is_a_full_permutation(saved):
    """Every place is as likely for every example: over many epochs, each comes first equally often."""
    streamed = load(saved(x=KINDS["features"], y=LABELS), stream=True, limit=30)
    orders = torch.stack([streamed.train.order(seed=0, epoch=epoch) for epoch in range(3000)])
    assert torch.equal(orders.sort(1).values[7], torch.arange(len(streamed.train)))
    counts = torch.bincount(orders[:, 0], minlength=30).double()
    # Chi-squared with 29 degrees of freedom: 58.3 is exceeded once in a thousand times.
    assert float(((counts - 100) ** 2 / 100).sum()) < 58.3


def test_no_thread_is_left_where_an_epoch_is_left(saved):
    streamed = load(saved(x=KINDS["features"], y=LABELS), stream=True, workers="thread")
    before = threading.active_count()
    for _ in streamed.train.epoch(8, seed=0, epoch=0):
        break
    assert threading.active_count() == before
    assert next(iter(streamed.train.batches(8, start=1000)), None) is None


def test_a_reader_can_be_sent_to_another_process(saved):
    streamed = load(saved(x=KINDS["features"], y=LABELS), stream=True)
    rows = torch.tensor([5, 1, 299])
    expected = streamed.train.reader.read(rows)
    assert torch.equal(pickle.loads(pickle.dumps(streamed.train.reader)).read(rows), expected)


# Choosing


def test_auto_streams_what_takes_more_than_half_of_the_free_memory(saved, photos, monkeypatch):
    folder = saved(x=KINDS["features"], y=LABELS)  # 300 x 16 x 4 = 19,200 bytes
    monkeypatch.setattr("netwright.data.memory.free_memory", lambda: 38_500)
    assert isinstance(load(folder).train, Split) and isinstance(load(photos).train, Split)
    monkeypatch.setattr("netwright.data.memory.free_memory", lambda: 38_300)
    data = load(folder)
    assert isinstance(data.train, StreamSplit)
    assert data.notes[0] == (
        "streamed from disk: in memory the inputs would take 19.2 kB, more than half of the 38.3 kB that are free"
    )
    monkeypatch.setattr("netwright.data.memory.free_memory", lambda: 10_000)
    assert isinstance(load(photos).train, StreamSplit)  # 20 x 16 x 16 = 5,120 bytes
    with pytest.raises(DataError, match=r"takes 19\.2 kB, and 10\.0 kB of memory are free\.\nStream it"):
        load(folder, stream=False)


def test_where_the_system_does_not_tell_nothing_is_streamed(monkeypatch):
    monkeypatch.setattr("netwright.data.memory.free_memory", lambda: None)
    assert choose_stream("auto", 10**15, "x") == (False, "")


def test_words_that_are_no_choice(saved):
    folder = saved(x=KINDS["features"], y=LABELS)
    with pytest.raises(DataError, match="stream: expected true, false or 'auto', came 'yes'"):
        load(folder, stream="yes")
    for workers in (-1, "four", True, 1.5):
        with pytest.raises(DataError, match="workers: expected 'auto', 'thread' or a number of processes"):
            load(folder, workers=workers)
    with pytest.raises(DataError, match="target= goes with a table"):
        load(folder, target="y")
    with pytest.raises(DataError, match=r"digits: stream= goes with a folder of images or of \.npy files"):
        load("digits", stream=True)


def test_random_items_read_by_processes_are_said_to_differ_after_a_resume():
    class Random(torch.utils.data.Dataset):
        def __len__(self):
            return 40

        def __getitem__(self, index):
            return torch.rand(3), index % 2

    said = "read by 2 processes: where items are random, a resumed run draws others"
    assert any(note.startswith(said) for note in load(Random(), workers=2).notes)
    assert not any("processes" in note for note in load(Random()).notes)


def test_an_archive_too_large_for_memory_is_told_what_to_do(tmp_path, monkeypatch):
    np.savez(tmp_path / "set.npz", x=KINDS["features"], y=LABELS)
    monkeypatch.setattr("netwright.data.memory.free_memory", lambda: 1000)
    with pytest.raises(DataError, match=r"as files of their own in a folder.*\n?.*it is streamed"):
        load(tmp_path / "set.npz")


# Memory

MEASURED = """
import resource, sys
from netwright.data import load
import torch, PIL.Image, concurrent.futures, scipy.stats, sklearn.metrics
load({small!r}, stream=True)  # what the first set costs, whatever its size
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
data = load({large!r}, stream=True)
seen = 0
for part in (data.train.epoch(64, seed=0, epoch=0), data.validation.batches(1000), data.test.batches(1000)):
    for x, y in part:
        seen += len(x)
print(seen, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in kB on Linux alone")
def test_400_mb_are_read_in_less_than_100(saved, tmp_path):
    small = saved(x=KINDS["bytes, channels first"], y=LABELS)
    large, count = tmp_path / "large", 130_000
    large.mkdir()
    rng = np.random.default_rng(1)
    with open(large / "x.npy", "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, 3, 32, 32)}
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(count // 10_000):
            file.write(rng.bytes(10_000 * 3072))
    np.save(large / "y.npy", rng.integers(0, 10, count))
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEASURED.format(small=str(small), large=str(large)))],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stderr
    seen, grown = map(int, ended.stdout.split())
    assert seen == count
    assert grown < 100_000, f"{grown:,} kB more for a set of {count * 3072 // 1000:,} kB"


# What goes wrong


def test_arrays_that_are_no_set(saved):
    x = KINDS["features"]
    cut = saved(x=x, y=LABELS)
    (cut / "x.npy").write_bytes((cut / "x.npy").read_bytes()[:1000])
    empty = saved(x=x, y=LABELS)
    (empty / "x.npy").write_bytes(b"")
    other = saved(x=x, y=LABELS)
    (other / "x.npy").write_bytes(b"x,y\n1,2\n")
    for folder, said in (
        (saved(x=x, y=LABELS[:-1]), "a target for each of 300 inputs"),
        (saved(x=np.array([{}, []], dtype=object), y=LABELS[:2]), "pickled objects, which are never loaded"),
        (saved(x=x), "expected files (.npy) named x and y or"),
        (saved(x=x, y=np.array(["a", None] * 150, dtype=object)), "y.npy: expected numbers or strings"),
        (cut, "x.npy: expected a whole .npy file, came one that is cut off or empty (1,000 bytes"),
        (empty, "x.npy: expected a whole .npy file, came one that is cut off or empty (0 bytes"),
        (other, "x.npy: expected NumPy's .npy format, came another file"),
        (saved(x=x[:, 0], y=LABELS), "(N, D) features"),
        (saved(x=x.astype(str), y=LABELS), "expected an array of numbers"),
    ):
        with pytest.raises(DataError) as caught:
            load(folder, stream=True)
        assert said in str(caught.value) and str(folder) in str(caught.value)
        assert len(str(caught.value).splitlines()) <= 4
    with pytest.raises(DataError, match="Fortran's order"):
        load(saved(x=np.asfortranarray(x), y=LABELS), stream=True)


def test_nan_is_named_with_its_row(saved):
    x = KINDS["features"].copy()
    x[205, 3], x[210, 0] = np.nan, np.inf
    with pytest.raises(DataError, match=r"came 2 NaN or infinite; the first is nan in row 205, place \[3\]"):
        load(saved(x=x, y=LABELS), stream=True)
    with pytest.raises(DataError, match=r"the first is inf in row 2, place \[1\]"):
        wide = np.ones((300, 4))
        wide[2, 1] = 1e300
        load(saved(x=wide, y=LABELS), stream=True)


def test_files_that_are_not_used_are_named(saved):
    notes = load(saved(x=KINDS["features"], y=LABELS, x_test=KINDS["features"]), stream=True).notes
    assert "not used: x_test.npy" in notes


@pytest.mark.parametrize("workers", [0, "thread", 1])
def test_a_file_that_changes_stops_the_run(saved, workers):
    folder = saved(x=KINDS["features"], y=LABELS)
    train = load(folder, stream=True, workers=workers).train
    next(train.epoch(8, seed=0, epoch=0))
    os.truncate(folder / "x.npy", 5000)
    with pytest.raises(DataError, match=r"x\.npy: it was changed \(from 19,328 to 5,000 bytes\)"):
        next(train.epoch(8, seed=0, epoch=1))
    (folder / "x.npy").unlink()
    with pytest.raises(DataError, match=r"x\.npy: it was there when the data was loaded"):
        next(train.epoch(8, seed=0, epoch=1))


def test_a_file_that_is_cut_off_within_an_epoch(saved):
    folder = saved(x=KINDS["features"], y=LABELS)
    train = load(folder, stream=True, workers=0).train
    batches = train.epoch(6, seed=0, epoch=0)
    os.truncate(folder / "x.npy", 5000)
    with pytest.raises(DataError, match=r"x\.npy: it was changed"):
        list(batches)


@pytest.mark.parametrize("workers", [0, "thread", 2])
def test_an_image_that_becomes_unreadable_is_named(photos, workers):
    train = load(photos, stream=True, workers=workers).train
    damaged = photos / train.names[3]
    stamp = damaged.stat()
    content = bytearray(damaged.read_bytes())
    content[40:] = bytes(len(content) - 40)
    damaged.write_bytes(content)
    os.utime(damaged, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    with pytest.raises(DataError) as caught:
        list(train.epoch(4, seed=0, epoch=0))
    assert str(damaged) in str(caught.value) and "it could be read when the data was loaded" in str(
        caught.value
    )
    assert "Traceback" not in str(caught.value)
    damaged.write_bytes(b"shorter")
    with pytest.raises(DataError, match="it was changed"):
        list(train.epoch(4, seed=0, epoch=0))
