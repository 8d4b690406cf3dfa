"""Reading pieces in their order: between the steps, ahead by a thread, or ahead by processes.

Which of the three reads never decides what is read: the pieces are cut before, and come in their order.
torchdata's StatefulDataLoader is not used: it restores a loader by asking every worker for its state and going
on from there, which is needed where a stream cannot jump. Here an epoch is a pure function of (seed, epoch) and
a place in it is a slice of its order, so a resumed run simply begins at that slice, with any number of workers.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

Workers = int | Literal["thread"]
AHEAD_BYTES = 1 << 25  # that a thread reads ahead, at most
MOST_AHEAD = 16  # pieces; the memory they take is also bounded by AHEAD_BYTES


class Pieces(Dataset[Any]):
    """The rows of an order, `step` at a time: `pieces[i]` is what `read` returns for the i-th of them."""

    def __init__(self, read: Callable[[Tensor], Tensor], rows: Tensor, step: int) -> None:
        self.read, self.rows, self.step = read, rows, step

    def __len__(self) -> int:
        return -(-len(self.rows) // self.step)

    def __getitem__(self, index: int) -> Tensor:
        return self.read(self.rows[index * self.step : (index + 1) * self.step])


class _Kept(Dataset[Any]):
    """Pieces whose errors are handed over as they are; a DataLoader would wrap them in a traceback."""

    def __init__(self, pieces: Pieces) -> None:
        self.pieces = pieces

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, index: int) -> Any:
        try:
            return self.pieces[index]
        except Exception as error:
            return error


def read_pieces(pieces: Pieces, *, workers: Workers, piece_bytes: int, pin: bool = False) -> Iterator[Tensor]:
    """Yields every piece, in order; `pin` puts them in page-locked memory (for a CUDA device)."""
    if not len(pieces):
        return iter(())
    if workers == "thread":
        return _by_thread(pieces, depth=max(2, min(MOST_AHEAD, AHEAD_BYTES // max(1, piece_bytes))), pin=pin)
    if workers == 0:
        return (_pinned(pieces[index], pin) for index in range(len(pieces)))
    return _by_processes(pieces, count=workers, pin=pin)


def _pinned(piece: Tensor, pin: bool) -> Tensor:
    return piece.pin_memory() if pin else piece


def _by_thread(pieces: Pieces, *, depth: int, pin: bool) -> Iterator[Tensor]:
    pool = ThreadPoolExecutor(1, thread_name_prefix="netwright-reading")
    waiting: deque[Future[Tensor]] = deque()
    try:
        for index in range(len(pieces)):
            waiting.append(pool.submit(lambda index: _pinned(pieces[index], pin), index))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # also where the consumer stops in the middle
        pool.shutdown(wait=True, cancel_futures=True)


def _by_processes(pieces: Pieces, *, count: int, pin: bool) -> Iterator[Tensor]:
    loader = DataLoader(
        _Kept(pieces),
        batch_size=None,
        num_workers=min(count, len(pieces)),
        pin_memory=pin,
        # Without one of its own a DataLoader draws from the global generator, and a resumed epoch would draw
        # once more than the uninterrupted one.
        generator=torch.Generator().manual_seed(0),
        worker_init_fn=_leave_signals_to_the_main_process,
    )
    for piece in loader:
        if isinstance(piece, Exception):
            raise piece
        yield piece


def _leave_signals_to_the_main_process(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; the main one first saves, and then ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
