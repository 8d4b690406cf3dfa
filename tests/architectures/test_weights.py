import hashlib
import struct

import pytest
import torch
from torch import nn

from netwright.architectures import count_parameters, weights_sha256
from netwright.errors import NetworkError


def test_checksum_is_the_contracts():
    weights = {
        "b": torch.tensor([[1.5, -2.0], [0.0, 3.25]]),
        "a.n": torch.tensor(7),
        "ä": torch.tensor([True, False]),
    }
    data = b"a.n" + struct.pack("<q", 7) + b"b" + struct.pack("<4f", 1.5, -2.0, 0.0, 3.25)
    data += "ä".encode() + b"\x01\x00"
    assert weights_sha256(weights) == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float64, torch.uint8, torch.complex64]
)
def test_checksum_of_any_dtype(dtype):
    tensor = torch.tensor([1, 2, 3]).to(dtype)
    octets = bytes(tensor.view(torch.uint8).tolist())
    assert weights_sha256({"w": tensor}) == hashlib.sha256(b"w" + octets).hexdigest()


def test_checksum_is_of_values_not_of_memory():
    matrix = torch.arange(6.0).reshape(2, 3)
    assert weights_sha256({"w": matrix.t()}) == weights_sha256({"w": matrix.t().contiguous()})
    assert weights_sha256({"w": matrix}) != weights_sha256({"w": matrix.t()})
    assert weights_sha256({"w": nn.Parameter(matrix)}) == weights_sha256({"w": matrix})
    assert weights_sha256({"e": torch.zeros(0)}) == hashlib.sha256(b"e").hexdigest()


def test_checksum_of_what_is_no_tensor():
    with pytest.raises(NetworkError, match="entry 'extra' should be a dense tensor, but it is dict"):
        weights_sha256({"extra": {}})


def test_parameters_are_counted_once_and_buffers_not():
    network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
    assert count_parameters(network) == 20 + 8 + 20
    network[2].weight = network[0].weight
    assert count_parameters(network) == 20 + 8 + 4
    network.requires_grad_(False)
    assert count_parameters(network) == 32
