"""The global random generators, left as they were found."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def kept_generators() -> Iterator[None]:
    """Gives the global generators of Python, NumPy and torch (CPU) their states back, whatever was drawn.

    >>> torch.manual_seed(0).initial_seed()
    0
    >>> with kept_generators():
    ...     inside = torch.rand(())
    >>> bool(torch.rand(()) == inside)
    True
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
