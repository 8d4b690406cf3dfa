"""Orders of epochs, and what each of several processes has of them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netwright.data import load
from netwright.data.order import balanced_order, epoch_order, share_of, share_of_epoch


@given(st.integers(0, 200), st.integers(1, 9))
def test_shares_are_those_of_tensor_split(count: int, world: int) -> None:
    rows = torch.arange(count)
    parts = [rows[share_of(count, (rank, world))] for rank in range(world)]
    assert all(torch.equal(part, other) for part, other in zip(parts, rows.tensor_split(world), strict=True))


@given(st.integers(1, 60), st.integers(1, 6), st.integers(0, 12))
def test_together_they_see_each_example_of_each_batch_once(count: int, world: int, more: int) -> None:
    batch, order = world + more, epoch_order(count, seed=1, epoch=2)
    shares = [share_of_epoch(order, batch, (rank, world)) for rank in range(world)]
    cut = [own.split(size) for own, size in shares]
    assert {len(batches) for batches in cut} == {-(-count // batch)}, "as many steps in every process"
    for number, expected in enumerate(order.split(batch)):
        counted = [
            batches[number][: len(expected[share_of(len(expected), (rank, world))])]
            for rank, batches in enumerate(cut)
        ]
        assert torch.equal(torch.cat(counted), expected)
        assert all(len(batches[number]) for batches in cut), "none is without an example"


@pytest.mark.parametrize("start", [0, 3, 6])
def test_an_epoch_of_a_part_is_shared_and_resumed(start: int) -> None:
    x = torch.arange(50.0).reshape(50, 1)
    part = load(x, torch.arange(50) % 2, validation=0, test_share=0, preparation="none").train
    whole = [batch.flatten() for batch, _ in part.epoch(8, seed=3, epoch=1)]
    parts = [
        [b.flatten() for b, _ in part.epoch(8, seed=3, epoch=1, start=start, share=(r, 3))] for r in range(3)
    ]
    for number, expected in enumerate(whole[start:]):
        rows = [
            part[number][: share_of(len(expected), (r, 3)).stop - share_of(len(expected), (r, 3)).start]
            for r, part in enumerate(parts)
        ]
        assert torch.equal(torch.cat(rows), expected)


class TestBalanced:
    TARGETS = torch.tensor([0] * 70 + [1] * 25 + [2] * 5)

    def test_each_class_comes_equally_often(self):
        order = balanced_order(self.TARGETS, seed=0, epoch=1)
        assert torch.bincount(self.TARGETS[order]).tolist() == [34, 33, 33]
        assert len(order) == len(self.TARGETS)

    def test_no_example_comes_twice_before_all_of_its_class(self):
        times = torch.bincount(balanced_order(self.TARGETS, seed=0, epoch=1), minlength=100)
        assert int(times[:70].max()) == 1
        assert sorted(times[70:95].unique().tolist()) == [1, 2]
        assert sorted(times[95:].unique().tolist()) == [6, 7]

    def test_is_a_function_of_seed_and_epoch(self):
        first = balanced_order(self.TARGETS, seed=0, epoch=1)
        assert torch.equal(first, balanced_order(self.TARGETS, seed=0, epoch=1))
        for seed, epoch in ((0, 2), (1, 1)):
            assert not torch.equal(first, balanced_order(self.TARGETS, seed=seed, epoch=epoch))

    def test_all_examples_of_a_large_class_come_in_time(self):
        seen = {
            row for epoch in range(8) for row in balanced_order(self.TARGETS, seed=0, epoch=epoch).tolist()
        }
        assert seen == set(range(100))
