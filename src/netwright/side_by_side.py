"""Two runs side by side: what differs in their recipes, and whether their scores differ by more than the noise."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np

from netwright.errors import NetwrightError
from netwright.listing import METRICS_OF_TESTS, flat_entries
from netwright.recipe import Recipe
from netwright.run import Run, score
from netwright.run_files import RECIPE

RISK = 0.05
RESAMPLES = 1_999


def side_by_side(first: Path, second: Path) -> dict[str, Any]:
    """Returns two runs beside each other: `runs`, their `recipe` differences {entry: [a, b]}, `scores`, and how they `differ`.

    `differ`: {`test` (the name of the statistical test, empty: none was possible), `difference` (second minus first), `interval` (95 %), `p`,
    `larger` (than the noise; None: unknown), `examples`, `says` (in plain words)}. Raises RunFolderError for a folder that is no run.
    """
    runs = [Run(first), Run(second)]
    recipes = [flat_entries(Recipe.read(run.path / RECIPE)) for run in runs]
    keys = dict.fromkeys([*recipes[0], *recipes[1]])
    different = {
        key: [recipe.get(key) for recipe in recipes]
        for key in keys
        if recipes[0].get(key) != recipes[1].get(key)
    }
    results = [run.result or {} for run in runs]
    return {
        "runs": [str(run.path) for run in runs],
        "recipe": different,
        "scores": [
            {
                "test": {key: value for key, value in (result.get("test") or {}).items() if _plain(value)}
                or None,
                "epochs": result.get("epochs"),
                "seconds": result.get("seconds"),
                "parameters": result.get("parameters"),
                "findings": len(result.get("findings") or []),
            }
            for result in results
        ],
        "differ": _differ(*runs),
    }


def _plain(value: Any) -> bool:
    return isinstance(value, int | float) or (
        isinstance(value, list) and len(value) == 2 and isinstance(value[0], float)
    )


def _unknown(says: str) -> dict[str, Any]:
    return {
        "test": "",
        "difference": None,
        "interval": None,
        "p": None,
        "larger": None,
        "examples": 0,
        "says": says,
    }


def _differ(first: Run, second: Run) -> dict[str, Any]:
    for run in (first, second):
        if not run.finished:
            return _unknown(
                f"{run.path} is not finished: there is no score to compare. Go on with: netwright resume {run.path}"
            )
    tests = [(run.result or {}).get("test") for run in (first, second)]
    if any(test is None for test in tests):
        return _unknown("one of them has no test scores: nothing can be compared")
    metric = next((name for name in METRICS_OF_TESTS if all(name in test for test in tests if test)), "")
    if not metric:
        return _unknown("their scores are of different kinds: nothing can be compared")
    try:
        answers = [_answers(run) for run in (first, second)]
    except NetwrightError as error:
        return _by_intervals(
            tests, metric, f"their answers cannot be computed again ({str(error).splitlines()[0]})"
        )
    if any(one is None for one in answers):
        return _by_intervals(tests, metric, "answers of this kind are not compared one by one")
    (part, ours), (other, theirs) = answers  # type: ignore[misc]
    if part != other or first.recipe.data.source != second.recipe.data.source:
        return _by_intervals(tests, metric, "they were tested on different examples")
    return mcnemar(ours, theirs) if metric == "accuracy" else paired_bootstrap(ours, theirs)


def _by_intervals(tests: Any, metric: str, why: str) -> dict[str, Any]:
    """Says what the intervals of the two scores allow: apart they differ; where they overlap nothing is known."""
    intervals = [test.get("interval") for test in tests]
    difference = float(tests[1][metric] - tests[0][metric])
    found = _unknown("") | {"difference": difference}
    if any(interval is None for interval in intervals):
        return found | {
            "says": f"Whether they differ by more than the noise is unknown: {why}, and no intervals are known."
        }
    (low, high), (other_low, other_high) = intervals
    apart = high < other_low or other_high < low
    if apart:
        return found | {
            "larger": True,
            "says": f"Their 95 % intervals do not meet: the difference is larger than the noise of the test examples; {why}.",
        }
    return found | {"says": f"Their 95 % intervals overlap, so that nothing can be concluded: {why}."}


def _answers(run: Run) -> tuple[str, np.ndarray] | None:
    """Returns what identifies the test examples, and for each whether the answer was right, or its squared error; None for others."""
    part = run.data.test
    _, answers, targets = score(
        run.network, part, run.loss(), classes=run.classes, decision=run.decision, temperature=run.temperature
    )
    if answers is None or targets is None:
        return None
    digest = hashlib.sha256(targets.numpy().tobytes())
    if "test" in run.data.rows:
        digest.update(run.data.rows["test"].tobytes())
    if run.classes is None:
        errors = (answers - targets).double().square().reshape(len(targets), -1).mean(dim=1)
        return digest.hexdigest(), errors.numpy()
    return digest.hexdigest(), _right(run, answers, targets)


def _right(run: Run, probabilities: Any, targets: Any) -> np.ndarray:
    """Returns for each example (N,) whether the class that the run takes is the true one."""
    from netwright.metrics.probabilities import tempered

    shares = tempered(probabilities, run.temperature)
    taken = shares.argmax(dim=1)
    rule = None if run.decision is None else run.decision.rule
    if rule is not None:
        positive, threshold = rule
        taken = (shares[:, positive] >= threshold).long()
        taken = taken if positive == 1 else 1 - taken
    return (taken == targets).numpy()


def mcnemar(ours: np.ndarray, theirs: np.ndarray) -> dict[str, Any]:
    """Returns how two classifiers differ on the same (N,) examples; `ours`, `theirs`: whether each answer was right.

    p is McNemar's exact test (McNemar 1947, "Note on the sampling error of the difference between correlated proportions"): of the examples
    that one alone has right, half fall to each by chance. The interval of the difference adds half an example to each of the four
    counts (Agresti and Min 2005, "Simple improved confidence intervals for comparing matched proportions").

    >>> found = mcnemar(np.array([True] * 90 + [False] * 10), np.array([True] * 80 + [False] * 20))
    >>> found["difference"], round(found["p"], 4), found["larger"]
    (-0.1, 0.002, True)
    """
    from scipy.stats import binomtest

    gained, lost = int((theirs & ~ours).sum()), int((ours & ~theirs).sum())
    count = len(ours)
    p = 1.0 if gained + lost == 0 else float(binomtest(gained, gained + lost, 0.5).pvalue)
    b, c, n = gained + 0.5, lost + 0.5, count + 2
    half = 1.959963985 * math.sqrt(b + c - (b - c) ** 2 / n) / n
    middle = (b - c) / n
    larger = p < RISK
    says = (
        f"On the same {count:,} test examples the second alone is right on {gained:,} and the first alone on {lost:,}: "
        f"{'more than chance' if larger else 'no more than chance can be'} (McNemar's exact test, p = {p:.3g}).{_of_two(larger)}"
    )
    return {
        "test": "McNemar",
        "difference": (gained - lost) / count,
        "interval": [middle - half, middle + half],
        "p": p,
        "larger": larger,
        "examples": count,
        "says": says,
    }


def paired_bootstrap(ours: np.ndarray, theirs: np.ndarray) -> dict[str, Any]:
    """Returns how the RMSE of two runs differ on the same examples; `ours`, `theirs`: (N,) squared errors.

    The interval is the percentile bootstrap over pairs (Efron and Tibshirani 1993, chapter 13), 1,999 resamples, always the same seed.
    """
    from scipy.stats import bootstrap

    def apart(one: np.ndarray, other: np.ndarray, axis: int = -1) -> Any:
        return np.sqrt(other.mean(axis=axis)) - np.sqrt(one.mean(axis=axis))

    difference = float(apart(ours, theirs))
    interval = [difference, difference]
    if len(ours) > 1 and np.ptp(ours - theirs) > 0:
        found = bootstrap(
            (ours, theirs),
            apart,
            paired=True,
            n_resamples=RESAMPLES,
            method="percentile",
            batch=100,
            rng=np.random.default_rng(0),
        ).confidence_interval
        interval = [float(found.low), float(found.high)]
    larger = interval[0] > 0 or interval[1] < 0
    says = (
        f"On the same {len(ours):,} test examples the second's RMSE is {abs(difference):.4g} {'lower' if difference < 0 else 'higher'}, 95 % interval "
        f"{interval[0]:+.4g} to {interval[1]:+.4g} (paired bootstrap): {'larger' if larger else 'not larger'} than the noise of the test "
        f"examples.{_of_two(larger)}"
    )
    return {
        "test": "paired bootstrap",
        "difference": difference,
        "interval": interval,
        "p": None,
        "larger": larger,
        "examples": len(ours),
        "says": says,
    }


def _of_two(larger: bool) -> str:
    if not larger:
        return ""
    return " This is of these two networks, not of the two recipes: netwright compare trains both with several seeds."
