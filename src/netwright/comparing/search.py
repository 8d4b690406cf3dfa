"""A search among settings: Optuna proposes them, and stops what is worse than the median at the same epoch.

The study is kept nowhere: it is made again from the trials in the folder. Settings are proposed several at a time, by a sampler whose seed is
that of the generation, and told in their order; a generation is stopped by medians of the generations before. So neither the number of
processes nor an interruption changes what is tried.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netwright.comparing.plan import AS_IT_IS, Plan, Sweep, Variant, Varying, seeds_from
from netwright.comparing.trial import SCORES, Job, Trial, metric_of
from netwright.comparing.vary import Range, Varied, shown_value, value_of
from netwright.comparing.workers import Here, Workers
from netwright.errors import RecipeError, TrainingFailed

if TYPE_CHECKING:
    import optuna

    from netwright.comparing.comparison import Say

GENERATION = 4
# Optuna's own defaults for its median pruner: nothing is stopped before so many trials are known. The first epochs say little.
TRIALS_BEFORE_PRUNING, EPOCHS_BEFORE_PRUNING = 5, 2
PRUNING = (
    "from the third epoch on a setting is stopped whose best validation score so far is worse than the median of the settings "
    "before it at that epoch (Optuna's MedianPruner)"
)


@dataclass(frozen=True)
class Search:
    """What is searched: the entries with their lists and ranges, in `count` settings."""

    varied: tuple[Varied, ...]
    count: int
    prune: bool


def load_optuna() -> Any:
    """Returns Optuna. Raises RecipeError where it is not installed."""
    try:
        import optuna
    except ImportError:
        raise RecipeError("--search needs Optuna: pip install 'netwright[compare]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def space_of(options: Sequence[Sequence[Varied]]) -> tuple[Varied, ...]:
    """Returns the entries of a search. Raises RecipeError where one comes twice."""
    varied = tuple(one for option in options for one in option)
    keys = [one.key for one in varied]
    twice = next((key for place, key in enumerate(keys) if key in keys[:place]), None)
    if twice is not None:
        raise RecipeError(f"{twice} is varied twice: give all its values in one --vary")
    return varied


def ends_of(space: Sequence[Varied]) -> list[dict[str, Any]]:
    """Returns settings that together hold each listed value and both ends of each range: what has to be possible before a search begins."""
    lists = [
        [one.values.low, one.values.high] if isinstance(one.values, Range) else list(one.values)
        for one in space
    ]
    longest = max(len(values) for values in lists)
    return [
        {one.key: values[min(place, len(values) - 1)] for one, values in zip(space, lists, strict=True)}
        for place in range(longest)
    ]


def search(
    varying: Varying, wanted: Search, folder: Path, crew: Here | Workers, *, say: Say
) -> list[tuple[Variant, Trial]]:
    """Returns the settings that were tried, in order, with their trials: finished, stopped or failed. All have the recipe's own seed."""
    optuna = load_optuna()
    study: Any = None
    done: list[tuple[Variant, Trial]] = []
    while len(done) < wanted.count:
        number = len(done)
        sampler = optuna.samplers.TPESampler(seed=varying.base.train.seed + number)
        if study is None:
            study = optuna.create_study(sampler=sampler)
        study.sampler = sampler
        asked = [study.ask() for _ in range(min(GENERATION, wanted.count - number))]
        variants = [varying.variant(_setting(one, wanted.varied)) for one in asked]
        trials = _generation(
            variants, number, wanted, folder, crew, before=[trial for _, trial in done], say=say
        )
        for one, variant, trial in zip(asked, variants, trials, strict=True):
            _tell(study, one, trial)
            done.append((variant, trial))
    return done


def _setting(trial: optuna.trial.Trial, space: Sequence[Varied]) -> dict[str, Any]:
    return {one.key: _suggested(trial, one) for one in space}


def _suggested(trial: optuna.trial.Trial, varied: Varied) -> Any:
    values = varied.values
    if not isinstance(values, Range):
        # Optuna takes lists for no choice: their places are chosen.
        return values[trial.suggest_categorical(varied.key, list(range(len(values))))]
    if values.whole:
        return trial.suggest_int(varied.key, int(values.low), int(values.high), log=values.logarithmic)
    # Four digits are enough for a recipe that people read.
    return float(f"{trial.suggest_float(varied.key, values.low, values.high, log=values.logarithmic):.4g}")


