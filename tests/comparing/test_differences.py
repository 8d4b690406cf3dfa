"""Differences between variants against scipy, closed forms and numbers from the literature."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom, t, ttest_rel

from netwright.comparing.differences import corrected, difference, differences, sentences

NUMBERS = np.random.default_rng(0)


@pytest.mark.parametrize("count", [2, 3, 10])
def test_interval_and_p_are_scipys(count):
    ours, theirs = NUMBERS.normal(0.9, 0.02, count), NUMBERS.normal(0.88, 0.02, count)
    mean, interval, p = difference(ours.tolist(), theirs.tolist(), shared=0.0)
    known = ttest_rel(ours, theirs)
    assert mean == pytest.approx((ours - theirs).mean())
    assert p == pytest.approx(known.pvalue)
    assert interval == pytest.approx(tuple(known.confidence_interval(0.95)))


def test_shared_examples_widen_as_nadeau_and_bengio_say():
    ours, theirs = [0.9, 0.92, 0.95], [0.88, 0.91, 0.9]
    apart = np.subtract(ours, theirs)
    mean, interval, p = difference(ours, theirs, shared=0.25)
    error = math.sqrt((1 / 3 + 0.25) * apart.var(ddof=1))
    half = t.ppf(0.975, 2) * error
    assert interval == pytest.approx((mean - half, mean + half))
    assert p == pytest.approx(2 * t.cdf(-abs(mean) / error, 2))


def test_one_seed_has_neither_interval_nor_p():
    assert difference([0.9], [0.8], shared=0.0) == (pytest.approx(0.1), None, None)


def test_equal_scores_do_not_differ():
    assert difference([0.9, 0.8], [0.9, 0.8], shared=0.0)[2] == 1.0


def test_one_example_more_with_every_seed_is_judged_by_its_sign():
    # Of 359 test examples one more, three times: a deviation of 0 would make it certain.
    ours, theirs = [0.75, 0.5, 0.625], [0.5, 0.25, 0.375]
    assert difference(ours, theirs, shared=0.0)[2] == pytest.approx(2 * binom.cdf(0, 3, 0.5))
    assert not differences({"a": theirs, "b": ours}, "a", rising=True, shared=0.0)["b"].larger


def test_holm_by_hand():
    # 4 x 0.005; then 3 x 0.01; then max(0.03, 2 x 0.03); then max(0.06, 0.04).
    assert corrected([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert corrected([0.6, 0.9]) == [1.0, 1.0]
    assert corrected([]) == []


def test_more_is_better_or_less_is():
    scores = {"a": [0.9, 0.91, 0.92], "b": [0.5, 0.52, 0.51]}
    rising = differences(scores, "a", rising=True, shared=0.0)["b"]
    falling = differences(scores, "a", rising=False, shared=0.0)["b"]
    assert rising.mean == pytest.approx(-0.4) and falling.mean == pytest.approx(0.4)
    assert rising.larger and falling.larger and rising.p == pytest.approx(falling.p)


def test_many_comparisons_make_one_of_them_less_sure():
    ours, theirs = [0.90, 0.93, 0.91], [0.95, 0.96, 0.95]
    alone = differences({"best": theirs, "a": ours}, "best", rising=True, shared=0.0)["a"]
    noise = {f"n{i}": (NUMBERS.normal(0.95, 0.01, 3)).tolist() for i in range(10)}
    among = differences({"best": theirs, "a": ours, **noise}, "best", rising=True, shared=0.0)["a"]
    assert alone.larger and not among.larger
    assert among.interval == alone.interval


def test_chance_alone_is_rarely_called_larger_than_the_noise():
    # 300 tables of 6 variants that do not differ: at most 5 % of them may say otherwise (and some will).
    wrong = 0
    for _ in range(300):
        scores = {name: NUMBERS.normal(0, 1, 5).tolist() for name in "abcdef"}
        wrong += any(one.larger for one in differences(scores, "a", rising=True, shared=0.0).values())
    assert 0 < wrong <= 0.09 * 300


def test_sentences_name_what_differs_and_what_does_not():
    scores = {"relu": [0.95, 0.96, 0.95], "tanh": [0.95, 0.95, 0.96], "sigmoid": [0.5, 0.52, 0.51]}
    found = differences(scores, "relu", rising=True, shared=0.0)
    labels = {name: name for name in scores}
    said = sentences(found, "relu", labels=labels, seeds=3, what="the best in validation")
    assert said[0] == "Larger than the noise: sigmoid is worse than relu (the best in validation)."
    assert said[1].startswith("Not larger than the noise of 3 seeds: the difference of tanh from relu")
    alone = sentences(found, "relu", labels=labels, seeds=1, what="")
    assert len(alone) == 1 and alone[0].startswith("One seed: nothing can be concluded")
