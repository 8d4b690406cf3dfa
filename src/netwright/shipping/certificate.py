"""The proof of an export: the artefact, opened again from disk, against the network that was tested, on every test example."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from netwright.metrics.classification import decide
from netwright.shipping.answers import Answering
from netwright.shipping.card import Card
from netwright.shipping.formats import Forward

BATCH = 64
REPEATS, SECONDS = 30, 2.0


@dataclass(frozen=True)
class Tolerance:
    """What may differ. `decisions`: the share of examples; `difference`: the largest of any answer, None for any.

    Differences are of probabilities, or of values over the standard deviation of all answers. A decision is the class, or the
    flag of the guard; of numbers it is the value within `value` standard deviations.
    """

    decisions: float
    difference: float | None
    value: float


# Float32 in another order of sums: measured differences are 1e-6 and less; an example on a border may fall to the other side.
EXACT = Tolerance(decisions=0.001, difference=1e-3, value=1e-3)
# Of int8 more is expected: ResNet-50 in int8 loses 0.1 to 1 point (Wu et al., arXiv:2004.09602, table 5).
INT8 = Tolerance(decisions=0.02, difference=None, value=0.1)


@dataclass(frozen=True)
class Examples:
    """Raw test examples (n, ...), what is true of them in the unit of the data, and which targets are known (None: all)."""

    raw: Tensor
    targets: Tensor
    known: Tensor | None = None


def certify(
    before: Answering,
    after: Answering,
    examples: Iterable[Examples],
    *,
    tolerance: Tolerance,
    score_before: float | None,
    size: int,
    runtime: str,
) -> dict[str, Any]:
    """Returns the certificate, in JSON's own types.

    `max_difference`, `mean_difference` of all answers, `guard_difference` the largest of what a guard says, in standard deviations; `equal_decisions` the share of examples, `differing` their number, of
    `examples`; `accuracy_before` (`score_before`: what `netwright test` says) and `accuracy_after`, or `rmse_…`; `latency_ms`
    medians {one, batch, batch_size, threads, before: {one, batch}}; `bytes`; `tolerance`; `passed`, and `why` not.
    """
    card = before.card
    old, new, errors, one, several = _compared(before, after, examples)
    differences = [(a - b).abs() / spread for a, b, spread in zip(old, new, _spreads(card, old), strict=True)]
    largest, *others = (float(part.max()) if part.isfinite().all() else math.inf for part in differences)
    equal = _equal(card, old, new, differences, tolerance)
    differing = int((~equal).sum())
    name = "rmse" if card.classes is None else "accuracy"
    latency = {**_latency(after.forward, one, several), "before": _latency(before.forward, one, several)}
    batch = latency["before"].pop("batch_size")
    assert batch == latency["batch_size"]
    latency["before"].pop("threads")
    found = {
        "runtime": runtime,
        "examples": len(equal),
        "max_difference": largest,
        "mean_difference": float(differences[0].mean()),
        "guard_difference": others[0] if others else None,
        "difference_in": "probability" if card.classes is not None else "standard deviations of the answers",
        "equal_decisions": 1 - differing / len(equal),
        "differing": differing,
        f"{name}_before": score_before,
        f"{name}_after": errors.score(),
        "latency_ms": latency,
        "bytes": size,
        "tolerance": asdict(tolerance),
    }
    why = _why_not(found, tolerance)
    return {**found, "passed": not why, "why": why}


def _compared(
    before: Answering, after: Answering, examples: Iterable[Examples]
) -> tuple[list[Tensor], list[Tensor], Score, Tensor, Tensor]:
    """Returns the outputs of both for all examples, the score of the second, and one and several examples to measure time on."""
    old: list[tuple[Tensor, ...]] = []
    new: list[tuple[Tensor, ...]] = []
    score, first = Score(before.card), None
    for part in examples:
        first = part.raw[:BATCH] if first is None else first
        old.append(tuple(value.double().cpu() for value in before.forward(part.raw)))
        new.append(tuple(value.double().cpu() for value in after.forward(part.raw)))
        score.add(new[-1][0], part)
    assert first is not None, "a test part without examples"
    both = [[torch.cat(parts) for parts in zip(*outputs, strict=True)] for outputs in (old, new)]
    pairs = zip(both[0], both[1], strict=True)
    aligned = [(a, b.reshape(a.shape)) for a, b in pairs]
    return [a for a, _ in aligned], [b for _, b in aligned], score, first[:1], first


class Score:
    """Accuracy, or root of the mean squared error over known targets, added up batch by batch."""

    def __init__(self, card: Card) -> None:
        self.card, self.sum, self.count = card, 0.0, 0

    def add(self, answers: Tensor, part: Examples) -> None:
        if self.card.classes is not None:
            taken = torch.from_numpy(decide(answers.numpy(), self.card.rule))
            self.sum += int((taken == part.targets.cpu()).sum())
            self.count += len(taken)
            return
        targets = part.targets.double().cpu()
        known = torch.ones_like(targets) if part.known is None else part.known.double().cpu()
        self.sum += float((((answers.reshape(targets.shape) - targets) * known) ** 2).sum())
        self.count += int(known.sum())

    def score(self) -> float | None:
        if not self.count or not math.isfinite(self.sum):
            return None
        share = self.sum / self.count
        return share if self.card.classes is not None else math.sqrt(share)


def _spreads(card: Card, outputs: list[Tensor]) -> list[float]:
    """Returns by what differences of each output are divided: 1 for probabilities, else its standard deviation."""
    scales = [float(values.std(correction=0)) or 1.0 for values in outputs]
    return [1.0, *scales[1:]] if card.classes is not None else scales


def _equal(
    card: Card, old: list[Tensor], new: list[Tensor], differences: list[Tensor], tolerance: Tolerance
) -> Tensor:
    """Returns (N,) bool: for which examples both decide alike."""
    if card.classes is not None:
        same = torch.from_numpy(decide(old[0].numpy(), card.rule) == decide(new[0].numpy(), card.rule))
        same &= new[0].isfinite().all(1)
    else:
        same = (differences[0].flatten(1) <= tolerance.value).all(1)
    if card.strange_above is not None and len(old) > 1:
        flags = (old[1] > card.strange_above) == (new[1] > card.strange_above)
        same &= flags.reshape(len(flags), -1).all(1)
    return same


def _why_not(found: dict[str, Any], tolerance: Tolerance) -> list[str]:
    why = []
    if found["differing"] > tolerance.decisions * found["examples"]:
        why.append(
            f"{found['differing']:,} of {found['examples']:,} decisions differ, {tolerance.decisions:.2%} may"
        )
    strange = found["guard_difference"]
    if strange is not None and not math.isfinite(strange):
        why.append("the guard says what is no number")
    elif strange is not None and tolerance.difference is not None and strange > tolerance.difference:
        why.append(f"the guard differs by {strange:.3g} standard deviations, {tolerance.difference:g} may be")
    if tolerance.difference is not None and not found["max_difference"] <= tolerance.difference:
        unit = (
            f"of a {found['difference_in']}"
            if found["difference_in"] == "probability"
            else found["difference_in"]
        )
        why.append(
            f"an answer differs by {found['max_difference']:.3g} ({unit}), {tolerance.difference:g} may be"
        )
    return why


def _latency(forward: Forward, one: Tensor, several: Tensor) -> dict[str, Any]:
    return {
        "one": _median(lambda: forward(one)),
        "batch": _median(lambda: forward(several)),
        "batch_size": len(several),
        "threads": torch.get_num_threads(),
    }


def _median(run: Callable[[], Any]) -> float:
    """Returns the median milliseconds of REPEATS calls after two to warm up, of fewer where they take longer than SECONDS."""
    run(), run()
    taken: list[float] = []
    while len(taken) < REPEATS and (len(taken) < 3 or sum(taken) < SECONDS):
        begun = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begun)
    return 1000 * statistics.median(taken)
