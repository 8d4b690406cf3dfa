"""What is drawn from logits, against probabilities worked out here."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

from netwright.writing import next_token

LOGITS = torch.tensor([50.0, 50.0, 2.0, 1.0, 0.0, -1.0, -2.0])


def drawn(count: int = 4000, **choice: Any) -> dict[int, float]:
    """The share of each token in many draws."""
    generator = torch.Generator().manual_seed(0)
    settings = {"temperature": 1.0, "top_k": None, "top_p": None} | choice
    found = Counter(next_token(LOGITS, generator=generator, **settings) for _ in range(count))
    return {token: found[token] / count for token in found}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_come_as_often_as_the_softmax_says(temperature):
    found = drawn(temperature=temperature)
    expected = (LOGITS[2:] / temperature).softmax(0)
    for token, share in enumerate(expected.tolist(), start=2):
        assert found.get(token, 0) == pytest.approx(share, abs=4 * (share * (1 - share) / 4000) ** 0.5 + 1e-9)
    assert not {0, 1} & set(found), "neither padding nor the unknown"


def test_temperature_0_takes_the_likeliest():
    assert drawn(count=20, temperature=0) == {2: 1.0}


@pytest.mark.parametrize(("k", "kept"), [(1, {2}), (3, {2, 3, 4}), (100, {2, 3, 4, 5, 6})])
def test_top_k_keeps_the_k_likeliest(k, kept):
    assert set(drawn(top_k=k)) == kept


def test_top_p_keeps_the_fewest_that_have_the_probability():
    shares = LOGITS[2:].softmax(0)  # 0.64, 0.23, 0.09, 0.03, 0.01
    assert set(drawn(top_p=0.5)) == {2}
    assert set(drawn(top_p=float(shares[0]) + 0.01)) == {2, 3}
    assert set(drawn(top_p=0.95)) == {2, 3, 4}
    assert set(drawn(top_p=1.0)) == {2, 3, 4, 5, 6}
    assert set(drawn(top_p=0.99, top_k=2)) == {2, 3}


def test_a_seed_decides():
    def some(seed: int) -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        return [
            next_token(LOGITS, temperature=1.0, top_k=None, top_p=None, generator=generator)
            for _ in range(30)
        ]

    assert some(3) == some(3) != some(4)
