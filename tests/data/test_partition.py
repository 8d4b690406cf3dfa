"""Dividing: exact sizes, fair shares, equal examples together; checked by counting."""

import hashlib
import inspect

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.data import epoch_order
from netwright.data.idx import read_idx
from netwright.data.images import decode_image, list_files, natural_key
from netwright.data.partition import content_hashes, stratified_split


@st.composite
def single(draw):
    targets = np.array(draw(st.lists(st.integers(0, 5), min_size=1, max_size=80)))
    return targets, draw(st.integers(0, len(targets))), draw(st.integers(0, 2**32))


@given(single())
@settings(max_examples=200, deadline=None)
def test_sizes_are_exact_and_shares_fair(case):
    targets, size, seed = case
    kept, held_out = stratified_split(targets, np.arange(len(targets)), size, seed)
    assert len(held_out) == size
    assert sorted([*kept.tolist(), *held_out.tolist()]) == list(range(len(targets)))
    assert kept.tolist() == sorted(kept.tolist()) and held_out.tolist() == sorted(held_out.tolist())
    classes, counts = np.unique(targets, return_counts=True)
    for name, count in zip(classes, counts, strict=True):
        came = int((targets[held_out.numpy()] == name).sum())
        # Largest remainders give the exact share up to rounding; a class that had none may take one more.
        assert abs(came - count * size / len(targets)) < len(classes) + 1
        if count > 1 and size >= len(classes):
            assert came >= 1
        if count > 1 and len(targets) - size >= len(classes):
            assert came < count


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=60),
    st.floats(0, 1),
    st.booleans(),
    st.integers(0, 1000),
)
@settings(max_examples=200, deadline=None)
def test_a_group_is_never_divided(examples, share, stratified, seed):
    targets, groups = (np.array(column) for column in zip(*examples, strict=True))
    size = int(share * len(groups))
    kept, held_out = stratified_split(targets if stratified else None, groups, size, seed)
    assert not set(groups[kept.numpy()]) & set(groups[held_out.numpy()])
    assert sorted([*kept.tolist(), *held_out.tolist()]) == list(range(len(groups)))
    again = stratified_split(targets if stratified else None, groups, size, seed)
    assert torch.equal(kept, again[0]) and torch.equal(held_out, again[1])


def test_shares_of_a_plain_case_are_those_of_scikit_learn():
    from sklearn.model_selection import StratifiedShuffleSplit

    targets = np.repeat([0, 1, 2], [500, 300, 200])
    _, held_out = stratified_split(targets, np.arange(1000), 250, 3)
    _, theirs = next(StratifiedShuffleSplit(1, test_size=250, random_state=0).split(targets, targets))
    np.testing.assert_array_equal(np.bincount(targets[held_out.numpy()]), np.bincount(targets[theirs]))


def test_seeds_differ_and_every_example_can_be_held_out():
    targets = np.zeros(50, int)
    drawn = [stratified_split(targets, np.arange(50), 10, seed)[1].tolist() for seed in range(60)]
    assert len({tuple(indices) for indices in drawn}) == 60
    assert {index for indices in drawn for index in indices} == set(range(50))


def test_a_size_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="from 0 to 3, came 4"):
        stratified_split(None, np.arange(3), 4, 0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_hashes_are_those_of_the_raw_bytes(dtype):
    inputs = torch.randint(0, 255, (5, 1, 3, 2), generator=torch.Generator().manual_seed(0)).to(dtype)
    inputs[3] = inputs[1]
    expected = [
        int.from_bytes(hashlib.blake2b(inputs[i].numpy().tobytes(), digest_size=8).digest(), "little")
        for i in range(5)
    ]
    assert content_hashes(inputs).tolist() == expected
    assert expected[3] == expected[1] and len(set(expected)) == 4


def test_orders_are_permutations_and_leave_the_global_generator_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    orders = [epoch_order(100, seed=seed, epoch=epoch) for seed in range(3) for epoch in range(3)]
    assert torch.equal(torch.get_rng_state(), before)
    assert all(sorted(order.tolist()) == list(range(100)) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) == 9
    torch.manual_seed(99)
    assert torch.equal(epoch_order(100, seed=2, epoch=1), orders[7])


def test_the_printable_functions_stand_alone():
    """`eject` prints these: each runs from its own source with nothing but the modules it is said to name."""
    functions = (
        epoch_order, read_idx, content_hashes, stratified_split, natural_key, list_files, decode_image,
    )  # fmt: skip
    imports = (
        "import gzip, hashlib, math, os, re, zlib\nfrom typing import Any\nimport numpy as np\nimport torch\n"
    )
    space: dict = {}
    exec(imports + "\n".join(inspect.getsource(function) for function in functions), space)
    assert torch.equal(space["epoch_order"](9, seed=1, epoch=2), epoch_order(9, seed=1, epoch=2))
    targets = np.arange(30) % 3
    ours = stratified_split(targets, np.arange(30), 7, 5)
    assert torch.equal(space["stratified_split"](targets, np.arange(30), 7, 5)[1], ours[1])
    images = torch.arange(60, dtype=torch.uint8).view(5, 3, 2, 2)
    assert space["content_hashes"](images).tolist() == content_hashes(images).tolist()
