"""TensorBoard, MLflow and Weights & Biases, told what metrics.jsonl is told; each only where `log.to` asks for it.

What goes wrong in one of them is said once, and never ends a training.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from netwright.errors import RecipeError
from netwright.recipe import LOGGERS, Recipe

# In the run's folder: event files, and under which id a log goes on when the run does.
FOLDER = "logs"
_SCORES = ("loss", "accuracy", "rmse", "mae", "r2", "perplexity", "bits_per_character")


class Logger(Protocol):
    """One log, open."""

    def record(self, values: Mapping[str, float], step: int) -> None:
        """Keeps numbers by their names, as they were after optimizer step `step`."""
        ...

    def flush(self) -> None: ...

    def finish(self, scores: Mapping[str, float]) -> None:
        """Keeps the final scores and closes."""
        ...


class Loggers:
    """The logs of a run; without any, nothing happens."""

    def __init__(self, opened: Mapping[str, Logger] | None = None) -> None:
        self.opened = dict(opened or {})

    @staticmethod
    def of(path: Path, recipe: Recipe, *, done: int, first: bool) -> Loggers:
        """Opens the logs that a recipe asks for of the run in `path`, which has `done` so many steps; only the `first` process writes."""
        loggers = Loggers()
        for name in recipe.log.to if first else ():
            with_name = loggers._safely(name, lambda name=name: _OPENERS[name](path, recipe, done))  # type: ignore[misc]
            if with_name is not None:
                loggers.opened[name] = with_name
        return loggers

    def record(self, record: Mapping[str, Any]) -> None:
        values = dict(_numbers(record))
        for name, one in list(self.opened.items()):
            self._safely(name, lambda one=one: one.record(values, record["step"]))  # type: ignore[misc]
            if "train_loss" in record:
                self._safely(name, one.flush)

    def flush(self) -> None:
        for name, one in list(self.opened.items()):
            self._safely(name, one.flush)

    def finish(self, result: Mapping[str, Any]) -> None:
        test = result.get("test") or {}
        scores = {f"test_{key}": float(test[key]) for key in _SCORES if test.get(key) is not None}
        for name, one in list(self.opened.items()):
            self._safely(name, lambda one=one: one.finish(scores))  # type: ignore[misc]
        self.opened.clear()

    def _safely(self, name: str, act: Callable[[], Any]) -> Any:
        """Returns what `act` does; a log that fails is dropped, with one line that says why."""
        try:
            return act()
        except Exception as error:  # whatever a stranger's library raises, the training goes on
            self.opened.pop(name, None)
            why = " ".join(str(error).split())[:200] or type(error).__name__
            print(f"nothing more is logged to {name}: {why}", file=sys.stderr)
            return None


def check_loggers(recipe: Recipe) -> None:
    """Raises RecipeError where a package that `log` asks for is not installed."""
    wanted = {name: LOGGERS[name] for name in recipe.log.to}
    asked = {f"log.to={name}": (name, package) for name, package in wanted.items()}
    if recipe.log.energy:
        asked["log.energy=true"] = ("energy", "codecarbon")
    for entry, (extra, package) in asked.items():
        if importlib.util.find_spec(package) is None:
            raise RecipeError(
                f"{entry} needs {package}, which is not installed: pip install 'netwright[{extra}]'"
            )


def _numbers(record: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    """Yields the numbers of a record by their names; those inside one another as `outer/inner`."""
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{before}{key}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and key not in ("step", "epochs"):
            yield f"{before}{key}", float(value)


def _flat(recipe: Recipe) -> dict[str, Any]:
    """Returns the recipe's entries as `section.entry`, in types that every log takes."""
    return {
        f"{section}.{entry}": value if isinstance(value, int | float | str | bool) else json.dumps(value)
        for section, entries in recipe.model_dump(mode="json").items()
        for entry, value in entries.items()
    }