def _generation(
    variants: Sequence[Variant],
    number: int,
    wanted: Search,
    folder: Path,
    crew: Here | Workers,
    *,
    before: Sequence[Trial],
    say: Say,
) -> list[Trial]:
    """Returns the trials of settings that are tried together, each as it was before if it was, in their order."""
    from netwright.comparing.comparison import carry_out_jobs

    jobs = [Job(name_of(variant), variant.recipe, folder) for variant in variants]
    curves = [trial.scores() for trial in before if trial.state == "finished"]
    best: dict[str, float] = {}

    def judge(name: str, record: dict[str, Any]) -> str | None:
        metric = metric_of(record)
        if not wanted.prune or not metric or len(curves) < TRIALS_BEFORE_PRUNING:
            return None
        rising, value = SCORES[metric], float(record[f"validation_{metric}"])
        best[name] = value if name not in best else (max if rising else min)(best[name], value)
        return _worse_than_median(best[name], record["epoch"], curves, rising=rising)

    unique = {job.name: job for job in jobs}
    found = carry_out_jobs(list(unique.values()), crew, say=say, judge=judge)
    return [found[job.name] for job in jobs]


def _worse_than_median(
    best: float, epoch: int, curves: Sequence[Sequence[float]], *, rising: bool
) -> str | None:
    """Returns why a setting is stopped after this epoch, or None."""
    import numpy as np

    heights = [
        curve[epoch - 1] for curve in curves if len(curve) >= epoch and not math.isnan(curve[epoch - 1])
    ]
    if epoch <= EPOCHS_BEFORE_PRUNING or not heights:
        return None
    median = float(np.median(heights))
    worse = best < median if rising else best > median
    return (
        f"its best validation score after epoch {epoch} was {best:.4f}, the median {median:.4f}"
        if worse
        else None
    )


def name_of(variant: Variant) -> str:
    """Returns the folder's name of a setting's trial, apart from those of the final runs, which are not stopped."""
    return f"search-{variant.name}"


def _tell(study: Any, asked: Any, trial: Trial) -> None:
    """Tells the study what became of a setting."""
    optuna = load_optuna()
    state = optuna.trial.TrialState
    if trial.score is None:
        study.tell(asked, state=state.FAIL)
        return
    sign = -1 if SCORES[trial.metric] else 1
    for epoch, value in enumerate(trial.scores(), start=1):
        if not math.isnan(value):
            asked.report(sign * value, epoch)
    if trial.state == "finished":
        study.tell(asked, sign * trial.score)
    else:
        study.tell(asked, state=state.PRUNED if trial.state == "stopped" else state.FAIL)


def chosen(found: Sequence[tuple[Variant, Trial]]) -> Variant:
    """Returns the setting with the best validation score. Raises TrainingFailed where none was finished."""
    finished = [
        (variant, trial) for variant, trial in found if trial.state == "finished" and trial.score is not None
    ]
    if not finished:
        reasons = {trial.reason.splitlines()[0] for _, trial in found if trial.reason}
        raise TrainingFailed(
            f"none of {len(found)} settings was trained to its end: {'; '.join(sorted(reasons)[:3])}"
        )
    rising = SCORES[finished[0][1].metric]
    return (max if rising else min)(finished, key=lambda pair: pair[1].score)[0]  # type: ignore[arg-type, return-value]


def final_plan(varying: Varying, best: Variant, space: Sequence[Varied], *, seeds: int) -> Plan:
    """Returns the plan of the best setting and of the recipe as it is, with all seeds."""
    default = Variant(AS_IT_IS, {}, varying.base)
    variants = {one.name: one for one in (best, default)}
    keys = tuple(one.key for one in space)
    rows = tuple((name, tuple(value_of(one.recipe, key) for key in keys)) for name, one in variants.items())
    return Plan(varying.base, tuple(variants.values()), (Sweep(keys, rows),), seeds_from(varying.base, seeds))


def account_of(
    found: Sequence[tuple[Variant, Trial]], space: Sequence[Varied], best: Variant, *, prune: bool
) -> dict[str, Any]:
    """Returns what comparison.json holds of a search: each setting, its state and its validation score, the best first."""
    rows: list[dict[str, Any]] = [
        {
            "values": {one.key: value_of(variant.recipe, one.key) for one in space},
            "state": trial.state,
            "validation": trial.score,
            "epochs": trial.epochs,
            "reason": trial.reason,
            "run": f"runs/{trial.name}",
        }
        for variant, trial in found
    ]
    rising = SCORES.get(next((trial.metric for _, trial in found if trial.metric), ""), True)
    rows.sort(
        key=lambda row: (
            row["state"] != "finished",
            row["validation"] is None,
            (-1 if rising else 1) * (row["validation"] or 0),
        )
    )
    return {
        "settings": len(found),
        "stopped": sum(trial.state == "stopped" for _, trial in found),
        "failed": sum(trial.state == "failed" for _, trial in found),
        "best": {key: shown_value(value) for key, value in best.entries.items()},
        "pruning": PRUNING if prune else "",
        "rows": rows,
    }
