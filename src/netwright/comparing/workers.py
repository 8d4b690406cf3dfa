"""Processes that carry out trials, each with one thread: what comes out does not depend on how many there are."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any

import torch

from netwright.comparing.trial import Job, Loading, Stopped, Trial, carry_out_trial, entries_of
from netwright.errors import NetwrightError, WritingFailed

# Called with a trial's name and the record of an epoch; the reason to stop it there, or None.
Judge = Callable[[str, dict[str, Any]], str | None]
SECONDS_TO_SAVE = 20.0


def cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Lets PyTorch compute with one thread for a while: another count rounds otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Here:
    """Carries out trials in this process, one after the other."""

    def __init__(self) -> None:
        self.loading = Loading()

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def carry_out(self, jobs: Sequence[Job], *, judge: Judge) -> Iterator[Trial]:
        with one_thread():
            for job in jobs:
                yield carry_out_trial(job, self.loading, _judged(job.name, judge))


def _judged(name: str, judge: Judge) -> Callable[[dict[str, Any]], None]:
    def on_epoch(record: dict[str, Any]) -> None:
        reason = judge(name, record)
        if reason is not None:
            raise Stopped(reason)

    return on_epoch


@dataclass
class Worker:
    """A process, the pipe to it, and the trial it is at."""

    process: Any
    pipe: Connection
    job: Job | None = None


@dataclass
class Workers:
    """So many processes, which are started when there is something to do and ended, whatever happens, with the block."""

    count: int
    workers: list[Worker] = field(default_factory=list)

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for worker in self.workers:
            with contextlib.suppress(OSError):
                worker.pipe.close()
            # What it has reached is saved first; without a trial it ends at once, because nothing can come any more.
            if worker.process.is_alive() and kind is not None:
                worker.process.terminate()
        for worker in self.workers:
            worker.process.join(SECONDS_TO_SAVE)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self.workers.clear()

    def carry_out(self, jobs: Sequence[Job], *, judge: Judge) -> Iterator[Trial]:
        """Yields the trials in the order in which they end. Raises NetwrightError where none can go on."""
        waiting = list(jobs)[::-1]
        while len(self.workers) < min(self.count, len(waiting)):
            self.workers.append(_started())
        for worker in self.workers:
            self._give(worker, waiting)
        while any(worker.job is not None for worker in self.workers):
            busy = [worker for worker in self.workers if worker.job is not None]
            ready = wait([worker.pipe for worker in busy])
            for worker in busy:
                if worker.pipe not in ready:
                    continue
                trial = self._heard(worker, judge)
                if trial is not None:
                    worker.job = None
                    self._give(worker, waiting)
                    yield trial

    def _give(self, worker: Worker, waiting: list[Job]) -> None:
        if waiting:
            worker.job = waiting.pop()
            worker.pipe.send(worker.job)

    def _heard(self, worker: Worker, judge: Judge) -> Trial | None:
        """Takes what a worker says: answers the record of an epoch, or returns the trial that ended."""
        assert worker.job is not None
        try:
            kind, content = worker.pipe.recv()
        except (EOFError, OSError):
            return self._died(worker)
        if kind == "epoch":
            worker.pipe.send(judge(worker.job.name, content))
            return None
        if kind == "error":
            raise content
        return content

    def _died(self, worker: Worker) -> Trial:
        """Returns the trial at which a process ended by itself, and starts another process."""
        assert worker.job is not None
        job, code = worker.job, worker.process.exitcode
        worker.process.join()
        code = worker.process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        memory = ": was there enough memory?" if code == -signal.SIGKILL else ""
        new = _started()
        worker.process, worker.pipe, worker.job = new.process, new.pipe, None
        # Not saved: the same command tries it again.
        return Trial(job.name, "failed", entries_of(job.recipe), f"its process ended ({how}){memory}")


def _started() -> Worker:
    context = multiprocessing.get_context(
        "spawn"
    )  # a fork of a process that has used PyTorch's threads can hang
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    return Worker(process, ours)


def _serve(pipe: Connection) -> None:
    """Carries out the trials that come through the pipe, until it closes."""
    # Ctrl-C goes to all processes of a terminal; the one that began them ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    loading = Loading()

    def judge(name: str, record: dict[str, Any]) -> str | None:
        pipe.send(("epoch", record))
        return pipe.recv()

    try:
        while True:
            job = pipe.recv()
            try:
                trial = carry_out_trial(job, loading, _judged(job.name, judge))
            except (EOFError, BrokenPipeError, ConnectionResetError):
                raise
            except NetwrightError as error:
                pipe.send(("error", error))
                continue
            except OSError as error:
                pipe.send(("error", WritingFailed(f"{job.folder}: {error.strerror or error}")))
                continue
            pipe.send(("trial", trial))
    except (EOFError, OSError):
        return  # the process that began this one is gone, or needs no more
    except KeyboardInterrupt:
        sys.exit(130)


def crew(count: int) -> Here | Workers:
    """Returns what carries out trials: so many processes, or for one this process itself."""
    return Here() if count == 1 else Workers(count)
