"""Parquet, checked against what pyarrow itself reads; the order of an epoch against statistics."""

from __future__ import annotations

import datetime
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import torch
from pyarrow import parquet

from netwright.data import load
from netwright.data.stream import StreamSplit
from netwright.errors import DataError

N = 2000


def columns(count: int = N, seed: int = 0) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    return {
        "small": rng.normal(size=count).astype(np.float32),
        "wide": rng.normal(1000, 1, count),
        "whole": rng.integers(-5, 9, count),
        "flag": rng.random(count) > 0.5,
        "pixels": list(rng.integers(0, 9, (count, 3))),
        "kind": rng.choice(["stone", "paper", "scissors"], count),
    }


def write(path: Path, *, group: int = 250, **entries: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table(entries), path, row_group_size=group)
    return path


def expected_inputs(path: Path, names: list[str]) -> np.ndarray:
    """The features by way of pyarrow's own Python objects."""
    rows = parquet.read_table(path, columns=names).to_pylist()
    flat = [[number for name in names for number in np.atleast_1d(row[name])] for row in rows]
    return np.array(flat, np.float32)


@pytest.mark.parametrize("stream", [False, True])
def test_rows_are_those_that_pyarrow_reads(tmp_path, stream):
    path = write(tmp_path / "a.parquet", **columns())
    data = load(path, target="kind", stream=stream, validation=0, test_share=0, preparation="none")
    names = ["small", "wide", "whole", "flag", "pixels"]
    x, y = data.train.prepared(slice(None))
    np.testing.assert_array_equal(x, expected_inputs(path, names))
    assert data.classes == ("paper", "scissors", "stone")
    assert [data.classes[label] for label in y] == parquet.read_table(path)["kind"].to_pylist()


def test_both_ways_divide_and_standardise_alike(tmp_path):
    path = write(tmp_path / "a.parquet", **columns())
    held, streamed = (load(path, target="kind", stream=stream) for stream in (False, True))
    assert isinstance(streamed.train, StreamSplit)
    assert held.preparation.to_dict() == streamed.preparation.to_dict()
    for name in ("train", "validation", "test"):
        (x, y), (u, v) = (getattr(data, name).prepared(slice(None)) for data in (held, streamed))
        assert torch.equal(x, u) and torch.equal(y, v)


