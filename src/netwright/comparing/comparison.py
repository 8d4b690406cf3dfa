"""A comparison from its plan to its tables: trials on the cores of the machine, gone on with where they were cut off."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netwright.comparing.folder import begin_folder, content_of, folder_for, save
from netwright.comparing.plan import AS_IT_IS, Plan, Sweep, Varying, deep_enough, grid_of, seeds_from
from netwright.comparing.search import (
    Search,
    account_of,
    chosen,
    ends_of,
    final_plan,
    load_optuna,
    search,
    space_of,
)
from netwright.comparing.tables import tables_of
from netwright.comparing.trial import SCORES, Job, Trial, known
from netwright.comparing.vary import DEFAULTS, parse_vary, shown_value
from netwright.comparing.workers import Here, Judge, Workers, cores, crew
from netwright.errors import DataError, NetwrightError, RecipeError
from netwright.recipe import Recipe
from netwright.run import load_data
from netwright.run_files import FROM_PYTHON

if TYPE_CHECKING:
    from netwright.data import Data

# After its first seed a variant is hopeless whose validation accuracy is so many standard errors, and so much, below the best one's;
# of numbers and texts, whose error is so many times the best one's.
ERRORS_BEHIND, SHARE_BEHIND, TIMES_WORSE = 4.0, 0.05, 1.5
PRUNING = (
    "after its first seed a variant is left out whose validation accuracy is 5 points and 4 standard errors below the best one's "
    "(numbers: whose error is 1.5 times the best one's)"
)


Say = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """What a comparison is asked for: the `--vary` options, how many seeds, how many settings to search, and how.

    `given`: the recipe's entries, dotted, that the person chose. `prune`: leave out what is hopeless after the first seed.
    """

    vary: tuple[str, ...]
    seeds: int = 3
    search: int | None = None
    prune: bool = True
    workers: int | None = None
    given: tuple[str, ...] = ()


def check_data(data: Data, recipe: Recipe) -> None:
    """Raises DataError or RecipeError for data on which nothing can be compared."""
    if not len(data.test):
        raise DataError(
            f"{data.name} has no test part, and a comparison is reported on one.\n"
            "Leave examples for it: --set data.test_share=0.2"
        )
    if not len(data.validation):
        raise DataError(
            f"{data.name} has no validation examples, by which a comparison chooses: the test part is opened only for what is chosen.\n"
            "Leave examples for it: --set data.validation=0.1"
        )
    if FROM_PYTHON in (recipe.network.name, recipe.data.source):
        raise RecipeError(
            "a comparison needs a network and data that other processes can make again by their names"
        )


def _with_named_loss(base: Recipe, data: Data) -> Recipe:
    """Returns the recipe with the loss that `auto` means, so that it is known for one of those that are compared."""
    if base.loss.name != "auto":
        return base
    name = "mse" if data.task == "regression" else "cross-entropy"
    return base.model_copy(update={"loss": base.loss.model_copy(update={"name": name})})


def check_variants(plan: Plan, data: Data) -> None:
    """Raises the error of the first variant that cannot be trained, before anything is: builds each, and computes one loss."""
    from netwright.fitting import check_recipe

    for variant in plan.variants:
        try:
            check_recipe(variant.recipe, data)
        except NetwrightError as error:
            what = ", ".join(f"{key}={shown_value(value)}" for key, value in variant.entries.items())
            if not what:
                raise
            raise type(error)(f"the variant {what} cannot be trained: {error}") from None


def _never(name: str, record: dict[str, Any]) -> None:
    return None


def carry_out_jobs(
    jobs: Sequence[Job], crew: Here | Workers, *, say: Say, judge: Judge = _never
) -> dict[str, Trial]:
    """Returns the trial of each job by its name: read where it was done before, else carried out."""
    found = {job.name: trial for job in jobs if (trial := known(job)) is not None}
    left = [job for job in jobs if job.name not in found]
    if found:
        say(f"{len(found)} of {len(jobs)} trials were done before")
    for done, trial in enumerate(crew.carry_out(left, judge=judge), start=1):
        found[trial.name] = trial
        say(f"{done:>{len(str(len(left)))}}/{len(left)}  {trial_line(trial)}")
    return found


def trial_line(trial: Trial) -> str:
    """Returns the line of a trial that has ended."""
    if trial.state != "finished":
        return f"{trial.name}  {trial.state}: {trial.reason.splitlines()[0] if trial.reason else ''}"
    score = "" if trial.score is None else f"  validation {trial.metric} {trial.score:.4f}"
    return f"{trial.name}{score}  {trial.epochs} epochs  {trial.seconds:.1f} s"


def jobs_of(plan: Plan, folder: Path, *, seeds: Sequence[int], but: Sequence[str] = ()) -> list[Job]:
    """Returns the jobs of these seeds, seed by seed, because trials of one seed share their data."""
    return [
        Job(f"{one.name}-seed-{seed}", one.seeded(seed), folder)
        for seed in seeds
        for one in plan.variants
        if one.name not in but
    ]


def carry_out_plan(
    plan: Plan, folder: Path, crew: Here | Workers, *, prune: bool, say: Say
) -> tuple[dict[str, Trial], dict[str, str]]:
    """Returns the trials of a plan by their names, and why variants were left out after the first seed."""
    if not prune or len(plan.seeds) < 2:
        return carry_out_jobs(jobs_of(plan, folder, seeds=plan.seeds), crew, say=say), {}
    first = plan.seeds[0]
    found = carry_out_jobs(jobs_of(plan, folder, seeds=[first]), crew, say=say)
    hopeless = hopeless_after({one.name: found[f"{one.name}-seed-{first}"] for one in plan.variants})
    for name, reason in hopeless.items():
        say(f"{name} is left out: {reason}")
    left = jobs_of(plan, folder, seeds=plan.seeds[1:], but=list(hopeless))
    return found | carry_out_jobs(left, crew, say=say), hopeless


def hopeless_after(trials: Mapping[str, Trial]) -> dict[str, str]:
    """Returns the variants that are far behind the best one in validation, and why. What the recipe says itself always stays."""
    scored = {name: one for name, one in trials.items() if one.state == "finished" and one.score is not None}
    if len(scored) < 2:
        return {}
    metric = next(iter(scored.values())).metric
    rising = SCORES[metric]
    best = (max if rising else min)(one.score for one in scored.values() if one.score is not None)
    found = {}
    for name, one in scored.items():
        assert one.score is not None
        behind = _far_behind(one.score, best, rising=rising, examples=int(one.part.get("validation", 1)))
        if behind and name != AS_IT_IS:
            found[name] = f"validation {metric} {one.score:.4f} after one seed, the best has {best:.4f}"
    return found


def _far_behind(score: float, best: float, *, rising: bool, examples: int) -> bool:
    if not rising:
        return score > TIMES_WORSE * best
    error = math.sqrt((score * (1 - score) + best * (1 - best)) / max(examples, 1))
    return best - score > max(SHARE_BEHIND, ERRORS_BEHIND * error)


def result_of(
    plan: Plan,
    folder: Path,
    tables: Sequence[Mapping[str, Any]],
    *,
    began: float,
    trials: Mapping[str, Trial],
    prune: bool,
    search: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns what `--json` prints and comparison.json holds."""
    part = next((one.part for one in trials.values() if one.part), {})
    sweeps = [dict(table) for table in tables]
    return {
        "comparison": str(folder),
        "data": plan.base.data.source,
        "network": plan.base.network.name,
        "metric": next((table["metric"] for table in sweeps if table["metric"]), ""),
        "examples": {key: part.get(key) for key in ("train", "validation", "test")},
        "same_test_part": len({one.part["sha256"] for one in trials.values() if one.part}) < 2,
        "seeds": list(plan.seeds),
        "tables": sweeps,
        "rows": [
            {key: value for key, value in row.items() if key not in ("curves", "gradients")}
            for table in sweeps
            for row in table["rows"]
        ],
        "trials": len(trials),
        "training_seconds": round(sum(one.seconds for one in trials.values()), 3),
        "pruning": PRUNING if prune else "",
        "search": search,
        "seconds": round(time.perf_counter() - began, 3),
    }


