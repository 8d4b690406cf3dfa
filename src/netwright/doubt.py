"""How sure a run's answers are: the temperature of its probabilities, from validation examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from netwright.metrics import (
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
)
from netwright.metrics.probabilities import tempered

# With fewer validation examples a temperature is mostly chance.
EXAMPLES_AT_LEAST = 50


@dataclass(frozen=True)
class Calibration:
    """The temperature of a classifier's probabilities, and on how many validation examples it was fitted.

    `nll`: their negative log-likelihood in nats, before and after; None, and a `reason`, where none was fitted.
    """

    temperature: float = 1.0
    examples: int = 0
    nll: tuple[float, float] | None = None
    reason: str | None = None

    @staticmethod
    def fitted(held: tuple[Tensor, Tensor] | None, *, learned: bool) -> Calibration:
        """Returns the calibration by validation examples: probabilities (N, C) and targets (N,), or None without any.

        `learned`: the examples were trained on as well.
        """
        if held is None:
            return Calibration(reason="there are no validation examples")
        probabilities, targets = held
        count = len(targets)
        if learned:
            return Calibration(examples=count, reason="the validation examples were trained on")
        if count < EXAMPLES_AT_LEAST:
            return Calibration(
                examples=count, reason=f"{count} validation examples are fewer than {EXAMPLES_AT_LEAST}"
            )
        if not bool(probabilities.isfinite().all()):
            return Calibration(examples=count, reason="the network's outputs are not finite")
        temperature = fit_temperature(probabilities, targets)
        before, after = (
            negative_log_likelihood(probabilities, targets, temperature=one) for one in (1.0, temperature)
        )
        if not after < before:
            return Calibration(examples=count, nll=(before, before), reason="no temperature was better than 1")
        return Calibration(temperature, count, (before, after))

    def entries(self, tested: tuple[Tensor, Tensor] | None) -> dict[str, Any]:
        """Returns what result.json keeps; `tested`: the test part's probabilities (N, C) before calibration, and targets."""
        before, after = self.nll or (None, None)
        errors: list[float | None] = [None, None]
        if tested is not None:
            errors = [
                expected_calibration_error(shares, tested[1]) for shares in self._before_and_after(tested[0])
            ]
        return {
            "temperature": self.temperature,
            "examples": self.examples,
            "nll_before": before,
            "nll_after": after,
            "ece_before": errors[0],
            "ece_after": errors[1],
            **({} if self.reason is None else {"reason": self.reason}),
        }

    def shown(self, tested: tuple[Tensor, Tensor] | None) -> dict[str, Any] | None:
        """Returns what the report shows of the test part: `entries`, and the bins `before` and `after`; None without one."""
        if tested is None:
            return None
        before, after = (reliability(shares, tested[1]) for shares in self._before_and_after(tested[0]))
        return {**self.entries(tested), "before": before, "after": after}

    def _before_and_after(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        return probabilities, tempered(probabilities, self.temperature)
