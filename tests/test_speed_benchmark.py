"""What the speed benchmark counts by itself, against counts by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SPEED = Path(__file__).parent.parent / "benchmarks" / "speed"
EPOCH, HELD_OUT = 54_000, 6_000


def printed(expression: str) -> float:
    """Returns what `expression` of the benchmark's module `work` is, in a process of its own."""
    code = f"import work; print({expression})"
    done = subprocess.run([sys.executable, "-c", code], cwd=SPEED, capture_output=True, text=True, check=True)
    return float(done.stdout)


def test_the_least_bytes_of_the_mlps_epoch() -> None:
    images, parameters, kept = 64 * 784, 784 * 128 + 128 + 128 * 10 + 10, 64 * 128
    step = 4 * (images + 2 * kept + 10 * parameters)
    wanted = (EPOCH * step + HELD_OUT * 4 * (images + parameters)) / 64
    assert printed("work.least_bytes('mlp', 64)") == wanted


def test_the_operations_of_the_mlps_epoch() -> None:
    forward = 2 * (784 * 128 + 128 * 10)
    backward = forward + 2 * 128 * 10  # of both layers the weights' gradient, of the second the input's too
    assert printed("work.operations('mlp', 64)") == EPOCH * (forward + backward) + HELD_OUT * forward


@pytest.mark.parametrize("network", ["mlp", "cnn", "transformer"])
def test_each_network_answers_and_its_floor_is_a_number(network: str) -> None:
    assert (
        printed(f"float(work.NETWORKS[{network!r}]()(work.torch.randn(3, 1, 28, 28)).shape == (3, 10))") == 1
    )
    assert printed(f"work.least_bytes({network!r}, 8) / work.operations({network!r}, 8)") > 0
