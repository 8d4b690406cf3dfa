"""Scores of two classes against scikit-learn, and thresholds against trying all of them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    precision_recall_fscore_support,
    recall_score,
    roc_auc_score,
)

from netwright.metrics import best_threshold, classification_scores, ranking_scores, rarer_class, scores_at


def drawn(seed, count=200, ties=False):
    rng = np.random.default_rng(seed)
    targets = (rng.random(count) < 0.2).astype(int)
    shares = np.clip(rng.normal(0.3 + 0.25 * targets, 0.15), 0.01, 0.99)
    shares = np.round(shares, 1) if ties else shares
    return np.stack([1 - shares, shares], axis=1), targets


@pytest.mark.parametrize("positive", [0, 1])
@pytest.mark.parametrize("ties", [False, True])
def test_ranking_is_scikit_learn_s(positive, ties):
    shares, targets = drawn(0, ties=ties)
    found = ranking_scores(shares, targets, positive=positive)
    assert found["roc_auc"] == roc_auc_score(targets == positive, shares[:, positive])
    assert found["average_precision"] == average_precision_score(targets == positive, shares[:, positive])
    assert found["share"] == np.mean(targets == positive)


def test_no_ranking_of_one_class():
    assert ranking_scores(np.full((3, 2), 0.5), np.zeros(3, int), positive=1) is None


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("positive", [0, 1])
@pytest.mark.parametrize("ties", [False, True])
def test_no_other_threshold_has_a_better_f1(seed, positive, ties):
    shares, targets = drawn(seed, ties=ties)
    true = targets == positive
    chosen = best_threshold(shares, targets, positive=positive)
    best = max(
        f1_score(true, shares[:, positive] >= threshold) for threshold in [0, *np.unique(shares[:, positive])]
    )
    assert f1_score(true, shares[:, positive] >= chosen) == pytest.approx(best, abs=1e-12)


def test_no_threshold_without_examples():
    assert best_threshold(np.full((3, 2), 0.5), np.zeros(3, int), positive=1) is None


def test_scores_at_a_threshold_are_scikit_learn_s():
    shares, targets = drawn(1)
    found = scores_at(shares, targets, 0.4, positive=1)
    precision, recall, f1, _ = precision_recall_fscore_support(targets, shares[:, 1] >= 0.4, average="binary")
    specificity = recall_score(targets == 0, shares[:, 1] < 0.4)
    assert [found[key] for key in ("precision", "recall", "f1", "specificity")] == pytest.approx(
        [precision, recall, f1, specificity]
    )
    assert scores_at(shares, targets, 1.0, positive=1)["precision"] is None


def test_labels_follow_the_threshold():
    shares, targets = drawn(2)
    scores = classification_scores(shares, targets, ["no", "yes"], threshold=(1, 0.3))
    taken = shares[:, 1] >= 0.3
    assert scores["accuracy"] == np.mean(taken == (targets == 1))
    assert scores["confusion"][1][1] == int((taken & (targets == 1)).sum())
    other = classification_scores(shares, targets, ["no", "yes"], threshold=(0, 0.3))
    assert other["confusion"][0][0] == int(((shares[:, 0] >= 0.3) & (targets == 0)).sum())


def test_the_rarer_class_is_looked_for():
    assert [rarer_class(counts) for counts in ([3, 1], [1, 3], [2, 2])] == [1, 0, 1]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", [False, True])
def test_sensitivity_at_a_specificity_is_that_of_the_best_threshold_that_keeps_it(seed, ties):
    shares, targets = drawn(seed, ties=ties)
    found = ranking_scores(shares, targets, positive=1)["at_specificity"]
    for at, least in zip(found, (0.90, 0.95), strict=True):
        thresholds = [np.inf, *np.unique(shares[:, 1])]
        kept = [
            recall_score(targets, shares[:, 1] >= threshold)
            for threshold in thresholds
            if recall_score(targets, shares[:, 1] >= threshold, pos_label=0) >= least
        ]
        assert at == {"specificity": least, "sensitivity": max(kept)}
