"""Examples put into an order in their own memory."""

from __future__ import annotations

import pytest
import torch

from netwright.data.source import reorder


@pytest.mark.parametrize("shape", [(7,), (7, 1), (7, 40), (7, 3, 5, 5), (7, 1, 16), (7, 0), (1, 3)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_rows_are_reordered_where_they_lie(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    inputs = torch.arange(torch.Size(shape).numel()).to(dtype).reshape(shape)
    order = torch.randperm(shape[0], generator=torch.Generator().manual_seed(1))
    wanted, place = inputs[order], inputs.data_ptr()
    reorder(inputs, order)
    assert torch.equal(inputs, wanted) and inputs.data_ptr() == place
