"""An exported file on other data: what `netwright test ARTEFACT --data SOURCE` does."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from netwright.data.series import SeriesPreparation
from netwright.exporting import raw_examples
from netwright.metrics import classification_scores, regression_scores
from netwright.metrics.forecasts import ForecastErrors
from netwright.recipe import Recipe
from netwright.run import part_to_test
from netwright.shipping import Answering


def scores_of(answering: Answering, data: Any) -> dict[str, Any]:
    """Returns the scores of an exported file on `data`, as `Run.test` takes and gives them, and `unlike_training` of all examples.

    Without `loss`, for which a file that answers with probabilities has not what it needs, and without the ranking of two classes.

    Raises:
        DataError: the data cannot be read, or has other classes or another shape.
    """
    card, preparation = answering.card, answering.preparation
    part = part_to_test(
        data, recipe=Recipe.build(dict(card.recipe)), preparation=preparation, classes=card.classes
    )
    forecasts = None
    if isinstance(preparation, SeriesPreparation) and preparation.horizon is not None:
        forecasts = ForecastErrors(list(preparation.targets), preparation.target_std)
    answers, targets, strange = [], [], []
    for examples in raw_examples(part, classes=card.classes):
        values, *strangeness = (output.cpu() for output in answering.forward(examples.raw))
        strange += strangeness
        if forecasts is None:
            answers.append(values)
            targets.append(examples.targets.cpu())
        else:
            true = _scaled(examples.targets, preparation)
            forecasts.add(_scaled(values, preparation).reshape(true.shape), true, examples.known)
    if forecasts is not None:
        scores = forecasts.scores()
    elif card.classes is None:
        true = torch.cat(targets)
        scores = regression_scores(torch.cat(answers).reshape(true.shape), true)
    else:
        scores = classification_scores(
            torch.cat(answers), torch.cat(targets), list(card.classes), threshold=card.rule
        )
    if strange and card.strange_above is not None:
        scores["unlike_training"] = float((torch.cat(strange) > card.strange_above).float().mean())
    return scores


def _scaled(values: Tensor, preparation: Any) -> Tensor:
    """Returns forecasts in the unit in which they are learned, of those in the columns' own."""
    return (values.double() - preparation.mean[list(preparation.places)]) / preparation.target_std
