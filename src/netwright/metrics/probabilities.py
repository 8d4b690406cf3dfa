"""From a network's outputs to the probabilities that they mean."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

# What the outputs for the classes are: logits of one choice among them, logarithms of their probabilities, or, where each
# class is a question of its own, a logit or a share for each.
Meaning = Literal["logits", "log-probabilities", "logits-apart", "shares-apart"]


def probabilities_of(outputs: Tensor, meaning: Meaning) -> Tensor:
    """Returns (N, C) probabilities in [0, 1], rows summing to 1, of outputs (N, C) float.

    Classes that are questions of their own have their rows divided by the sum (an all-zero row becomes equal shares). A single
    output of these, (N, 1) or (N,), speaks for class 1 of two and gives (N, 2).

    >>> probabilities_of(torch.tensor([[0.0], [100.0]]), "logits-apart").tolist()
    [[0.5, 0.5], [0.0, 1.0]]
    """
    if meaning == "logits":
        return outputs.softmax(dim=1)
    if meaning == "log-probabilities":
        return outputs.exp()
    apart = outputs.sigmoid() if meaning == "logits-apart" else outputs.clamp(0, 1)
    if apart.dim() == 1 or apart.shape[1] == 1:
        ones = apart.reshape(-1)
        return torch.stack([1 - ones, ones], dim=1)
    total = apart.sum(dim=1, keepdim=True)
    return torch.where(total > 0, apart / total, torch.full_like(apart, 1 / apart.shape[1]))


def tempered(probabilities: Tensor, temperature: float) -> Tensor:
    """Returns probabilities (N, C) with their logarithms divided by `temperature`, rows summing to 1 again.

    For a softmax that is the softmax of logits over the temperature (Guo et al., "On Calibration of Modern Neural Networks",
    ICML 2017, equation 9); above 1 it makes answers less sure. The order of the classes stays.

    >>> tempered(torch.tensor([[0.8, 0.2]]), 2.0).tolist()
    [[0.6666666865348816, 0.3333333432674408]]
    """
    if temperature == 1:
        return probabilities
    return (probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log() / temperature).softmax(dim=1)