def compare(
    layers: Sequence[Mapping[str, Any]], asked: Asked, *, out: Path | None, say: Say
) -> dict[str, Any]:
    """Carries out a comparison, or goes on with it, and returns what comparison.json holds.

    `layers`: the recipe's, as for `Recipe.build`. Raises NetwrightError, before anything is trained, for what cannot be compared.
    """
    began = time.perf_counter()
    base = Recipe.build(*layers)
    data = load_data(base)
    check_data(data, base)
    if asked.search is not None:
        return _searched(_with_named_loss(base, data), data, asked, out=out, say=say, began=began)
    usual = not asked.vary
    if usual:
        base = Recipe.build(*layers, deep_enough(base, given=asked.given))
    base = _with_named_loss(base, data)
    options = [parse_vary(text, task=data.task) for text in (_usual(data) if usual else asked.vary)]
    prune = asked.prune and not usual and asked.seeds > 1
    plan = grid_of(base, options, seeds=asked.seeds, given=asked.given)
    check_variants(plan, data)
    folder = _begun(content_of(plan, search=None), out)
    count = len(plan.variants) * len(plan.seeds)
    say(
        f"{len(plan.variants)} variants x {len(plan.seeds)} seed{'s' * (len(plan.seeds) > 1)} = {count} trials in {folder}"
    )
    with crew(min(asked.workers or cores(), count)) as hands:
        trials, hopeless = carry_out_plan(plan, folder, hands, prune=prune, say=say)
    tables = tables_of(plan, trials, hopeless=hopeless)
    result = result_of(plan, folder, tables, began=began, trials=trials, prune=prune)
    save(folder, result)
    return result


