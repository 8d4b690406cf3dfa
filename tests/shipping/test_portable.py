"""What stands in for parts that formats lack, against those parts themselves and against other libraries."""

from __future__ import annotations

from typing import Any

import pytest
import scipy.stats
import torch

from netwright.shipping.portable import normal_quantile, portable


def test_a_portable_network_answers_as_the_one_it_stands_for(make: Any, kind: str) -> None:
    ready = make(kind)
    raw, made = ready.raw, portable(ready.shipped)
    with torch.no_grad():
        want, got = ready.shipped(raw)[0], made(raw)[0]
    scale = float(want.double().std())
    assert want.isfinite().all() and scale > 0, "a network whose answers are all alike proves nothing"
    torch.testing.assert_close(
        got.reshape(want.shape).to(want.dtype), want, rtol=0, atol=1e-5 * max(1.0, scale)
    )


def test_the_original_is_left_as_it_is(make: Any) -> None:
    ready = make("lstm")
    before = {name: value.clone() for name, value in ready.shipped.state_dict().items()}
    portable(ready.shipped)
    assert (
        type(ready.shipped.network).__name__ == "TextRecurrence" and ready.shipped.preparation.kind == "text"
    )
    assert all(torch.equal(before[name], value) for name, value in ready.shipped.state_dict().items())


def test_padding_changes_no_answer(make: Any) -> None:
    for kind in ("lstm", "gru-of-two", "embedding-bag", "transformer", "text-cnn"):
        ready = make(kind)
        made = portable(ready.shipped)
        with torch.no_grad():
            torch.testing.assert_close(
                made(ready.raw[2:3, :3])[0], made(ready.raw[2:3])[0], rtol=0, atol=1e-6
            )


@pytest.mark.parametrize("dtype, close", [(torch.float64, 1e-14), (torch.float32, 2e-6)])
def test_the_normal_quantile_against_scipy(dtype: torch.dtype, close: float) -> None:
    share = torch.cat(
        [torch.linspace(0.001, 0.999, 999), torch.tensor([1e-7, 1e-6, 1e-4, 1 - 1e-4, 1 - 1e-6])]
    )
    share = share.to(dtype)
    want = torch.from_numpy(scipy.stats.norm.ppf(share.double().numpy()))
    assert float(((normal_quantile(share).double() - want).abs() / want.abs().clamp(min=1)).max()) < close
    ends = normal_quantile(torch.tensor([0.0, 1.0], dtype=dtype)).tolist()
    assert ends == pytest.approx([-5.199337582, 5.199337582], abs=1e-5)