@pytest.mark.parametrize(
    "values, classes",
    [
        (np.arange(N) % 3 + 5, ("5", "6", "7")),
        (np.arange(N) % 2 == 0, ("False", "True")),
        (pyarrow.array(["b", "a"] * (N // 2)).dictionary_encode(), ("a", "b")),
        (np.linspace(0, 1, N), None),
        (np.linspace(0, 1, N).astype(np.float32), None),
    ],
    ids=["whole numbers", "booleans", "dictionary", "double", "float"],
)
def test_targets(tmp_path, values, classes):
    path = write(tmp_path / "a.parquet", x=np.arange(N), y=values)
    for stream in (False, True):
        data = load(path, target="y", stream=stream, validation=0, test_share=0)
        assert data.classes == classes
        stored = parquet.read_table(path)["y"].to_pylist()
        seen = [y if classes is None else classes[y] for y in data.train.targets.tolist()]
        assert seen == (np.float32(stored).tolist() if classes is None else list(map(str, stored)))


def test_features_can_be_chosen(tmp_path):
    path = write(tmp_path / "a.parquet", **columns())
    data = load(path, target="kind", features=["whole", "small"], stream=True, preparation="none")
    assert data.input_shape == (2,)
    everything = expected_inputs(path, ["whole", "small"])
    np.testing.assert_array_equal(data.train.raw(slice(None)), everything[data.train.rows.numpy()])


def test_a_folder_of_files_with_parts(tmp_path):
    for number in range(3):
        write(tmp_path / "set" / f"train-{number}.parquet", **columns(300, seed=number))
    write(tmp_path / "set" / "test" / "10.parquet", **columns(100, seed=8))
    data = load(tmp_path / "set", target="kind", stream=True, preparation="none")
    assert (len(data.train) + len(data.validation), len(data.test)) == (900, 100)
    names = ["small", "wide", "whole", "flag", "pixels"]
    np.testing.assert_array_equal(
        data.test.raw(slice(None)), expected_inputs(tmp_path / "set" / "test" / "10.parquet", names)
    )
    # In natural order, one after the other.
    last = expected_inputs(tmp_path / "set" / "train-2.parquet", names)
    rows = data.train.rows[data.train.rows >= 600]
    np.testing.assert_array_equal(data.train.reader.read(rows), last[rows.numpy() - 600])
    write(tmp_path / "set" / "more.parquet", **columns(10))
    with pytest.raises(DataError, match="1 of no part"):
        load(tmp_path / "set", target="kind")


# The order


@pytest.fixture
def ordered(tmp_path, monkeypatch):
    """A file sorted by its only feature: 40 groups of 500 rows, of which 10 make a pool."""
    path = write(tmp_path / "sorted.parquet", group=500, x=np.arange(20_000), y=np.arange(20_000) % 2)
    monkeypatch.setattr("netwright.data.parquet.POOL_BYTES", 10 * 500 * 4)
    return load(path, target="y", stream=True, validation=0, test_share=0, preparation="none")


def test_an_epoch_visits_every_row_once_pool_by_pool(ordered):
    seen = []
    for epoch in range(3):
        order = ordered.train.order(seed=0, epoch=epoch)
        assert torch.equal(order.sort().values, torch.arange(20_000))
        assert torch.equal(order, ordered.train.order(seed=0, epoch=epoch))
        groups = [set((pool // 500).tolist()) for pool in order.split(5000)]
        assert [len(pool) for pool in groups] == [10, 10, 10, 10]
        seen.append(frozenset(map(frozenset, groups)))
        x = torch.cat([x for x, _ in ordered.train.epoch(64, seed=0, epoch=epoch)])
        assert torch.equal(x[:, 0].long(), order)
    assert len(set(seen)) == 3, "the groups meet others in every epoch"


def test_how_well_a_sorted_file_is_shuffled(ordered):
    """As the module says: no trend along an epoch, and batch means that spread as if the pool's 10 groups were drawn first."""
    position = np.arange(20_000)
    trends, spreads = [], []
    for epoch in range(40):
        order = ordered.train.order(seed=1, epoch=epoch).numpy()
        trends.append(np.corrcoef(position, order)[0, 1])
        means = order[: 312 * 64].reshape(312, 64).mean(1)
        spreads.append(((means - order.mean()) ** 2).mean())
    # 40 epochs; one of them has a trend of the order of 1 / sqrt(40 groups) at most.
    assert abs(np.mean(trends)) < 0.1 and np.abs(trends).max() < 0.6
    single = position.std()
    # Groups are drawn without putting back: 10 of 40, hence the factor of a finite population.
    drawn_first = single**2 * (1 / 10 * (40 - 10) / (40 - 1) + 1 / 64)
    assert np.sqrt(np.mean(spreads)) == pytest.approx(np.sqrt(drawn_first), rel=0.1)


def test_a_place_in_an_epoch_needs_its_own_pool_alone(ordered, monkeypatch):
    whole = list(ordered.train.epoch(50, seed=3, epoch=1))
    decoded = []
    table = type(ordered.train.reader)
    original = table._decode
    monkeypatch.setattr(table, "_decode", lambda self, group: decoded.append(group) or original(self, group))
    ordered.train.reader._held.clear()
    rest = list(ordered.train.epoch(50, seed=3, epoch=1, start=360))  # of 400: inside the last pool
    assert len(decoded) == 10
    for (x, y), (u, v) in zip(rest, whole[360:], strict=True):
        assert torch.equal(x, u) and torch.equal(y, v)


def test_each_group_is_decoded_once_an_epoch_and_a_pool_is_held(ordered, monkeypatch):
    decoded, held = [], []
    table = type(ordered.train.reader)
    original = table._decode
    monkeypatch.setattr(table, "_decode", lambda self, group: decoded.append(group) or original(self, group))
    ordered.train.reader._held.clear()
    for _ in ordered.train.epoch(64, seed=0, epoch=0):
        held.append(sum(array.nbytes for array in ordered.train.reader._held.values()))
    assert sorted(decoded) == list(range(40))
    assert max(held) <= 11 * 500 * 4


@pytest.mark.parametrize("workers", [0, "thread", 3])
def test_who_reads_changes_no_batch(ordered, tmp_path, workers):
    asked = load(tmp_path / "sorted.parquet", target="y", stream=True, workers=workers, preparation="none")
    plain = load(tmp_path / "sorted.parquet", target="y", stream=True, workers=0, preparation="none")
    for (x, y), (u, v) in zip(
        asked.train.epoch(64, seed=0, epoch=0), plain.train.epoch(64, seed=0, epoch=0), strict=True
    ):
        assert torch.equal(x, u) and torch.equal(y, v)
    # Each of several processes would decode every group.
    assert asked.train.workers == ("thread" if workers else 0)
    assert torch.equal(
        pickle.loads(pickle.dumps(plain.train.reader)).read(torch.arange(3)), torch.tensor([[0.0], [1], [2]])
    )


def test_the_order_is_told(ordered, tmp_path):
    assert (
        "order: each epoch takes the 40 row groups in random order and shuffles the rows of about 10 at a time (20.0 kB)"
        in ordered.notes
    )
    one = write(tmp_path / "one.parquet", group=20_000, x=np.arange(20_000), y=np.arange(20_000) % 2)
    notes = load(one, target="y", stream=True).notes
    assert any("the largest row group takes 80.0 kB in memory" in note for note in notes)


# What goes wrong


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        load(path, **{"target": "y", "stream": True, **options})
    assert len(str(caught.value).splitlines()) <= 4
    return str(caught.value)


def test_columns_that_are_not_there_or_no_numbers(tmp_path):
    entries = {
        "Age": np.arange(9.0),
        "name": ["a"] * 9,
        "day": [datetime.date(2020, 1, 1)] * 9,
        "y": [0, 1, 2] * 3,
    }
    path = write(tmp_path / "a.parquet", **entries)
    said = refusal(path, target=None)
    assert "--target COLUMN" in said and "'Age', 'name', 'day', 'y'" in said
    assert "no column 'age': did you mean 'Age'" in refusal(path, target="age")
    assert "no column 'names': did you mean 'name'?" in refusal(path, features=["names"])
    assert "came 'name' (string), 'day' (date32[day])" in refusal(path)
    assert "in column 'day'" in refusal(path, target="day")
    assert "cannot be among the features" in refusal(path, features=["y"])
    assert load(path, target="y", features=["Age"], stream=True).input_shape == (1,)
    assert "beside the target 'y', came none" in refusal(write(tmp_path / "b.parquet", y=[0, 1]))
    assert "size= goes with a folder of images" in refusal(path, size=8)


@pytest.mark.parametrize("stream", [False, True])
def test_missing_values_are_counted_by_column(tmp_path, stream):
    entries = {
        "a": [1.0, None, 3.0, None] * 5, "b": [1, 2, 3, 4] * 5, "c": [True, None, False, True] * 5,
        "d": [[1, 2], None, [3, 4], [5, None]] * 5, "y": [0, 1] * 10,
    }  # fmt: skip
    path = write(tmp_path / "a.parquet", group=7, **entries)
    said = refusal(path, stream=stream)
    assert "missing values in 'a' (10), 'c' (5), 'd' (10) of 20 rows" in said and str(path) in said
    assert "came 1 missing in column 'y'" in refusal(
        write(tmp_path / "b.parquet", x=[1, 2, 3], y=[0, None, 1]), stream=stream
    )
    nan = write(tmp_path / "c.parquet", x=[1.0, float("nan"), 3.0], y=[0, 0, 1])
    assert "NaN or infinite" in refusal(nan, stream=stream)


def test_files_that_are_damaged_empty_or_unlike(tmp_path):
    whole = write(tmp_path / "a.parquet", x=np.arange(500.0), y=np.arange(500) % 2).read_bytes()
    for name, content in (("cut", whole[:-40]), ("nothing", b""), ("other", b"x,y\n1,2\n" * 9)):
        path = tmp_path / f"{name}.parquet"
        path.write_bytes(content)
        assert "expected a whole Parquet file" in refusal(path) and str(path) in refusal(path)
    none = write(tmp_path / "none.parquet", x=np.arange(0.0), y=np.arange(0))
    assert "expected rows, came none" in refusal(none)
    write(tmp_path / "set" / "1.parquet", x=[1.0, 2.0], y=[0, 1])
    write(tmp_path / "set" / "2.parquet", x=["1", "2"], y=[0, 1])
    assert "2.parquet: expected column 'x' as double" in refusal(tmp_path / "set")
    uneven = write(tmp_path / "uneven.parquet", group=2, x=[[1, 2], [3, 4], [5, 6], [7]], y=[0, 1, 0, 1])
    assert "uneven.parquet, row 3: expected lists of 2 numbers in column 'x'" in refusal(uneven)
    inside = bytearray(whole)
    inside[200:1200] = os.urandom(1000)
    (tmp_path / "inside.parquet").write_bytes(inside)
    with pytest.raises(DataError, match=r"inside\.parquet"):
        load(tmp_path / "inside.parquet", target="y", stream=True)


def test_a_file_that_changes_stops_the_run(tmp_path):
    path = write(tmp_path / "a.parquet", x=np.arange(500.0), y=np.arange(500) % 2)
    train = load(path, target="y", stream=True).train
    next(train.epoch(8, seed=0, epoch=0))
    write(path, x=np.arange(600.0), y=np.arange(600) % 2)
    with pytest.raises(DataError, match=r"a\.parquet: it was changed"):
        next(train.epoch(8, seed=0, epoch=1))


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet", x=[1.0, 2.0], y=[0, 1])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'netwright[tables]'" in refusal(path)