def _usual(data: Data) -> list[str]:
    """Returns what is varied where nobody says what: each of these entries alone."""
    keys = [key for key in DEFAULTS if key != "loss.name" or data.task != "language"]
    return [",".join(keys)]


def _begun(content: Mapping[str, Any], out: Path | None) -> Path:
    folder = folder_for(out, content)
    begin_folder(folder, content)
    return folder


def _searched(
    base: Recipe, data: Data, asked: Asked, *, out: Path | None, say: Say, began: float
) -> dict[str, Any]:
    """Searches, then trains the best setting and the recipe as it is with all seeds."""
    assert asked.search is not None
    load_optuna()
    if not asked.vary:
        raise RecipeError(
            "--search: among what? For example --vary lr=1e-4..1e-1 --vary activation=relu,gelu"
        )
    space = space_of([parse_vary(text, task=data.task) for text in asked.vary])
    varying = Varying(base, given=asked.given)
    ends = {one.name: one for one in (varying.variant(setting) for setting in ends_of(space))}
    sweep = Sweep(tuple(one.key for one in space), ())
    plan = Plan(base, tuple(ends.values()), (sweep,), seeds_from(base, asked.seeds))
    check_variants(plan, data)
    folder = _begun(content_of(plan, search=asked.search), out)
    say(
        f"{asked.search} settings with one seed, then the best and the default with {asked.seeds}, in {folder}"
    )
    wanted = Search(space, asked.search, asked.prune)
    with crew(min(asked.workers or cores(), max(asked.search, 2 * asked.seeds))) as hands:
        found = search(varying, wanted, folder, hands, say=say)
        best = chosen(found)
        plan = final_plan(varying, best, space, seeds=asked.seeds)
        trials = carry_out_jobs(jobs_of(plan, folder, seeds=plan.seeds), hands, say=say)
    tables = tables_of(plan, trials, hopeless={})
    account = account_of(found, space, best, prune=asked.prune)
    result = result_of(plan, folder, tables, began=began, trials=trials, prune=False, search=account)
    tried = {trial.name: trial for _, trial in found} | trials
    result |= {"trials": len(tried), "training_seconds": round(sum(one.seconds for one in tried.values()), 3)}
    save(folder, result)
    return result
