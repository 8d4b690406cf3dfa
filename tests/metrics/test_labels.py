"""Suspicious labels against what confident learning comes to by hand, and against errors put in on purpose."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.metrics.labels import suspicious_labels


def test_by_hand() -> None:
    # Thresholds: class 0 has (0.9 + 0.8 + 0.1) / 3 = 0.6, class 1 (0.7 + 0.95 + 0.45) / 3 = 0.7.
    shares = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.05, 0.95], [0.55, 0.45]])
    found = suspicious_labels(shares, np.array([0, 0, 0, 1, 1, 1]))
    # The third says 1 by 0.9, above 0.7. The last says 0 by 0.55, which is below 0.6: not counted to any class.
    assert found.rows.tolist() == [2] and found.guesses.tolist() == [1]
    assert found.margins.tolist() == pytest.approx([0.1 - 0.9])


def test_a_class_of_which_the_network_is_never_sure_has_a_low_threshold() -> None:
    # 0.4 is much for class 1, whose own examples have 0.35 on average, although class 0 is more probable.
    shares = np.array([[0.95, 0.05]] * 8 + [[0.6, 0.4]] + [[0.65, 0.35]] * 4)
    found = suspicious_labels(shares, np.array([0] * 9 + [1] * 4))
    assert found.rows.tolist() == [8] and found.guesses.tolist() == [1]


def test_labels_that_were_exchanged_are_found() -> None:
    generator = np.random.default_rng(0)
    true = generator.integers(0, 4, 1000)
    logits = generator.normal(size=(1000, 4)) + 5 * np.eye(4)[true]
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    wrong = generator.permutation(1000)[:50]
    given = true.copy()
    given[wrong] = (true[wrong] + 1) % 4
    found = suspicious_labels(shares, given)
    # Of 50 most are found, and nothing else is: what is missed are examples of which the network itself is not sure.
    assert set(found.rows) <= set(wrong.tolist())
    assert len(found.rows) >= 38
    assert (np.diff(found.margins) >= 0).all()


def test_agrees_with_cleanlab() -> None:
    cleanlab = pytest.importorskip("cleanlab")
    generator = np.random.default_rng(1)
    shares = generator.dirichlet(np.ones(5) * 0.5, 400)
    given = np.where(generator.random(400) < 0.8, shares.argmax(1), generator.integers(0, 5, 400))
    found = suspicious_labels(shares, given)
    _, theirs = cleanlab.count.compute_confident_joint(given, shares, return_indices_of_off_diagonals=True)
    assert sorted(found.rows.tolist()) == sorted(theirs)
    margins = cleanlab.rank.get_normalized_margin_for_each_label(given, shares)[found.rows]
    assert found.margins == pytest.approx(2 * margins - 1)  # theirs lie from 0 to 1


def test_a_class_without_examples_and_a_network_that_is_always_right() -> None:
    shares = np.array([[0.9, 0.05, 0.05], [0.1, 0.85, 0.05]])
    assert suspicious_labels(shares, np.array([0, 1])).rows.tolist() == []
    assert suspicious_labels(np.full((6, 2), 0.5), np.array([0, 0, 0, 1, 1, 1])).rows.tolist() in (
        [],
        [3, 4, 5],
    )
