"""The same recipe several times, on folds of the data or with other seeds: what a score is worth."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from netwright.errors import RecipeError
from netwright.fitting import carry_out
from netwright.recipe import Recipe
from netwright.run import Run
from netwright.run_folder import free_folder
from netwright.training.checkpoints import write_bytes

SUMMARY = "summary.json"


def plan(recipe: Recipe, *, folds: int | None, seeds: int | None) -> list[tuple[str, Recipe]]:
    """Returns the name and the recipe of each run: one for each fold and each seed, from the recipe's own seed on.

    Raises RecipeError for fewer than two runs of either.

    >>> [name for name, _ in plan(Recipe.build({"data.source": "digits"}), folds=2, seeds=2)]
    ['seed-0-fold-1', 'seed-0-fold-2', 'seed-1-fold-1', 'seed-1-fold-2']
    """
    for option, count in (("--folds", folds), ("--seeds", seeds)):
        if count is not None and count < 2:
            raise RecipeError(f"{option} is a whole number of at least 2, not {count}: one run has no spread")
    runs = []
    for seed in range(recipe.train.seed, recipe.train.seed + (seeds or 1)):
        seeded = recipe.model_copy(update={"train": recipe.train.model_copy(update={"seed": seed})})
        if folds is None:
            runs.append((f"seed-{seed}", seeded))
        for number in range(1, (folds or 0) + 1):
            cut = recipe.data.model_copy(update={"fold": [number, folds]})
            name = f"fold-{number}" if seeds is None else f"seed-{seed}-fold-{number}"
            runs.append((name, seeded.model_copy(update={"data": cut})))
    return runs


def carry_out_often(
    recipe: Recipe,
    *,
    folds: int | None = None,
    seeds: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    quiet: bool = False,
    examine: bool = True,
    force: bool = False,
) -> dict[str, Any]:
    """Carries out a recipe once a fold and seed, each in a folder of its own inside `out`, and returns the summary.

    It is also written there as summary.json: `run`, `runs` (their folders), `test` {score: {`mean`, `std`, `interval`, `values`}}
    (see `spread`), `seconds`. With `resume` runs that are finished already are not trained again. Raises NetwrightError as `fit` does.
    """
    runs = plan(recipe, folds=folds, seeds=seeds)
    folder = Path(out) if out is not None else free_folder(recipe)
    done: list[Run] = []
    for name, one in runs:
        done.append(
            carry_out(one, out=folder / name, resume=resume, quiet=quiet, examine=examine, force=force)
        )
    tests = [(run.result or {}).get("test") for run in done]
    scored = [test for test in tests if test is not None]
    names = [name for name in ("accuracy", "rmse", "mae", "r2", "loss") if scored and name in scored[0]]
    share = 1 / (folds - 1) if folds is not None else 0.0
    summary = {
        "run": str(folder),
        "runs": [str(run.path) for run in done],
        "folds": folds,
        "seeds": seeds,
        "test": {name: spread([test[name] for test in scored], shared=share) for name in names},
        "seconds": round(sum((run.result or {}).get("seconds", 0.0) for run in done), 3),
    }
    write_bytes(folder / SUMMARY, (json.dumps(summary, indent=1) + "\n").encode())
    return summary


def spread(values: Sequence[float], *, shared: float) -> dict[str, Any]:
    """Returns `mean`, `std` (of the values), a 95 % `interval` [low, high] of the mean, and the `values`.

    The interval is Student's. Runs on folds share most of their training examples, so that their scores are no independent draws:
    `shared`, the test examples of a fold over its training examples, widens it (Nadeau and Bengio 2003, "Inference for the
    generalization error", equation 7). It says how the score varies with data and seed, not what one of these networks does.

    >>> found = spread([0.90, 0.92, 0.94], shared=0.0)
    >>> round(found["mean"], 3), [round(bound, 3) for bound in found["interval"]]
    (0.92, [0.87, 0.97])
    """
    from scipy.stats import t

    mean, count = statistics.fmean(values), len(values)
    deviation = statistics.stdev(values) if count > 1 else math.nan
    half = (
        float(t.ppf(0.975, count - 1)) * deviation * math.sqrt(1 / count + shared) if count > 1 else math.nan
    )
    return {"mean": mean, "std": deviation, "interval": [mean - half, mean + half], "values": list(values)}
