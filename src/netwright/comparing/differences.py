"""Which differences between variants are larger than the noise of their seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Of being wrong anywhere in a table, where no two variants differ.
RISK = 0.05
# Scores that differ by less are equal: what is left of rounding.
EQUAL = 1e-12


@dataclass(frozen=True)
class Difference:
    """How much better a variant is than the one it is compared with (below 0: worse), in the score's own unit.

    `interval`: 95 %, of this difference alone; None: too few seeds. `p`: of Student's paired test, corrected for the number of
    comparisons in the table; `larger`: than the noise.
    """

    mean: float
    interval: tuple[float, float] | None
    p: float | None
    larger: bool


def difference(
    ours: Sequence[float], theirs: Sequence[float], *, shared: float
) -> tuple[float, tuple[float, float] | None, float | None]:
    """Returns the mean of `ours` minus `theirs`, (N,) scores of the same seeds, its 95 % interval, and p of Student's paired test.

    `shared`: test examples over training examples, where each seed cuts the data anew: the scores then share examples and are no
    independent draws, which widens the interval (Nadeau and Bengio 2003, "Inference for the generalization error", equation 7);
    0 where all seeds are tested on the same examples. Interval and p are None for a single seed.

    >>> mean, interval, p = difference([0.9, 0.92, 0.94], [0.8, 0.83, 0.83], shared=0.0)
    >>> round(mean, 3), [round(end, 3) for end in interval], round(p, 4)
    (0.1, [0.075, 0.125], 0.0033)
    """
    from scipy.stats import t

    apart = [one - other for one, other in zip(ours, theirs, strict=True)]
    mean, count = statistics.fmean(apart), len(apart)
    if count < 2:
        return mean, None, None
    error = statistics.stdev(apart) * math.sqrt(1 / count + shared)
    if error <= EQUAL:
        # Scores come in steps of one example, so that few seeds often agree by chance: no more than their signs counts (sign test).
        return mean, (mean, mean), 1.0 if abs(mean) <= EQUAL else 2.0 ** (1 - count)
    half = float(t.ppf(0.975, count - 1)) * error
    return mean, (mean - half, mean + half), float(2 * t.sf(abs(mean) / error, count - 1))


def corrected(values: Sequence[float]) -> list[float]:
    """Returns p values corrected for their number (Holm 1979, "A simple sequentially rejective multiple test procedure").

    >>> corrected([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    count, largest = len(values), 0.0
    found = [0.0] * count
    for rank, place in enumerate(sorted(range(count), key=lambda place: values[place])):
        largest = max(largest, min(1.0, values[place] * (count - rank)))
        found[place] = largest
    return found


def differences(
    scores: Mapping[str, Sequence[float]], against: str, *, rising: bool, shared: float
) -> dict[str, Difference]:
    """Returns for each variant but `against` how much better it is. `scores`: (N,) of the same N seeds each; `rising`: more is better."""
    found = {
        name: difference(*((values, scores[against]) if rising else (scores[against], values)), shared=shared)
        for name, values in scores.items()
        if name != against
    }
    judged = {name: p for name, (_, _, p) in found.items() if p is not None}
    ps = dict(zip(judged, corrected(list(judged.values())), strict=True))
    return {
        name: Difference(mean, interval, ps.get(name), ps.get(name, 1.0) < RISK)
        for name, (mean, interval, _) in found.items()
    }


def sentences(
    found: Mapping[str, Difference], against: str, *, labels: Mapping[str, str], seeds: int, what: str
) -> list[str]:
    """Returns in plain words which variants differ from `against` by more than the noise, and which do not.

    `labels`: what people call the variants; `what` `against` is, such as "the best in validation".
    """
    title = f"{labels[against]} ({what})" if what else labels[against]
    if seeds < 2:
        return [
            "One seed: nothing can be concluded about the choices. Another seed may turn the order round; the intervals are those of "
            "the test examples alone. Give --seeds 3 or more."
        ]
    groups = {
        "is worse than": [name for name, one in found.items() if one.larger and one.mean < 0],
        "is better than": [name for name, one in found.items() if one.larger and one.mean > 0],
        "": [name for name, one in found.items() if not one.larger],
    }
    said = []
    for verb, names in groups.items():
        if not names:
            continue
        listed = _listed([labels[name] for name in names])
        plural = verb.replace("is ", "are ") if len(names) > 1 else verb
        if verb:
            said.append(f"Larger than the noise: {listed} {plural} {title}.")
        else:
            said.append(
                f"Not larger than the noise of {seeds} seeds: {_difference(listed, len(names))} from {title}. That proves no "
                "equality: more seeds show smaller differences."
            )
    return said


def _difference(listed: str, count: int) -> str:
    return f"the difference{'s' if count > 1 else ''} of {listed}"


def _listed(words: Sequence[str]) -> str:
    """Returns words as a sentence has them.

    >>> _listed(["relu"]), _listed(["relu", "tanh", "elu"])
    ('relu', 'relu, tanh and elu')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
