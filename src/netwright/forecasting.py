"""How the plain forecasts do on the windows that a network is tested on: the last value, the season before, a linear function of the past."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from netwright.architectures.plain_forecasts import LastValue, SeasonalNaive, fit_least_squares
from netwright.training.evaluation import forecast_errors

if TYPE_CHECKING:
    from netwright.data.series import SeriesSplit

# The linear forecast is fitted to so many pairs of a window and a column at most, from all over the training part.
PAIRS_AT_MOST = 60_000
BATCH = 64
KEPT = ("rmse", "mae", "scaled_mse", "scaled_mae")


def plain_forecasts(train: SeriesSplit) -> dict[str, nn.Module]:
    """Returns the plain forecasts by name; the linear one is fitted to the training part."""
    prepared = train.preparation
    horizon, places = prepared.horizon or 1, prepared.places
    found: dict[str, nn.Module] = {"last value": LastValue(horizon, places)}
    if prepared.season is not None:
        found[f"seasonal naive ({prepared.season})"] = SeasonalNaive(horizon, places, prepared.season)
    if len(train):
        count = max(1, min(len(train), PAIRS_AT_MOST // len(places)))
        order = torch.linspace(0, len(train) - 1, count).round().long()
        found["linear"] = fit_least_squares(train.batches(BATCH, order), places)
    return found


def beside(train: SeriesSplit, part: SeriesSplit) -> dict[str, dict[str, Any]]:
    """Returns rmse, mae, scaled_mse and scaled_mae of each plain forecast on a part, and its scaled_mse for each row ahead (`steps`)."""
    train, part = train.to("cpu"), part.to("cpu")
    found = {}
    for name, forecast in plain_forecasts(train).items():
        scores = forecast_errors(forecast, part)[1].scores()
        found[name] = {key: scores[key] for key in KEPT} | {"steps": scores["steps"]["scaled_mse"]}
    return found


def with_plain_forecasts(scores: dict[str, Any], train: Any, part: Any) -> dict[str, Any]:
    """Returns the scores on a SeriesSplit `part` with the plain forecasts `beside` them, and `skill`: the share of the best one's squared error that is saved.

    `train`: the training part, to which the linear one is fitted; None: nothing stands beside the scores. `skill` is 1 - scaled_mse / that of the best plain forecast, the linear one aside: below 0 the network does worse than doing nothing.
    """
    if train is None:
        return scores
    found = beside(train, part)
    naive = min(row["scaled_mse"] for name, row in found.items() if name != "linear")
    skill = 1 - scores["scaled_mse"] / naive if naive > 0 else None
    return {**scores, "skill": skill, "beside": found}
