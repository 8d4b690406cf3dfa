"""Predictions and targets in, scores with their uncertainty out: plain numbers that JSON can hold."""

from netwright.metrics.calibration import (
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
)
from netwright.metrics.classification import classification_scores
from netwright.metrics.forecasts import ForecastErrors
from netwright.metrics.regression import regression_scores
from netwright.metrics.two_classes import best_threshold, ranking_scores, rarer_class, scores_at

__all__ = [
    "ForecastErrors",
    "best_threshold",
    "classification_scores",
    "expected_calibration_error",
    "fit_temperature",
    "negative_log_likelihood",
    "ranking_scores",
    "rarer_class",
    "regression_scores",
    "reliability",
    "scores_at",
]