class _TensorBoard:
    """Events in the run's folder, written by torch.utils.tensorboard."""

    def __init__(self, path: Path, recipe: Recipe, done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Events behind the checkpoint that the run goes on from are hidden: those steps are done again.
        self.recipe = recipe
        self.writer: Any = SummaryWriter(str(path / FOLDER), purge_step=done + 1 if done else None)
        if not done:
            self.writer.add_text("recipe", f"```\n{recipe.to_yaml()}\n```", 0)

    def record(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def flush(self) -> None:
        self.writer.flush()

    def finish(self, scores: Mapping[str, float]) -> None:
        self.writer.add_hparams(_flat(self.recipe), dict(scores), run_name=".")
        self.writer.close()


class _MLflow:
    """A run of MLflow: on the server of MLFLOW_TRACKING_URI, else in files in the run's own folder."""

    def __init__(self, path: Path, recipe: Recipe, done: int) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing phones home
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow.tracking import MlflowClient

        folder = path / FOLDER
        folder.mkdir(exist_ok=True)
        uri = os.environ.get("MLFLOW_TRACKING_URI") or (folder / "mlruns").absolute().as_uri()
        self.client: Any = MlflowClient(tracking_uri=uri)
        self.id, known = _id(folder / "mlflow.json", self._begin)
        if not known:
            self._keep_recipe(recipe)

    def _begin(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "netwright")
        found = self.client.get_experiment_by_name(name)
        experiment = self.client.create_experiment(name) if found is None else found.experiment_id
        return str(self.client.create_run(experiment).info.run_id)

    def _keep_recipe(self, recipe: Recipe) -> None:
        from mlflow.entities import Param

        entries = [Param(key, str(value)) for key, value in _flat(recipe).items()]
        for begin in range(0, len(entries), 100):  # the most that a server takes at once
            self.client.log_batch(self.id, params=entries[begin : begin + 100])

    def record(self, values: Mapping[str, float], step: int) -> None:
        from time import time

        from mlflow.entities import Metric

        now = int(time() * 1000)
        found = [Metric(_allowed(name), value, now, step) for name, value in values.items()]
        for begin in range(0, len(found), 1000):
            self.client.log_batch(self.id, metrics=found[begin : begin + 1000])

    def flush(self) -> None:
        pass  # each record is written at once

    def finish(self, scores: Mapping[str, float]) -> None:
        for name, value in scores.items():
            self.client.log_metric(self.id, name, value)
        self.client.set_terminated(self.id)


class _WeightsAndBiases:
    """A run of Weights & Biases, as its own settings say: WANDB_MODE=offline keeps it on this machine."""

    def __init__(self, path: Path, recipe: Recipe, done: int) -> None:
        import wandb

        offline = os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun")
        if not offline and wandb.api.api_key is None:  # it would ask for one, and wait
            raise RuntimeError("not logged in; run `wandb login`, or set WANDB_MODE=offline")
        folder = path / FOLDER
        folder.mkdir(exist_ok=True)
        self.id, _ = _id(folder / "wandb.json", lambda: os.urandom(4).hex())
        self.run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "netwright"),
            dir=str(folder),
            id=self.id,
            resume="allow",
            config=_flat(recipe),
            settings=wandb.Settings(silent=True, console="off"),
        )

    def record(self, values: Mapping[str, float], step: int) -> None:
        self.run.log(dict(values), step=step)

    def flush(self) -> None:
        pass  # its own process sends what it has

    def finish(self, scores: Mapping[str, float]) -> None:
        self.run.summary.update(dict(scores))
        self.run.finish()


def _id(file: Path, make: Callable[[], str]) -> tuple[str, bool]:
    """Returns the id that a log was begun under, and whether there was one; a new one is kept in `file`."""
    if file.exists():
        return str(json.loads(file.read_text(encoding="utf-8"))["id"]), True
    made = make()
    file.write_text(json.dumps({"id": made}), encoding="utf-8")
    return made, False


def _allowed(name: str) -> str:
    """Returns a name as MLflow takes it: letters, digits and _-. :/"""
    return "".join(letter if letter.isalnum() or letter in "_-. :/" else "_" for letter in name)


_OPENERS: dict[str, Callable[[Path, Recipe, int], Logger]] = {
    "tensorboard": _TensorBoard,
    "mlflow": _MLflow,
    "wandb": _WeightsAndBiases,
}
