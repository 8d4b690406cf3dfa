"""Maps against closed forms, and the check by shuffled weights against networks that use their weights and that do not."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from netwright.errors import ExplanationError
from netwright.explain.attribution import (
    compared,
    embedding_of,
    integrated_gradients,
    leave_one_out,
    log_odds,
    occlusion,
    rank_correlation,
    saliency,
    shapley,
    token_gradients,
)
from netwright.metrics.probabilities import probabilities_of

WEIGHTS = torch.linspace(-1, 2, 12).reshape(1, 3, 4)
X = torch.arange(12.0).reshape(1, 1, 3, 4) / 5
BASE = torch.full_like(X, 0.3)


def linear(x: Tensor) -> Tensor:
    return (x * WEIGHTS).flatten(1).sum(1)


def test_maps_of_a_linear_answer_are_its_weights() -> None:
    assert torch.allclose(saliency(linear, X), WEIGHTS.abs())
    assert torch.allclose(integrated_gradients(linear, X, BASE), (WEIGHTS * (X - BASE))[0], atol=1e-5)
    one_by_one = occlusion(linear, X, BASE, window=(1, 1, 1))
    assert torch.allclose(one_by_one, (WEIGHTS * (X - BASE))[0], atol=1e-5)


def test_a_window_as_large_as_the_input_takes_all_of_it() -> None:
    found = occlusion(linear, X, BASE, window=(1, 3, 4))
    assert torch.allclose(found, (linear(X) - linear(BASE)).expand(1, 3, 4), atol=1e-5)


def test_integrated_gradients_add_up() -> None:
    def curved(x: Tensor) -> Tensor:
        return torch.tanh(linear(x)) + (x.flatten(1) ** 2).sum(1)

    total = integrated_gradients(curved, X, BASE).sum()
    # The trapezoids of 50 steps.
    assert torch.allclose(total, curved(X) - curved(BASE), rtol=0.02)


def product(there: Tensor) -> Tensor:
    """Two parts that act together, one alone, one not at all."""
    return 4 * there[:, 0] * there[:, 1] + 3 * there[:, 2]


def test_shapley_values_share_what_acts_together() -> None:
    found = shapley(product, 4)
    # In each order the last of the two gets all of it; over 20 orders about half.
    assert float(found.sum()) == pytest.approx(7, abs=1e-5)
    assert found[2:].tolist() == [3, 0]
    assert 0.5 < float(found[0]) < 3.5
    assert torch.equal(found, shapley(product, 4))


def test_shapley_values_leave_the_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    shapley(product, 4)
    assert torch.equal(torch.rand(1), expected)


def test_leaving_one_out() -> None:
    assert leave_one_out(product, 4).tolist() == [4, 4, 3, 0]


@pytest.mark.parametrize("method", [shapley, leave_one_out])
def test_worlds_are_averaged(method: Any) -> None:
    def score(there: Tensor) -> Tensor:
        worlds = torch.tensor([0.0, 2.0]).repeat(len(there) // 2)
        return there[:, 0] * worlds + there[:, 1] * 5

    assert method(score, 2, rows=2).tolist() == pytest.approx([1, 5])


class Reader(nn.Module):
    """Token ids to two numbers through an embedding, another embedding of places beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Embedding(9, 4)
        self.words = nn.Embedding(30, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, ids: Tensor) -> Tensor:
        at = torch.arange(ids.shape[1])
        return self.head((self.words(ids) + self.places(at)).sum(1))


def test_tokens_of_a_linear_reader() -> None:
    torch.manual_seed(0)
    network, ids = Reader(), torch.tensor([[5, 7, 7, 2]])
    layer = embedding_of(network, ids)
    assert layer is network.words
    found = token_gradients(lambda given: network(given)[:, 1], ids, layer, baseline=1)
    steps = network.words.weight[ids[0]] - network.words.weight[1]
    assert torch.allclose(found, (steps @ network.head.weight[1]).detach(), atol=1e-5)
    assert not layer._forward_hooks and not layer._forward_pre_hooks


def test_no_embedding_of_the_tokens() -> None:
    assert embedding_of(nn.EmbeddingBag(30, 4), torch.tensor([[5, 7]])) is None


@pytest.mark.parametrize("meaning", ["logits", "log-probabilities", "logits-apart", "shares-apart"])
@pytest.mark.parametrize("classes", [1, 2, 5])
def test_log_odds_are_those_of_the_probabilities(meaning: Any, classes: int) -> None:
    if classes == 1 and not meaning.endswith("apart"):
        pytest.skip("one output speaks for two classes only where each is a question of its own")
    torch.manual_seed(1)
    outputs = torch.randn(6, classes, dtype=torch.float64)
    outputs = {"log-probabilities": outputs.log_softmax(1), "shares-apart": outputs.sigmoid()}.get(
        meaning, outputs
    )
    shares = probabilities_of(outputs, meaning)
    for place in range(shares.shape[1]):
        expected = shares[:, place].logit()
        assert torch.allclose(log_odds(outputs, place, meaning=meaning), expected, atol=1e-6)
    ratio = (shares[:, 1] / shares[:, 0]).log()
    assert torch.allclose(log_odds(outputs, 1, meaning=meaning, against=0), ratio, atol=1e-6)


def network_of(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(144, 32), nn.Tanh(), nn.Linear(32, 3)).eval()


def first(outputs: Tensor) -> Tensor:
    return outputs[:, 0]


def test_a_map_of_the_weights_changes_with_them() -> None:
    network, x = network_of(), torch.randn(1, 1, 12, 12)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = compared("saliency", lambda call: saliency(call, x), network, first, signed=False)
    assert found.likeness is not None and found.likeness < 0.3 and found.tells is True
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


class Edges(nn.Module):
    """An answer that is the same for whatever weights: how bright the left half is."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return (x**2 * torch.linspace(1, 0, 12)).flatten(1).sum(1, keepdim=True)


def test_a_map_that_does_not_change_with_the_weights_is_told() -> None:
    x = torch.randn(1, 1, 12, 12)
    found = compared("saliency", lambda call: saliency(call, x), Edges(), first, signed=False)
    assert found.likeness == pytest.approx(1) and found.tells is False


@pytest.mark.parametrize(("values", "why"), [([1.0, 2.0], "too few"), ([2.0] * 9, "the same everywhere")])
def test_what_cannot_be_compared(values: list[float], why: str) -> None:
    found = compared("leave one out", lambda call: torch.tensor(values), network_of(), first)
    assert found.likeness is None and found.tells is None and found.reason is not None and why in found.reason


def test_answers_that_are_no_numbers() -> None:
    with pytest.raises(ExplanationError, match="not finite"):
        compared("saliency", lambda call: torch.tensor([math.nan] * 9), network_of(), first)


def test_rank_correlation_is_spearmans() -> None:
    torch.manual_seed(2)
    one, other = torch.randn(40).round(decimals=1), torch.randn(40)
    assert rank_correlation(one, other) == pytest.approx(spearmanr(one.numpy(), other.numpy()).statistic)
    assert rank_correlation(one, torch.ones(40)) == 0
