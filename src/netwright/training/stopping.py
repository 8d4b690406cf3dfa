"""Which epoch was the best, and when to stop waiting for a better one."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from netwright.errors import RecipeError

# Scores of which more is better; of every other one (loss, rmse, mae) less is.
RISING = ("accuracy", "r2", "auc", "f1", "precision", "recall")


@dataclass
class EarlyStopping:
    """Follows one score over the epochs (Prechelt 1998, "Early stopping - but when?").

    `patience` is the number of epochs without an improvement of more than `min_delta` after which
    training should stop; None never stops, but still says which epoch was the best.

    >>> stopping = EarlyStopping(patience=1)
    >>> [stopping.improved(loss, epoch) for epoch, loss in enumerate([0.5, 0.4, 0.45], start=1)]
    [True, True, False]
    >>> stopping.should_stop, stopping.best_epoch
    (True, 2)
    """

    monitor: str = "validation_loss"
    mode: str = "auto"
    patience: int | None = None
    min_delta: float = 0.0
    best: float | None = None
    best_epoch: int = 0
    waited: int = 0

    def __post_init__(self) -> None:
        if self.mode not in ("auto", "min", "max"):
            raise RecipeError(f"early_stopping.mode is 'auto', 'min' or 'max', not {self.mode!r}")
        if self.mode == "auto":
            self.mode = "max" if self.monitor.rsplit("_", 1)[-1] in RISING else "min"

    def improved(self, score: float, epoch: int) -> bool:
        """Takes the score of one epoch and returns whether it is the best so far. NaN never is."""
        if self._better(score):
            self.best, self.best_epoch, self.waited = score, epoch, 0
            return True
        self.waited += 1
        return False

    def _better(self, score: float) -> bool:
        if math.isnan(score):
            return False
        if self.best is None:
            return True
        gain = score - self.best if self.mode == "max" else self.best - score
        return gain > self.min_delta

    @property
    def should_stop(self) -> bool:
        """Whether `patience` epochs have passed without an improvement."""
        return self.patience is not None and self.waited >= self.patience

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for field in fields(self):
            setattr(self, field.name, state[field.name])
