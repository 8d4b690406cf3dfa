"""Runs on disk: all of a folder with what tells them apart, and two side by side."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from netwright.errors import NetwrightError, RunFolderError, unknown_name
from netwright.recipe import Recipe
from netwright.run_files import CHECKPOINTS, ENVIRONMENT, MEANING, METRICS, RECIPE, RESULT

# How deep and how far runs are looked for: a home folder is not searched through.
DEPTH, FOLDERS_AT_MOST = 6, 20_000
# By which a run is ranked, the first that its test has; whether more of it is better.
METRICS_OF_TESTS = {"bits_per_character": False, "accuracy": True, "rmse": False}
SORTS = ("score", "run", "data", "state", "epochs", "seconds", "findings", "changed")
# What says nothing about a choice: where a run's files lay, and on what it was computed.
LEFT_OUT = ("data.source", "train.device", "log.every_steps", "checkpoint.every_minutes")


def list_runs(folder: Path, *, sort: str = "score") -> tuple[list[dict[str, Any]], bool]:
    """Returns a row for each run in `folder` and below, and whether all of it was looked through.

    A row: `run`, `state` (`finished`, `interrupted` or `broken`), `data`, `recipe` {entry: value}, what `differs` of it from the most
    common value among the runs on the same data, `metric`, `score`, `interval`, `epochs`, `seconds`, `findings` {level: count}, `changed`
    (seconds since 1970) and `reason` (why it is broken).
    `sort`: `score` (the best first, data by data) or another column, or a dotted entry of the recipe. Raises RunFolderError for a
    folder that does not exist, UnknownNameError for an unknown column.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise RunFolderError(f"{folder} {what}: expected a folder in which runs lie, such as runs")
    found, whole = _found(folder)
    rows = [_row(path) for path in found]
    _tell_apart(rows)
    return sorted(rows, key=_order(sort, rows)), whole


def _found(folder: Path) -> tuple[list[Path], bool]:
    """Returns the folders that are runs, and whether everything was looked through."""
    runs, waiting, seen = [], [(folder, 0)], 0
    while waiting and seen < FOLDERS_AT_MOST:
        place, depth = waiting.pop()
        seen += 1
        if _is_run(place):
            runs.append(place)
            continue
        if depth < DEPTH:
            waiting += [(inner, depth + 1) for inner in _folders(place)]
    return sorted(runs), not waiting


def _is_run(folder: Path) -> bool:
    """Whether a folder is one that `fit` began; a recipe.yaml alone may be anybody's."""
    try:
        begun = any((folder / name).exists() for name in (ENVIRONMENT, MEANING, CHECKPOINTS))
        return begun and (folder / RECIPE).is_file()
    except OSError:
        return False  # a folder that may not be read


def _folders(place: Path) -> Iterator[Path]:
    try:
        with os.scandir(place) as inside:
            for entry in inside:
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                    yield Path(entry.path)
    except OSError:
        return  # a folder that may not be read holds no run that could be


