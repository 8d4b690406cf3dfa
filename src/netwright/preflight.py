"""A look of a few seconds before a run: does one batch do what a batch of a healthy program does?"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from netwright.data.split import Split
from netwright.examine import Examination, examine
from netwright.training.loop import train
from netwright.training.randomness import random_state, restore_random_state
from netwright.training.state import TrainingState

if TYPE_CHECKING:
    from netwright.data import Data
    from netwright.finding import Finding

# The trial's steps and seconds at most; after FEW steps and a second it takes no more than this share of the run that it is for.
STEPS, FEW = 30, 10
SECONDS, SHARE = 5.0, 0.1
# One batch seen again and again is sorted, repeated and evaluated on nothing: these rules would speak of the
# trial and not of the run. The run itself is examined for them.
ABOUT_THE_TRIAL = (
    "no-shuffle",
    "same-order-every-epoch",
    "repeated-augmentation",
    "plateau",
    "constant-input",
    "learning-rate-too-high",
)


@dataclass(frozen=True)
class Preflight:
    """What the trial on one batch showed; `findings` are those of the examiner."""

    examination: Examination
    losses: list[float]
    chance: float | None
    class_counts: tuple[int, ...] | None
    shared: int
    seconds: float

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.examination.findings if finding.level == "error"]

    def lines(self) -> list[str]:
        """Returns what was seen, a line each, for people."""
        first, last = self.losses[0], self.losses[-1]
        chance = f" (chance: {self.chance:.3f})" if self.chance is not None else ""
        said = [f"first loss {first:.3f}{chance}; the same batch {len(self.losses)} times: {last:.3f}"]
        if len(self.losses) > 1 and not last < first:
            said[0] += ", which is no less: the network does not even learn one batch by heart"
        if self.class_counts is not None:
            said.append(
                f"classes of {min(self.class_counts):,} to {max(self.class_counts):,} training examples"
            )
        if self.shared:
            said.append(f"{self.shared:,} test examples are also training examples")
        run = len(self.examination.rules_run)
        said.append(
            f"{run} rules looked at it, {len(self.examination.not_run)} could not judge a single batch"
        )
        return said


def preflight(
    begin: Callable[[nn.Module], TrainingState],
    module: nn.Module,
    data: Data,
    *,
    batch: int,
    precision: str = "32",
    clip: float | None = None,
    run_steps: float = math.inf,
) -> Preflight:
    """Trains a copy of `module` on one batch under the examiner: at most 30 steps or 5 seconds, and not much of a short run's time.

    `begin` makes the training state of the copy. `run_steps`: how many steps the run has that follows. `module` and the random
    generators are left as they were.
    """
    began = time.monotonic()
    generators = random_state()
    losses: list[float] = []
    try:
        state = begin(copy.deepcopy(module))
        x, y = next(iter(data.train.batches(batch, order=_spread(len(data.train), batch))))
        with examine(allow=_known(ABOUT_THE_TRIAL)) as examination:
            steps = train(
                state.network,
                [(x, y)] * trial_steps(state),
                state=state,
                epochs=1,
                batch=batch,
                precision=precision,
                clip=clip,
            )
            first = math.inf  # the clock starts when the first step is done: imports are not its fault
            for step in steps:
                losses.append(float(step.loss))
                first = min(first, time.monotonic())
                if _long_enough(len(losses), time.monotonic() - first, run_steps):
                    break
    finally:
        restore_random_state(generators)
    return Preflight(
        examination=examination,
        losses=losses,
        chance=math.log(data.num_outputs) if _is_cross_entropy(state.loss) and data.num_outputs > 1 else None,
        class_counts=data.class_counts,
        shared=_shared(data),
        seconds=time.monotonic() - began,
    )


def trial_steps(state: TrainingState) -> int:
    """Returns how many steps the trial takes at most: a schedule that knows its last step takes none behind it."""
    return min(STEPS, int(getattr(state.schedule.scheduler, "total_steps", STEPS)))


def _long_enough(steps: int, seconds: float, run_steps: float) -> bool:
    """Whether the trial ends after so many steps, and so many seconds since the first of them."""
    if steps <= FEW:
        return seconds > SECONDS
    share = SHARE * run_steps * seconds / (steps - 1)
    return seconds > min(SECONDS, max(1.0, share))


def _spread(count: int, batch: int) -> Tensor:
    """Indices from all over the training part, since its stored order may be sorted by class."""
    return torch.linspace(0, count - 1, min(count, batch)).long()


def _is_cross_entropy(loss: nn.Module) -> bool:
    return isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss) and loss.weight is None


def _known(slugs: tuple[str, ...]) -> list[str]:
    from netwright.examine import load_rules

    known = {entry.rule.slug for entry in load_rules()}
    return [slug for slug in slugs if slug in known]


def _shared(data: Data) -> int:
    """How many test examples have the very content of a training example."""
    train, test = data.train, data.test
    if not isinstance(train, Split) or not isinstance(test, Split) or train is test:
        return 0
    return int(np.isin(test.hashes, train.hashes).sum())
