"""The numbers that are taken of tensors are those that PyTorch itself would give."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netwright.examine import measure
from netwright.examine.observation import Intake, Loss

pytestmark = pytest.mark.filterwarnings("error")
DRAW = torch.Generator().manual_seed(0)


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=DRAW)


@pytest.mark.parametrize(
    "values",
    [
        drawn(64, 10),
        drawn(7).double() * 1e200,
        drawn(5, 3).half(),
        drawn(5, 3).bfloat16(),
        torch.arange(12).reshape(3, 4),
        torch.tensor([True, False, True]),
        torch.tensor(3.5),
        drawn(6, 8).T,
        drawn(3, 4, 5).expand(2, 3, 4, 5),
        nn.Parameter(drawn(4, 4)),
        torch.zeros(3, 3),
    ],
    ids=str,
)
def test_stats_of_small_tensors(values: Tensor) -> None:
    found, exact = measure.stats(values), values.detach().double()
    assert found is not None
    assert (found.min, found.max) == (float(exact.min()), float(exact.max()))
    if float(exact.abs().max()) < 1e30:
        assert found.mean == pytest.approx(float(exact.mean()), rel=1e-5, abs=1e-6)
        assert found.std == pytest.approx(float(exact.std(correction=0)), rel=1e-4, abs=1e-6)
    assert found.zero == pytest.approx(float((exact == 0).double().mean()))
    assert (found.finite, found.size, found.at, found.bad) == (1.0, values.numel(), -1, 0)


def test_stats_of_what_cannot_be_read() -> None:
    for values in (torch.empty(0), torch.empty(2, 2, dtype=torch.complex64), torch.empty(3, device="meta")):
        assert measure.stats(values) is None
    assert measure.stats(torch.eye(3).to_sparse()) is None
    assert measure.stats("no tensor") is None


def test_stats_of_a_view_with_the_negative_bit() -> None:
    view = torch.tensor([1 + 2j, 3 - 4j]).conj().imag
    assert view.is_neg()
    found = measure.stats(view)
    assert found is not None
    assert (found.min, found.max) == (-2.0, 4.0)


def test_one_bad_number_among_many_is_found() -> None:
    values = torch.ones(100, 3, 40, 40)
    values[71, 2, 39, 1] = math.nan
    found = measure.stats(values)
    assert found is not None
    assert found.finite < 1
    assert (found.bad, values.reshape(-1)[found.at].isnan().item()) == (1, True)


@pytest.mark.parametrize("size", [16_385, 32 * 16 * 32 * 32, 65_536, 99_991, 3 * 224 * 224, 30_030 * 7])
def test_a_sample_reads_all_columns(size: int) -> None:
    stride = measure._stride(size, 16_384)
    assert -(-size // stride) <= 16_384
    assert math.gcd(stride, size) == 1


def test_columns_that_are_zero_count_in_a_large_tensor() -> None:
    values = torch.ones(32, 16, 32, 32)
    values[..., 0] = 0  # a stride of 32 would see nothing else
    found = measure.stats(values)
    assert found is not None
    assert found.zero == pytest.approx(1 / 32, rel=0.05)


@pytest.mark.parametrize(
    ("data", "call"),
    [
        (drawn(20, 6), "linear"),
        (drawn(6), "linear"),
        (drawn(4, 3, 8, 8), "conv2d"),
        (drawn(4, 5, 9), "conv1d"),
        (drawn(4, 5, 9), "lstm"),
        (drawn(11, 4).bfloat16(), "linear"),
        (torch.randint(0, 3, (9, 4), generator=DRAW).float(), "linear"),
    ],
)
def test_intake(data: Tensor, call: str) -> None:
    record = Intake(0, 0, call)
    assert measure.measure_intake(record, data, call)
    images = call.startswith("conv")
    rows = data.movedim(1, -1) if images else data
    rows = rows.reshape(-1, rows.shape[-1]).float()
    assert record.features == rows.shape[1]
    assert record.low == pytest.approx(rows.min(0).values.tolist())
    assert record.high == pytest.approx(rows.max(0).values.tolist())
    assert record.mean == pytest.approx(rows.mean(0).tolist(), abs=1e-6)
    assert record.std == pytest.approx(rows.std(0, correction=0).tolist(), abs=1e-6)
    assert record.typical == pytest.approx(rows.abs().median(0).values.tolist())
    assert record.zeros == pytest.approx((rows == 0).float().mean(0).tolist())
    ends = (rows == rows.min()) | (rows == rows.max())
    assert record.ends == pytest.approx(ends.float().mean(0).tolist())
    assert record.integral == bool((rows == rows.round()).all())


def test_intake_scaled_twice_and_not_finite() -> None:
    twice = torch.arange(256.0).repeat(4).reshape(8, 128) / 255 / 255
    record = Intake(0, 0, "linear")
    assert measure.measure_intake(record, twice, "linear") and record.twice
    assert (
        measure.measure_intake(record := Intake(0, 0, "linear"), twice * 255, "linear") and not record.twice
    )
    wild = torch.tensor([[math.inf, -math.inf, math.nan, 1.0], [-math.inf, 2.0, 1e38, -1e38]])
    assert measure.measure_intake(Intake(0, 0, "linear"), wild, "linear")  # no warning reaches the program


@pytest.mark.parametrize("shape", [(12, 5), (6, 5, 4, 3), (5,)])
@pytest.mark.parametrize("ignored", [False, True])
def test_class_losses(shape: tuple[int, ...], ignored: bool) -> None:
    scores = drawn(*shape)
    rows = (
        scores
        if len(shape) == 2
        else scores.movedim(1, -1).reshape(-1, 5)
        if len(shape) > 1
        else scores[None]
    )
    labels = torch.randint(0, 5, (shape[0], *shape[2:]) if len(shape) > 1 else (), generator=DRAW)
    if ignored and labels.dim():
        labels.view(-1)[0] = -100
    record = Loss(0, 0, "cross_entropy")
    measure.measure_loss(record, {"input": scores, "target": labels})
    ids = labels.reshape(-1)[labels.reshape(-1) != -100]
    assert record.classes == 5
    assert record.row_sum == pytest.approx((float(rows.sum(1).min()), float(rows.sum(1).max())), abs=1e-5)
    ends = rows.logsumexp(1)
    assert record.row_logsumexp == pytest.approx((float(ends.min()), float(ends.max())), abs=1e-5)
    assert record.column_sum == pytest.approx((float(rows.sum(0).min()), float(rows.sum(0).max())), abs=1e-4)
    assert record.predicted == torch.bincount(rows.argmax(1), minlength=5).tolist()
    assert record.histogram == torch.bincount(ids, minlength=5).tolist()
    assert (record.label_min, record.label_max) == (int(ids.min()), int(ids.max()))
    assert record.ignored == pytest.approx(1 - len(ids) / max(1, labels.numel()))
    assert record.distinct == len(labels.unique())


def test_share_of_clipped_logits() -> None:
    scores = F.relu(drawn(200, 4))
    labels = torch.randint(0, 4, (200,), generator=DRAW)
    record = Loss(0, 0, "cross_entropy")
    measure.measure_loss(record, {"input": scores, "target": labels})
    assert record.floor_share == pytest.approx(float((scores == 0).float().mean()))
    own = scores.gather(1, labels[:, None])
    assert record.true_floor_share == pytest.approx(float((own == 0).float().mean()))


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 3e38])
def test_losses_of_wild_numbers_warn_of_nothing(value: float) -> None:
    scores = drawn(8, 3)
    scores[2] = value
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        measure.measure_loss(
            Loss(0, 0, "cross_entropy"), {"input": scores, "target": torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])}
        )
        measure.measure_loss(Loss(0, 0, "mse_loss"), {"input": scores, "target": scores.clone()})
    assert heard == []


def test_regression_targets() -> None:
    values = drawn(300)
    record = Loss(0, 0, "mse_loss")
    measure.measure_loss(record, {"input": values[:, None], "target": values})
    wanted = torch.quantile(values, torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95])).tolist()
    assert record.quantiles == pytest.approx(wanted, abs=1e-6)
    assert (record.distinct, record.integral) == (300, False)
    counts = torch.tensor([0.0, 2.0, 2.0, 5.0])
    measure.measure_loss(record := Loss(0, 0, "mse_loss"), {"input": counts, "target": counts})
    assert (record.distinct, record.integral, record.counts) == (3, True, [1, 0, 2, 0, 0, 1])
