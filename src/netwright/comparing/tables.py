"""The tables of a comparison: each variant's scores with their intervals, and in plain words what they say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from netwright.comparing.differences import differences, sentences
from netwright.comparing.plan import AS_IT_IS, Plan, Sweep
from netwright.comparing.trial import SCORES, Trial
from netwright.comparing.vary import shown_value, titles
from netwright.repeats import spread

# How many times smaller than in the last layer, and than in the variant where it fades least, a first layer's gradient is worth a word.
FADED = 20.0


def tables_of(
    plan: Plan, trials: Mapping[str, Trial], *, hopeless: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Returns a table for each sweep: its rows, the best first, and in plain words what they say."""
    return [_table(plan, sweep, trials, hopeless=hopeless) for sweep in plan.sweeps]


def _table(
    plan: Plan, sweep: Sweep, trials: Mapping[str, Trial], *, hopeless: Mapping[str, str]
) -> dict[str, Any]:
    rows = [_row(plan, sweep, name, values, trials, hopeless.get(name)) for name, values in sweep.rows]
    metric = next((row["metric"] for row in rows if row["metric"]), "")
    rising = SCORES.get(metric, True)
    whole = {row["variant"]: row for row in rows if row["state"] == "finished"}
    sign = -1 if rising else 1
    order = {"finished": 0, "pruned": 1, "stopped": 1, "failed": 2}
    rows.sort(
        key=lambda row: (order[row["state"]], sign * (row["validation"]["mean"] if row["validation"] else 0))
    )
    said: list[str] = []
    if len(whole) > 1:
        said = _judged(plan, whole, trials, metric=metric, rising=rising)
    lesson = gradient_sentence(
        {" + ".join(map(shown_value, row["values"].values())): row["gradients"] for row in rows}
    )
    said += [lesson] if lesson else []
    return {
        "keys": list(sweep.keys),
        "titles": titles(sweep.keys),
        "metric": metric,
        "seeds": len(plan.seeds),
        "rows": rows,
        "sentences": said,
    }


def _row(
    plan: Plan,
    sweep: Sweep,
    name: str,
    values: Sequence[Any],
    trials: Mapping[str, Trial],
    hopeless: str | None,
) -> dict[str, Any]:
    done = [trials[f"{name}-seed-{seed}"] for seed in plan.seeds if f"{name}-seed-{seed}" in trials]
    finished = [one for one in done if one.state == "finished" and one.score is not None and one.test]
    failed = [one for one in done if one.state == "failed"]
    metric = finished[0].metric if finished else ""
    shared = _shared(finished)
    state = "failed" if failed else "pruned" if hopeless else "finished"
    reason = failed[0].reason if failed else hopeless or ""
    tests = [float(one.test[metric]) for one in finished if one.test]
    variant = plan.variant(name)
    companions = {key: value for key, value in variant.entries.items() if key not in sweep.keys}
    return {
        "variant": name,
        "default": name == AS_IT_IS,
        "values": dict(zip(sweep.keys, values, strict=True)),
        "with": companions,
        "state": state,
        "reason": reason,
        "metric": metric,
        "validation": spread([float(one.score) for one in finished if one.score is not None], shared=shared)
        if finished
        else None,
        "mean": None if not finished else sum(tests) / len(tests),
        "interval": _interval(finished, tests, shared),
        "test": spread(tests, shared=shared) if finished else None,
        "epochs": max((one.epochs for one in done), default=0),
        "seconds": round(sum(one.seconds for one in finished) / len(finished), 3) if finished else None,
        "parameters": finished[0].parameters if finished else None,
        "runs": [f"runs/{one.name}" for one in done],
        "curves": [one.curve for one in done],
        "gradients": asdict(finished[0].gradients) if finished and finished[0].gradients else None,
        "against_best": None,
        "against_default": None,
    }


def _interval(finished: Sequence[Trial], tests: Sequence[float], shared: float) -> list[float] | None:
    """Returns the 95 % interval of the mean test score over seeds; of one seed, that of the test examples."""
    if not finished:
        return None
    if len(tests) > 1:
        low, high = spread(tests, shared=shared)["interval"]
        # Student's interval knows no ends, but an accuracy does; an error has one.
        most = 1.0 if finished[0].metric == "accuracy" else math.inf
        return [max(low, 0.0), min(high, most)]
    found = (finished[0].test or {}).get("interval")
    return None if found is None else list(found)


def _shared(finished: Sequence[Trial]) -> float:
    """Returns test examples over training examples where each seed cuts the data anew, else 0; see `difference`."""
    if len({one.part.get("sha256") for one in finished}) < 2:
        return 0.0
    return finished[0].part["test"] / max(finished[0].part["train"], 1)


def _judged(
    plan: Plan, rows: Mapping[str, dict[str, Any]], trials: Mapping[str, Trial], *, metric: str, rising: bool
) -> list[str]:
    """Adds to the rows how they differ from the best and from the default, and returns it in words."""
    choose = max if rising else min
    best = choose(rows, key=lambda name: rows[name]["validation"]["mean"])
    scores = {name: row["test"]["values"] for name, row in rows.items()}
    labels = {
        name: " + ".join(shown_value(value) for value in row["values"].values()) for name, row in rows.items()
    }
    first = [trials[f"{best}-seed-{seed}"] for seed in plan.seeds]
    shared = _shared(first)
    said = []
    # Without the default among the rows, or where it is the best, once is enough.
    against = {"against_best": (best, "the best in validation"), "against_default": (AS_IT_IS, "the default")}
    for key, (name, what) in against.items():
        if name not in rows:
            continue
        found = differences(scores, name, rising=rising, shared=shared)
        for other, one in found.items():
            rows[other][key] = {
                **asdict(one),
                "interval": None if one.interval is None else list(one.interval),
            }
        # Of two rows, or where the default is the best, the same would be said twice.
        if key == "against_best" or (name != best and len(rows) > 2):
            if key == "against_best" and name == AS_IT_IS:
                what = "the best in validation, and the default"
            said += sentences(found, name, labels=labels, seeds=len(plan.seeds), what=what)
    return list(dict.fromkeys(said))


def gradient_sentence(gradients: Mapping[str, Mapping[str, Any] | None]) -> str:
    """Returns in plain words where the gradient fades on its way to the first layer, where it does so much more than elsewhere.

    >>> gradient_sentence({"relu": {"start": [0.5, 0.5, 1.0]}, "sigmoid": {"start": [1e-5, 1e-3, 1.0]}})
    'Before the first step of sigmoid the gradient of the first layer is 100,000 times smaller than that of the last; of relu 2 times. What hardly reaches a layer hardly moves it: that is why such a stack learns slowly.'
    """
    faded = {
        name: one["start"][-1] / one["start"][0]
        for name, one in gradients.items()
        if one and len(one["start"]) > 2 and one["start"][0] > 0 and one["start"][-1] > 0
    }
    if len(faded) < 2:
        return ""
    most, least = max(faded, key=lambda name: faded[name]), min(faded, key=lambda name: faded[name])
    if faded[most] < FADED or faded[most] < FADED * faded[least]:
        return ""
    return (
        f"Before the first step of {most} the gradient of the first layer is {_times(faded[most])} smaller than that of the last; "
        f"of {least} {_times(faded[least])}. What hardly reaches a layer hardly moves it: that is why such a stack learns slowly."
    )


def _times(factor: float) -> str:
    """Returns a factor in at most two digits that count."""
    digits = max(0, math.floor(math.log10(factor)) - 1)
    return f"{round(factor / 10**digits) * 10**digits:,} times" if factor >= 2 else f"{factor:.1f} times"
