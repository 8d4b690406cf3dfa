"""Predictions and targets in, scores with their uncertainty out: plain numbers that JSON can hold."""

from netwright.metrics.classification import classification_scores
from netwright.metrics.regression import regression_scores

__all__ = ["classification_scores", "regression_scores"]
