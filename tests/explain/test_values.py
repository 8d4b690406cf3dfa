"""Figures of tensors beside NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.explain.values import picture_of, values_of

NUMBERS = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=50)


@given(NUMBERS)
@settings(max_examples=60, deadline=None)
def test_numbers_are_numpys(numbers: list[float]) -> None:
    array = np.array(numbers, dtype=np.float32)
    found = values_of(torch.from_numpy(array))
    assert (found.low, found.high) == (float(array.min()), float(array.max()))
    assert found.mean == pytest.approx(float(array.astype(np.float64).mean()), rel=1e-3, abs=0.5)
    assert found.deviation == pytest.approx(float(array.astype(np.float64).std()), rel=1e-3, abs=0.5)
    assert found.zeros == pytest.approx(float((array == 0).mean()))
    assert sum(found.histogram) == len(array)


def test_the_histogram_is_numpys() -> None:
    array = np.random.default_rng(0).normal(size=1000)
    counts, _ = np.histogram(array, bins=16)
    assert list(values_of(torch.from_numpy(array)).histogram) == counts.tolist()


@pytest.mark.parametrize(
    ("tensor", "count", "nan", "infinite", "mean"),
    [
        (torch.tensor([1.0, float("nan"), 3.0, float("inf")]), 4, 1, 1, 2.0),
        (torch.full((3,), float("nan")), 3, 3, 0, None),
        (torch.zeros(0), 0, 0, 0, None),
        (torch.tensor(5), 1, 0, 0, 5.0),
        (torch.tensor([True, False]), 2, 0, 0, 0.5),
        (torch.full((70_000,), 60_000.0).half(), 70_000, 0, 0, 60_000.0),  # whose sum is no half
        (torch.tensor([3 + 4j]), 1, 0, 0, 5.0),
        (torch.zeros(3, device="meta"), 3, 0, 0, None),
    ],
    ids=["mixed", "nan", "empty", "scalar", "bool", "half", "complex", "meta"],
)  # fmt: skip
def test_odd_tensors(tensor: torch.Tensor, count: int, nan: int, infinite: int, mean: float | None) -> None:
    found = values_of(tensor)
    assert (found.count, found.nan, found.infinite) == (count, nan, infinite)
    assert found.mean == (None if mean is None else pytest.approx(mean, rel=1e-3))


def test_pictures() -> None:
    grey = picture_of(torch.tensor([[[[0.0, 1.0, 2.0]] * 3]]))
    assert grey is not None and grey.tolist() == [[0, 128, 255]] * 3
    colours, maps = picture_of(torch.rand(2, 3, 8, 8)), picture_of(torch.rand(1, 20, 8, 8))
    assert colours is not None and colours.shape == (8, 8, 3)
    assert maps is not None and maps.shape == (8, 8 * 8 + 7) and maps.dtype == np.uint8
    large = picture_of(torch.rand(1, 1, 300, 100))
    assert large is not None and large.shape == (48, 16)
    for none in (torch.rand(2, 3), torch.rand(1, 8, 1, 1), torch.rand(1, 0, 8, 8)):
        assert picture_of(none) is None
