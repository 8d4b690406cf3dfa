"""Which targets are classes and which are numbers, and their scaling."""

from __future__ import annotations

import numpy as np
import pyarrow
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from netwright.data.target import Target, choose_target, in_sequence, read_target
from netwright.errors import DataError


def choose(values, asked="auto"):
    return choose_target("t.csv", "y", pyarrow.array(values), asked)


@pytest.mark.parametrize(
    "values, task, why",
    [
        (["a", "b", "a"], "classes", "2 different texts"),
        ([True, False], "classes", "true or false"),
        ([0, 1, 1], "classes", "2 different whole numbers"),
        ([1.0, 2.0, None], "classes", "2 different whole numbers"),
        ([0.5, 1.0], "numbers", "fractions"),
        (list(range(21)), "numbers", "21 different whole numbers, more than 20"),
        (list(range(20)), "classes", "20 different whole numbers"),
    ],
)
def test_rule(values, task, why):
    target, reason = choose(values)
    assert (target.task, reason) == (task, why)


def test_asked_for():
    assert choose(list(range(50)), "classes")[0].task == "classes"
    assert choose([0, 1, 0], "numbers")[0].task == "numbers"
    assert choose([True, False], "numbers")[0].task == "numbers"


@pytest.mark.parametrize(
    "values, said",
    [
        ([None, None], "nothing but gaps"),
        ([3, 3, None], "came '3' in every row"),
        (["x", "x"], "came 'x' in every row"),
        ([f"name {number}" for number in range(30)], "a different text in each of 30 rows"),
        (["1", "2", "3", "many"], "1 cells that are none, such as 'many'"),
        ([1.0, float("inf"), 2.0], "infinite"),
        (pyarrow.array([0, 1], pyarrow.date32()), "came date32"),
    ],
)
def test_refusals(values, said):
    with pytest.raises(DataError) as caught:
        choose(values)
    assert said in str(caught.value) and "'y'" in str(caught.value)


def test_labels_of_any_type_become_text():
    classes = Target("y", "classes")
    assert read_target(pyarrow.array([3.0, 1.0]), classes).tolist() == ["3", "1"]
    assert read_target(pyarrow.array([True, False]), classes).tolist() == ["true", "false"]
    assert read_target(pyarrow.array(["b", "a", "b"]), classes).tolist() == ["b", "a", "b"]


def test_sequence_of_classes():
    assert in_sequence(["10", "2", "-1", "2"]) == ("-1", "2", "10")
    assert in_sequence(["10", "2", "x"]) == ("10", "2", "x")


def test_scaling_is_that_of_scikit_learn_and_goes_back():
    values = np.random.default_rng(0).normal(3e5, 2e4, 500)
    target = Target("y", "numbers").scaled_to(torch.from_numpy(values))
    learned = target.to_learn(torch.from_numpy(values))
    expected = StandardScaler().fit_transform(values[:, None])[:, 0]
    assert np.allclose(learned.numpy(), expected, atol=1e-5)
    assert np.allclose(target.in_units(learned).numpy(), values, rtol=1e-6)


def test_equal_targets_are_not_divided_by_zero():
    target = Target("y", "numbers").scaled_to(torch.ones(5, dtype=torch.float64))
    assert target.to_learn(torch.ones(5)).tolist() == [0] * 5
