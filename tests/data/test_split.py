"""Batches against plain indexing, bit for bit; resumed epochs against whole ones."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import Dataset

from netwright.data import (
    DatasetSplit,
    FeaturePreparation,
    ImagePreparation,
    Split,
    epoch_order,
    epochs,
    load,
)


def images(count, *, channels=1, side=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randint(0, 256, (count, channels, side, side), generator=generator, dtype=torch.uint8)
    means = [0.1307, 0.2, 0.3][:channels]
    preparation = ImagePreparation((channels, side, side), scale=255.0, mean=means, std=[0.3081] * channels)
    return Split(inputs, torch.randint(0, 10, (count,), generator=generator), preparation)


def plain(part, indices):
    """The line that `eject` prints."""
    prepare = part.preparation
    return (part.inputs[indices].float() / prepare.scale - prepare.mean) / prepare.std, part.targets[indices]


@given(
    count=st.integers(1, 300),
    batch=st.integers(1, 70),
    channels=st.sampled_from([1, 3]),
    chunk=st.sampled_from([1, 4096, 20_000, 1 << 21]),
    start=st.integers(0, 12),
    ordered=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_batches_are_those_of_plain_indexing_bit_for_bit(count, batch, channels, chunk, start, ordered):
    part = images(count, channels=channels)
    order = epoch_order(count, seed=1, epoch=2) if ordered else None
    indices = torch.arange(count) if order is None else order
    saved, epochs.CHUNK_BYTES = epochs.CHUNK_BYTES, chunk
    try:
        came = list(part.batches(batch, order, start))
    finally:
        epochs.CHUNK_BYTES = saved
    expected = [plain(part, rows) for rows in indices.split(batch)][start:]
    assert len(came) == len(expected)
    for (x, y), (their_x, their_y) in zip(came, expected, strict=True):
        assert torch.equal(x, their_x) and torch.equal(y, their_y)
        assert x.dtype == torch.float32 and x.is_contiguous()


@pytest.mark.parametrize("batch", [16, 64, 100])
def test_a_resumed_epoch_sees_the_same_alignment(batch, monkeypatch):
    monkeypatch.setattr(epochs, "CHUNK_BYTES", 100_000)
    part, order = images(2000), epoch_order(2000, seed=0, epoch=0)
    whole = [x.data_ptr() % 64 for x, _ in part.batches(batch, order)]
    for start in (1, 2, 7, 13):
        assert [x.data_ptr() % 64 for x, _ in part.batches(batch, order, start)] == whole[start:]


def test_rows_that_would_break_the_alignment_are_gathered_batch_by_batch():
    inputs = torch.rand(100, 3)
    part = Split(inputs, torch.zeros(100, dtype=torch.int64), FeaturePreparation((3,)))
    assert {x.data_ptr() % 64 for x, _ in part.batches(5)} == {0}


@pytest.mark.parametrize("order", [None, torch.arange(10)])
def test_what_a_network_does_to_a_batch_never_reaches_the_set(order):
    inputs = torch.rand(10, 16)
    part = Split(inputs, torch.arange(10), FeaturePreparation((16,)))
    kept = inputs.clone(), part.targets.clone()
    for x, y in part.batches(4, order):
        x.fill_(7.0)
        y.fill_(7)
    x, y = part.prepared(slice(0, 3))
    x.fill_(7.0), y.fill_(7)
    assert torch.equal(part.inputs, kept[0]) and torch.equal(part.targets, kept[1])


def test_batches_of_an_epoch_stay_what_they_were():
    part = images(500)
    kept = list(part.batches(7))
    assert torch.equal(torch.cat([x for x, _ in kept]), plain(part, torch.arange(500))[0])


def test_take_prepared_and_names():
    part = images(20)
    named = Split(part.inputs, part.targets, part.preparation, tuple(map(str, range(20))))
    few = named.take(3)
    assert len(few) == 3 and few.names == ("0", "1", "2") and len(named.take(99)) == 20
    x, y = named.prepared(torch.tensor([5, 2]))
    assert (
        torch.equal(x, plain(part, torch.tensor([5, 2]))[0]) and y.tolist() == part.targets[[5, 2]].tolist()
    )
    assert few.inputs.data_ptr() == named.inputs.data_ptr()
    moved = few.to("cpu")
    assert moved.preparation is not few.preparation and moved.device == torch.device("cpu")


def test_an_empty_part_has_no_batches():
    part = images(5).take(0)
    assert len(part) == 0 and list(part.batches(4)) == []


class Jittered(Dataset):
    """Items with noise from the global generator, as augmentations have it."""

    def __len__(self):
        return 30

    def __getitem__(self, index):
        return torch.full((4,), float(index)) + torch.rand(4), index % 3


def test_random_items_are_read_anew_and_resume_bit_for_bit():
    torch.manual_seed(0)
    data = load(Jittered(), test_share=0.2, validation=0.2)
    assert isinstance(data.train, DatasetSplit)
    assert any("comes out different" in note for note in data.notes)
    order = epoch_order(len(data.train), seed=0, epoch=0)
    torch.manual_seed(5)
    batches, states = [], []
    for x, y in data.train.batches(4, order):
        batches.append((x, y))
        states.append(torch.get_rng_state())
    torch.set_rng_state(states[1])
    resumed = list(data.train.batches(4, order, start=2))
    assert len(resumed) == len(batches) - 2
    for (x, y), (their_x, their_y) in zip(resumed, batches[2:], strict=True):
        assert torch.equal(x, their_x) and torch.equal(y, their_y)
    raw = batches[0][0] * data.preparation.std + data.preparation.mean
    assert ((raw - raw.floor()) >= 0).all()
    np.testing.assert_array_equal(raw[:, 0].floor().long() % 3, batches[0][1])


def test_loading_and_looking_leave_the_global_generators_alone():
    torch.manual_seed(3)
    np.random.seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    data = load(Jittered(), test_share=0.2, validation=0.2)
    _ = data.example, data.class_counts, load("digits").example
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


def test_the_parts_of_a_random_dataset():
    data = load(Jittered(), test_share=0.2, validation=0)
    assert len(data.train.take(5)) == 5 and len(list(data.train.take(5).batches(2))) == 3
    x, y = data.test.prepared(slice(0, 2))
    assert x.shape == (2, 4) and y.shape == (2,)
    assert data.train.to("cpu").device == torch.device("cpu")
    assert list(data.validation.batches(4)) == []


def test_each_example_is_hashed_once(monkeypatch) -> None:
    from netwright.data import split as module
    from netwright.data.partition import content_hashes

    inputs = torch.randint(0, 2, (50, 1, 2, 2), dtype=torch.uint8)
    part = Split(inputs, torch.zeros(50, dtype=torch.int64), load("digits").train.preparation)
    monkeypatch.setattr(module, "NUMBERS_AT_ONCE", 4 * 7)
    assert (part.hashes == content_hashes(inputs)).all() and part.hashes is part.hashes
    assert (part.take(9).hashes == part.hashes[:9]).all() and len(part.take(0).hashes) == 0
