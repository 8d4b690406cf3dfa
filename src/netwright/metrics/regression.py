"""Scores of a network that predicts numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from netwright.errors import NetwrightError
from netwright.metrics.arrays import as_array, require_finite

# Up to here the interval is bootstrapped; its cost grows as the square of N (1,000: 30 ms), while the
# closed form's error shrinks with the root of N.
BOOTSTRAP_AT_MOST = 1000


def regression_scores(
    values: torch.Tensor | np.ndarray, targets: torch.Tensor | np.ndarray
) -> dict[str, float | list[float] | None]:
    """Returns RMSE with a 95 % interval, MAE and R2.

    `values`, `targets`: (N,) or (N, D) float, in the target's own unit; (N, 1) goes with (N,). With D
    outputs RMSE and MAE are over all N x D numbers and R2 is the mean over outputs.

    The dictionary, all plain Python: `rmse` · `mae` · `r2` (None where it is undefined: one example, or
    targets that are all equal) · `interval` [low, high] of `rmse`, None for one example.

    The interval for N up to 1,000 is the bias-corrected and accelerated bootstrap over examples (Efron
    1987, `scipy.stats.bootstrap`, 1,999 resamples, always the same seed); above, the normal interval of
    log MSE by the delta method, rmse * exp(-+ 1.96 s / (2 mse sqrt N)) with s the standard deviation of
    the squared errors, because the bootstrap would cost seconds there.

    Raises NetwrightError for shapes that do not fit and numbers that are not finite.

    >>> scores = regression_scores(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0]))
    >>> round(scores["rmse"], 4), round(scores["mae"], 4), scores["r2"]
    (0.5774, 0.3333, 0.5)
    """
    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

    predicted, true = _checked(values, targets)
    squares = ((predicted - true) ** 2).reshape(len(true), -1).mean(axis=1)
    varied = len(true) > 1 and bool((true.reshape(len(true), -1).std(axis=0) > 0).all())
    return {
        "rmse": float(np.sqrt(mean_squared_error(true, predicted))),
        "mae": float(mean_absolute_error(true, predicted)),
        "r2": float(r2_score(true, predicted)) if varied else None,
        "interval": _interval(squares),
    }


def _interval(squares: np.ndarray) -> list[float] | None:
    """Returns the 95 % interval of the root of the mean of (N,) squared errors."""
    from scipy.stats import bootstrap

    if len(squares) < 2:
        return None
    mean = float(squares.mean())
    if np.ptp(squares) <= 1e-12 * mean:
        return [float(np.sqrt(mean))] * 2
    if len(squares) > BOOTSTRAP_AT_MOST:
        half = 1.959963984540054 * squares.std(ddof=1) / (2 * mean * np.sqrt(len(squares)))
        return [float(np.sqrt(mean) * np.exp(sign * half)) for sign in (-1, 1)]
    bounds = bootstrap(
        (squares,),
        lambda sample, axis: np.sqrt(sample.mean(axis=axis)),
        n_resamples=1999,
        batch=200,
        method="BCa",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    return [float(bounds.low), float(bounds.high)]


def _checked(values: Any, targets: Any) -> tuple[np.ndarray, np.ndarray]:
    predicted, true = (as_array(array).astype(np.float64) for array in (values, targets))
    came = f"{tuple(predicted.shape)} and {tuple(true.shape)}"
    # Subtracting (N,) from (N, 1) would silently give N x N errors.
    predicted, true = (
        array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array for array in (predicted, true)
    )
    if predicted.shape != true.shape or predicted.ndim not in (1, 2):
        raise NetwrightError(f"values and targets must both have the shape (N,) or (N, D), not {came}")
    if true.size == 0:
        raise NetwrightError("there is nothing to score: expected at least one example, got 0")
    require_finite(true, what="targets", advice="Mend or leave out those examples before testing.")
    require_finite(predicted, what="values", advice="The network's outputs or weights are no longer finite.")
    return predicted, true
