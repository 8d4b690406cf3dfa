"""One trial: an ordinary run, and the few numbers of it that a comparison needs."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netwright.comparing.gradients import Gradients, gradients_of
from netwright.errors import NetwrightError, RecipeError, TrainingFailed, WritingFailed
from netwright.fitting import carry_out
from netwright.recipe import Recipe
from netwright.run import Run, load_data
from netwright.run_files import WEIGHTS
from netwright.training.checkpoints import write_bytes

if TYPE_CHECKING:
    from netwright.data import Data

RUNS, TRIALS = "runs", "trials"
# The score by which variants are compared, the first that the validation has; and whether more of it is better. A loss is none:
# that of another variant may be another function.
SCORES = {"bits_per_character": False, "accuracy": True, "rmse": False}


class Stopped(Exception):
    """A trial that is not worth its further epochs."""


@dataclass(frozen=True)
class Job:
    """A trial to carry out: its name is that of its folder in `out`/runs."""

    name: str
    recipe: Recipe
    out: Path

    @property
    def folder(self) -> Path:
        return self.out / RUNS / self.name

    @property
    def file(self) -> Path:
        return self.out / TRIALS / f"{self.name}.json"


@dataclass(frozen=True)
class Trial:
    """What became of a trial. `state`: `finished`, `stopped` (after `epochs` of them) or `failed` (for `reason`).

    `score`: of the validation part, of the weights that are kept; `test` as in result.json, without its tables. `curve`: for each epoch the
    loss of training and the validation score. `part`: what identifies the test examples, and how many there are.
    """

    name: str
    state: str
    recipe: Mapping[str, Any]
    reason: str = ""
    metric: str = ""
    score: float | None = None
    test: Mapping[str, Any] | None = None
    epochs: int = 0
    best_epoch: int = 0
    seconds: float = 0.0
    parameters: int = 0
    curve: list[list[float | None]] = field(default_factory=list)
    gradients: Gradients | None = None
    part: Mapping[str, Any] = field(default_factory=dict)

    def scores(self) -> list[float]:
        """The validation score of each epoch; NaN where there is none."""
        return [math.nan if point[1] is None else point[1] for point in self.curve]

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, (json.dumps(asdict(self), indent=1) + "\n").encode())

    @classmethod
    def read(cls, path: Path) -> Trial:
        """Returns a trial as it was saved. Raises RecipeError for a file that is none."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            gradients = content.pop("gradients")
            return cls(**content, gradients=None if gradients is None else Gradients(**gradients))
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise RecipeError(
                f"{path} is not what a comparison wrote ({type(error).__name__}): remove it, and its trial is done again"
            ) from None


def known(job: Job) -> Trial | None:
    """Returns the trial that was carried out before, if it was.

    Raises RecipeError where it was one of another recipe.
    """
    if not job.file.exists():
        return None
    trial, asked = Trial.read(job.file), entries_of(job.recipe)
    different = [key for key in {**asked, **trial.recipe} if asked.get(key) != trial.recipe.get(key)]
    if different:
        said = ", ".join(f"{key} was {trial.recipe.get(key)}, now {asked.get(key)}" for key in different[:3])
        raise RecipeError(
            f"{job.folder} was trained with another recipe: {said}.\nGive another --out, or the same options as before."
        )
    return trial


def entries_of(recipe: Recipe) -> dict[str, Any]:
    """Returns a recipe's entries, dotted, as JSON has them."""
    nested = json.loads(json.dumps(recipe.model_dump(mode="json")))
    return {
        f"{section}.{name}": value for section, entries in nested.items() for name, value in entries.items()
    }


class Loading:
    """Reads the data of trials; that of the last one is kept, because the next one mostly has the same."""

    def __init__(self) -> None:
        self.key = ""
        self.data: Data | None = None

    def data_of(self, recipe: Recipe) -> Data | None:
        """Returns the data, or None where a trial has to read it itself: its network brings what prepares it."""
        if recipe.transfer.source is not None:
            return None
        # The recipe's network may decide how a table is encoded.
        sections = ("data", "table", "text", "sound", "series")
        parts = {name: getattr(recipe, name).model_dump() for name in sections}
        key = json.dumps([parts, recipe.train.seed, recipe.network.name], default=str)
        if key != self.key:
            self.key, self.data = key, load_data(recipe)
        return self.data


