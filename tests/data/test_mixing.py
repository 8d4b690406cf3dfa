"""Mixed batches: shares that add up, areas that are counted, and losses that learn from them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import netwright as nw
from netwright.data import load
from netwright.data.mixing import Mixing, mixed
from netwright.errors import DataError, NetworkError
from netwright.training.losses import match_targets


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Eight images, each of one value, its number; eight classes."""
    return torch.arange(8.0)[:, None, None, None].expand(8, 3, 10, 14).clone(), torch.eye(8)


def test_mixup_mixes_images_and_targets_by_one_share(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = batch
    for number in range(20):
        images, targets = mixed(x, y, (0, 0, number), mixup=0.4)
        own = targets[0, 0]
        assert 0 <= own <= 1
        expected = torch.arange(8) * own + torch.arange(7, -1, -1) * (1 - own)
        assert torch.allclose(images, expected[:, None, None, None].expand_as(images), atol=1e-5)
        assert torch.allclose(targets.sum(1), torch.ones(8)) and torch.allclose(targets[3, 4], 1 - own)


def test_cutmix_counts_the_area_that_it_has_taken(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = batch
    sizes = set()
    for number in range(50):
        images, targets = mixed(x, y, (0, 0, number), cutmix=1.0)
        other = images[0, 0] == 7
        assert torch.allclose(targets[0, 0], 1 - other.float().mean(), atol=1e-6)
        assert set(images[0].unique().tolist()) <= {0.0, 7.0}
        if other.any():
            rows, columns = torch.nonzero(other).unbind(1)
            box = (int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1)
            assert other.sum() == box[0] * box[1]
            sizes.add(box)
    assert len(sizes) > 20


def test_the_shares_are_those_of_a_beta_distribution(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = batch
    shares = torch.stack([mixed(x, y, (0, 0, number), mixup=0.4)[1][0, 0] for number in range(2000)])
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.var() == pytest.approx(0.25 / (2 * 0.4 + 1), abs=0.01)  # of Beta(a, a)


def test_with_both_each_has_half_of_the_batches(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = batch
    cut = 0
    for number in range(300):
        images, _ = mixed(x, y, (1, 2, number), mixup=1.0, cutmix=1.0)
        cut += set(images[0].unique().tolist()) <= {0.0, 7.0}
    assert 110 < cut < 190


def test_an_epoch_is_a_pure_function_and_can_be_jumped_into() -> None:
    train = load("digits").with_augmentation({"mixup": 0.3, "cutmix": 1.0, "shift": 1}).train
    whole = list(train.epoch(16, seed=3, epoch=1))
    jumped = list(train.epoch(16, seed=3, epoch=1, start=30))
    for (x, y), (u, v) in zip(whole[30:], jumped, strict=True):
        assert torch.equal(x, u) and torch.equal(y, v)
    other = list(train.epoch(16, seed=3, epoch=2))
    assert not torch.equal(whole[0][1].sort().values, other[0][1].sort().values)
    assert whole[0][1].shape == (16, 10) and whole[0][1].dtype == torch.float32
    plain_x, plain_y = next(train.batches(16))
    assert plain_y.dtype == torch.int64 and len(plain_x) == 16


def test_numbers_are_mixed_with_their_images() -> None:
    numbers = torch.rand(64)
    images = numbers[:, None, None, None].expand(64, 1, 6, 6)
    data = load(images, numbers, validation=0, preparation="none").with_augmentation({"mixup": 1.0})
    for x, y in list(data.train.epoch(8, seed=0, epoch=0))[:-1]:  # the last is odd: its middle stays
        assert torch.allclose(x[:, 0, 2, 3], y, atol=1e-6) and not torch.isin(y, numbers).any()
    with pytest.raises(DataError, match=r"augment\.cutmix mixes classes by area; these targets are numbers"):
        load(torch.rand(64, 1, 6, 6), torch.rand(64), validation=0).with_augmentation({"cutmix": 1.0})


@pytest.mark.parametrize("loss", ["cross-entropy", "bce-with-logits", "mse"])
def test_losses_learn_from_shares(loss: str) -> None:
    data = load("digits", limit=200).with_augmentation({"mixup": 0.4})
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    seen = [
        float(step.loss) for step in nw.train(net, data.train, loss=loss, epochs=6, lr=0.01, device="cpu")
    ]
    assert seen[-1] < 0.8 * seen[0]


def test_shares_of_two_classes_are_told_by_one_output() -> None:
    shares = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    assert match_targets(shares, nn.BCEWithLogitsLoss(), torch.zeros(2, 1)).tolist() == [[0.75], [0.0]]
    assert torch.equal(match_targets(shares, nn.CrossEntropyLoss(), torch.zeros(2, 2)), shares)


def test_nll_takes_no_shares() -> None:
    with pytest.raises(NetworkError, match="nll does not take: use cross-entropy"):
        match_targets(torch.rand(2, 3), nn.NLLLoss(), torch.zeros(2, 3))


@pytest.mark.parametrize("value", [-0.1, math.nan, "much", True])
def test_an_alpha_that_cannot_be_is_refused(value: object) -> None:
    with pytest.raises(DataError, match=r"augment\.mixup: expected the alpha of a Beta distribution"):
        Mixing.build({"mixup": value}, num_classes=3)


def test_rows_are_not_mixed() -> None:
    rows = load(torch.randn(20, 4), torch.arange(20) % 2, validation=0)
    with pytest.raises(DataError, match="mixes images or recordings"):
        rows.with_augmentation({"mixup": 0.2})
