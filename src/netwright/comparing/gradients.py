"""How large the gradient is in each layer, before training and after: why a stack of sigmoids learns slowly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from netwright.recipe import Recipe
from netwright.run import Run
from netwright.run_files import FROM_PYTHON
from netwright.training.losses import match_targets
from netwright.training.randomness import random_state, restore_random_state, seed_everything

if TYPE_CHECKING:
    from netwright.data import Data

EXAMPLES = 256
LAYERS_AT_MOST = 24


@dataclass(frozen=True)
class Gradients:
    """For each layer with a weight matrix the Euclidean norm of its weights' gradient, over the first 256 training examples.

    `start`: with the weights before the first step; `end`: with those that are kept.
    """

    layers: list[str]
    start: list[float]
    end: list[float]


def gradients_of(run: Run, data: Data) -> Gradients | None:
    """Returns the gradients of a run's network at the start and the end; None for a network that began from other weights."""
    recipe = run.recipe
    if recipe.transfer.source is not None or FROM_PYTHON in (recipe.network.name, recipe.data.source):
        return None
    before = random_state()
    try:
        layers, start = norms(fresh_network(recipe, run), data, run.loss())
        end = norms(run.network, data, run.loss())[1]
    finally:
        restore_random_state(before)
    return Gradients(layers, start, end)


def fresh_network(recipe: Recipe, run: Run) -> nn.Module:
    """Returns the network as it was before the first step: the run's seed draws the same weights again."""
    seed_everything(recipe.train.seed)
    return run.untrained_network()


def norms(network: nn.Module, data: Data, loss: nn.Module) -> tuple[list[str], list[float]]:
    """Returns the layers with a weight matrix and the norm of each one's gradient of the mean loss, in evaluation mode.

    Evaluation, so that dropout draws nothing and a batch norm counts nothing: two networks see the same.
    """
    inputs, targets = data.train.prepared(slice(0, min(EXAMPLES, len(data.train))))
    network = network.cpu().eval()
    inputs, targets = inputs.cpu(), targets.cpu()
    network.zero_grad(set_to_none=True)
    with torch.enable_grad():
        outputs = network(inputs)
        loss(outputs, match_targets(targets, loss, outputs)).backward()
    found = [
        (name, float(module.weight.grad.norm()))
        for name, module in network.named_modules()
        if isinstance(getattr(module, "weight", None), nn.Parameter)
        and module.weight.dim() >= 2
        and module.weight.grad is not None
    ]
    network.zero_grad(set_to_none=True)
    shown = found[:: -(-len(found) // LAYERS_AT_MOST) or 1]
    return [name for name, _ in shown], [value for _, value in shown]
