"""Several processes on this machine, started and watched by PyTorch's elastic launcher."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from netwright.errors import TrainingFailed


def launch(arguments: Sequence[str], *, processes: int, restarts: int = 0) -> int:
    """Runs `netwright ARGUMENTS` in several processes to their end and returns their exit code.

    If one fails, all are ended, and all started again at most `restarts` times. A process says itself what its
    error is. Ctrl-C and SIGTERM are passed on to each, and waited for until they have saved: 130 and 143.

    Raises:
        TrainingFailed: a process was killed, or they could not be started.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    with tempfile.TemporaryDirectory(prefix="netwright-") as logs, _environment(processes), _silent():
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=uuid.uuid4().hex,
            # A free port, and none of the network: all processes are on this machine.
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=restarts,
            monitor_interval=0.1,
            logs_specs=DefaultLogsSpecs(log_dir=logs),
        )
        try:
            elastic_launch(config, sys.executable)("-m", "netwright", *arguments)
        except ChildFailedError as error:
            return _exit_code(error)
        except SignalException as stopped:
            return 128 + int(stopped.sigval)
    return 0


def _exit_code(error: Any) -> int:
    """The exit code of the process that failed first; one that was killed could not say so itself."""
    rank, failure = error.get_first_failure()
    if failure.exitcode > 0:
        return failure.exitcode
    name = failure.signal_name()
    cause = ", as by a machine that is short of memory," if name == "SIGKILL" else ""
    raise TrainingFailed(
        f"process {rank} was ended by {name}{cause} and the others with it.\n"
        "Go on with: netwright resume RUN --processes N; or let it start again by itself: --restarts 3"
    )


def available_cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _environment(processes: int) -> Iterator[None]:
    """Divides the processors among the processes, unless the person has decided."""
    before = os.environ.get("OMP_NUM_THREADS")
    if before is None:
        os.environ["OMP_NUM_THREADS"] = str(max(1, available_cores() // processes))
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keeps the launcher's own log off the terminal: what went wrong is said once, by the process itself."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
