"""What a run writes while it trains: metrics.jsonl, and its checkpoints."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netwright.errors import TrainingFailed
from netwright.loggers import Loggers
from netwright.run import Run
from netwright.run_files import CHECKPOINTS
from netwright.training.checkpoints import save_checkpoint, write_failure
from netwright.training.loop import Step
from netwright.training.state import TrainingState

if TYPE_CHECKING:
    from netwright.training.shared_checkpoints import SharedCheckpoints


class Log:
    """metrics.jsonl, appended to by the first process, and the logs beside it; and the time that training took, over all interruptions."""

    def __init__(self, path: Path, state: TrainingState, loggers: Loggers | None = None) -> None:
        self.path, self.state, self.loggers = path, state, loggers or Loggers()
        notes = state.notes
        self.earlier = float(notes.get("seconds", 0.0))
        self.validating = float(notes.get("validating", 0.0))
        # What `loss_sum` and `examples` were at the last step record, to say the mean loss since then.
        self.seen = (float(notes.get("logged_loss", 0.0)), int(notes.get("logged_examples", 0)))

    def __enter__(self) -> Log:
        self.began = self.epoch_began = time.perf_counter()
        try:
            self.file = open(self.path if self.state.processes.first else os.devnull, "a", encoding="utf-8")
        except OSError as error:
            raise write_failure(self.path, error) from error
        return self

    def __exit__(self, *exception: object) -> None:
        # Closing writes what an earlier full disk refused; that error has been raised already.
        with contextlib.suppress(OSError):
            self.file.close()
        self.loggers.flush()

    @property
    def seconds(self) -> float:
        return self.earlier + time.perf_counter() - self.began

    def notes(self) -> dict[str, Any]:
        return {
            "seconds": self.seconds,
            "validating": self.validating,
            "metrics_bytes": self.path.stat().st_size,
            "logged_loss": self.seen[0],
            "logged_examples": self.seen[1],
        }

    def step(self, step: Step) -> None:
        """Writes the mean loss since the last step record of this epoch."""
        total, examples = float(self.state.total_loss()), self.state.examples
        seen_total, seen_examples = self.seen if self.seen[1] < examples else (0.0, 0)
        mean = (total - seen_total) / (examples - seen_examples)
        self.seen = (total, examples)
        rate = self.state.optimizer.param_groups[0]["lr"]
        self._write({"step": step.number, "epoch": step.epoch, "loss": mean, "lr": rate})
        check_finite(mean, f"before step {step.number}", self.state)

    def epoch(self, record: dict[str, Any]) -> dict[str, Any]:
        now = time.perf_counter()
        record["seconds"] = round(now - self.epoch_began, 4)
        self.epoch_began, self.seen = now, (0.0, 0)
        self._write(record)
        return record

    def _write(self, record: dict[str, Any]) -> None:
        try:
            self.file.write(json.dumps(record) + "\n")
            self.file.flush()
        except OSError as error:
            raise write_failure(self.path, error) from error
        self.loggers.record(record)


def cut_metrics(path: Path, size: int) -> None:
    """Takes back the records of steps that the checkpoint does not know, since they will be done again."""
    if path.exists():
        os.truncate(path, min(size, path.stat().st_size))


@dataclass
class Saving:
    """When and how the run's checkpoints are written."""

    run: Run
    state: TrainingState
    log: Log

    def __post_init__(self) -> None:
        minutes = self.run.recipe.checkpoint.every_minutes
        self.every_seconds = math.inf if minutes is None else minutes * 60
        self.last = time.monotonic()
        self.shared: SharedCheckpoints | None = None
        if not self.state.processes.alone:
            from netwright.training.shared_checkpoints import SharedCheckpoints

            self.shared = SharedCheckpoints(self.run.path / CHECKPOINTS, self.state)

    def __enter__(self) -> Saving:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        # After an error what is being written is waited for too, but the error is the one to tell.
        with contextlib.suppress(Exception) if kind is not None else contextlib.nullcontext():
            self.finish()

    def late(self) -> bool:
        """Whether the last one was too long ago; each process has its own clock."""
        return time.monotonic() - self.last > self.every_seconds

    def save(self) -> None:
        if self.state.processes.first:
            self.state.notes |= self.log.notes()
        if self.shared is not None:
            self.shared.save()
        else:
            save_checkpoint(self.run.path / CHECKPOINTS, self.state.state_dict())
        self.last = time.monotonic()

    def finish(self) -> None:
        """Waits for what is being written."""
        if self.shared is not None:
            self.shared.finish()


def check_finite(loss: float, when: str, state: TrainingState) -> None:
    if not math.isfinite(loss):
        rate = state.optimizer.param_groups[0]["lr"]
        raise TrainingFailed(
            f"the training loss became {loss} {when} (learning rate {rate:g}).\n"
            "Try a lower --lr, --set train.clip=1, or look for the cause with: netwright examine"
        )