def carry_out_trial(job: Job, loading: Loading, on_epoch: Callable[[dict[str, Any]], None]) -> Trial:
    """Carries a trial out, or goes on with it, and returns and saves what became of it.

    A trial that fails is a result as well. Raises WritingFailed where the disk is full, which no other trial would survive.
    """
    recipe, entries = job.recipe, entries_of(job.recipe)
    try:
        data = loading.data_of(recipe)
        run = carry_out(
            recipe,
            data=data,
            out=job.folder,
            resume=True,
            quiet=True,
            examine=False,
            on_epoch=on_epoch,
            report=False,
        )
        trial = _finished(job, run, entries)
    except Stopped as stopped:
        trial = _unfinished(job, "stopped", str(stopped), entries)
    except WritingFailed:
        raise
    except TrainingFailed as error:
        trial = _unfinished(job, "failed", str(error), entries)
    except (NetwrightError, RuntimeError, MemoryError) as error:
        trial = _unfinished(job, "failed", _first_line(error), entries)
    trial.save(job.file)
    return trial


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _finished(job: Job, run: Run, entries: dict[str, Any]) -> Trial:
    result = run.result or {}
    curve, metric = curve_of(run)
    best = _kept(run, curve)
    data = run.data
    test = {key: value for key, value in (result["test"] or {}).items() if _plain(value)}
    return Trial(
        name=job.name,
        state="finished",
        recipe=entries,
        metric=metric,
        score=curve[best - 1][1] if curve else None,
        test=test or None,
        epochs=result["epochs"],
        best_epoch=best,
        seconds=result["seconds"],
        parameters=result["parameters"],
        curve=curve,
        gradients=gradients_of(run, data),
        part=_part(data),
    )


def _unfinished(job: Job, state: str, reason: str, entries: dict[str, Any]) -> Trial:
    curve: list[list[float | None]] = []
    metric, epochs = "", 0
    if (job.folder / "recipe.yaml").exists():
        run = Run(job.folder)
        curve, metric = curve_of(run)
        epochs = len(curve)
    scores = [point[1] for point in curve if point[1] is not None]
    rising = SCORES.get(metric, True)
    best = (max(scores) if rising else min(scores)) if scores else None
    return Trial(job.name, state, entries, reason, metric, best, epochs=epochs, curve=curve)


def _plain(value: Any) -> bool:
    return isinstance(value, int | float) or (
        isinstance(value, list) and len(value) == 2 and not isinstance(value[0], list)
    )


def metric_of(record: Mapping[str, Any]) -> str:
    """Returns the score by which trials with such an epoch's record are compared; empty where it has none."""
    return next((name for name in SCORES if record.get(f"validation_{name}") is not None), "")


def curve_of(run: Run) -> tuple[list[list[float | None]], str]:
    """Returns for each epoch the loss of training and the validation score, and which score that is."""
    records = [record for record in run.history if "train_loss" in record]
    metric = metric_of(records[-1]) if records else ""
    curve = [
        [_finite(record["train_loss"]), _finite(record.get(f"validation_{metric}"))] for record in records
    ]
    return curve, metric


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _kept(run: Run, curve: list[list[float | None]]) -> int:
    """Returns the epoch, from 1 on, whose weights are kept."""
    records = [record for record in run.history if "train_loss" in record]
    best = [place for place, record in enumerate(records, start=1) if record.get("best")]
    keeps_best = run.recipe.checkpoint.keep == "best" and best and (run.path / WEIGHTS).exists()
    return best[-1] if keeps_best else len(curve)


def _part(data: Data) -> dict[str, Any]:
    """Returns what tells the test examples of one trial from those of another: their rows, or else their targets."""
    digest = hashlib.sha256()
    if "test" in data.rows:
        digest.update(data.rows["test"].tobytes())
    else:
        targets = getattr(data.test, "targets", None)
        digest.update(b"" if targets is None else targets.cpu().numpy().tobytes())
    counts = {"train": len(data.train), "validation": len(data.validation), "test": len(data.test)}
    return {"sha256": digest.hexdigest(), **counts}