def _row(path: Path) -> dict[str, Any]:
    row: dict[str, Any] = {
        "run": str(path),
        "state": "broken",
        "data": None,
        "recipe": {},
        "differs": {},
        "reason": "",
    }
    row |= {
        "metric": "",
        "score": None,
        "interval": None,
        "epochs": 0,
        "seconds": None,
        "findings": {},
        "changed": 0.0,
    }
    try:
        row["changed"] = path.stat().st_mtime
        row["recipe"] = flat_entries(Recipe.read(path / RECIPE))
        row["data"] = row["recipe"].get("data.source")
        row["epochs"], row["seconds"] = _trained(path)
        if not (path / RESULT).exists():
            return {**row, "state": "interrupted"}
        result = json.loads((path / RESULT).read_text(encoding="utf-8"))
        return {**row, **_of_result(result), "state": "finished"}
    except (NetwrightError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return {
            **row,
            "state": "broken",
            "reason": str(error).splitlines()[0] if str(error) else type(error).__name__,
        }


@cache
def _defaults() -> Mapping[str, Any]:
    return Recipe().model_dump(mode="json")


def flat_entries(nested: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a recipe's entries as `section.entry`; what an older version did not know yet has its default, and is no difference."""
    return {
        f"{section}.{name}": value
        for part in (_defaults(), nested)
        for section, entries in part.items()
        if isinstance(entries, Mapping)
        for name, value in entries.items()
    }


def _trained(path: Path) -> tuple[int, float]:
    """Returns how many epochs are in metrics.jsonl, and their seconds; a line that was cut off counts for nothing."""
    epochs, seconds = 0, 0.0
    if not (path / METRICS).exists():
        return epochs, seconds
    for line in (path / METRICS).read_text(encoding="utf-8").split("\n")[:-1]:
        record = json.loads(line)
        if "train_loss" in record:
            epochs, seconds = int(record["epoch"]), seconds + float(record["seconds"])
    return epochs, round(seconds, 3)


def _of_result(result: Mapping[str, Any]) -> dict[str, Any]:
    test = result.get("test") or {}
    metric = next((name for name in METRICS_OF_TESTS if test.get(name) is not None), "")
    score = float(test[metric]) if metric else None
    levels = Counter(str(finding.get("level")) for finding in result.get("findings") or [])
    return {
        "metric": metric,
        "score": score,
        "interval": test.get("interval") if metric in ("accuracy", "rmse") else None,
        "epochs": int(result["epochs"]),
        "seconds": float(result["seconds"]),
        "findings": dict(sorted(levels.items())),
    }


def _tell_apart(rows: Sequence[dict[str, Any]]) -> None:
    """Adds to each row what differs of its recipe from the most common value among the runs on the same data."""
    for data in {str(row["data"]) for row in rows}:
        group = [row for row in rows if str(row["data"]) == data and row["recipe"]]
        for key in dict.fromkeys(key for row in group for key in row["recipe"]):
            counts = Counter(json.dumps(row["recipe"].get(key), default=str) for row in group)
            if len(counts) < 2 or key in LEFT_OUT:
                continue
            usual = counts.most_common(1)[0][0]
            for row in group:
                if json.dumps(row["recipe"].get(key), default=str) != usual:
                    row["differs"][key] = row["recipe"].get(key)


def _order(sort: str, rows: Sequence[Mapping[str, Any]]) -> Callable[[Mapping[str, Any]], Any]:
    """Returns the key to sort rows by; what has no value comes last."""
    entries = {key for row in rows for key in row["recipe"]}
    if sort == "score":
        return _rank
    if sort == "findings":
        return lambda row: (-sum(row["findings"].values()), row["run"])
    if sort in SORTS:
        return lambda row: (
            row[sort] is None,
            -row[sort] if sort == "changed" else row[sort] or _nothing(sort),
            row["run"],
        )
    if sort in entries:
        return lambda row: (*_sortable(row["recipe"].get(sort)), row["run"])
    if "." in sort:
        raise unknown_name("recipe entry to sort by", sort, entries)
    raise unknown_name("column to sort by", sort, SORTS)


def _nothing(sort: str) -> Any:
    return 0 if sort in ("epochs", "seconds") else ""


def _sortable(value: Any) -> tuple[int, float, str]:
    """Returns numbers before texts before nothing, each in its own order."""
    if value is None:
        return (2, 0.0, "")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (0, float(value), "")
    return (1, 0.0, str(value))


def _rank(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """The best first within the same data and score; what has none after it."""
    score = row["score"]
    rising = METRICS_OF_TESTS.get(row["metric"], True)
    unscored = score is None or not math.isfinite(score)
    return (
        str(row["data"]),
        unscored,
        row["metric"],
        0.0 if unscored else -score if rising else score,
        row["run"],
    )
