"""The exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from netwright.errors import CheckpointError, RecipeError


class Average:
    """Weights averaged over the steps: average = decay * average + (1 - decay) * weights.

    The first `update` copies the weights (torch's AveragedModel with get_ema_multi_avg_fn, which this wraps). At
    a decay of 0.999 the average looks back over about 1 / (1 - decay) = 1000 steps. Buffers, such as the running
    statistics of batch norm, are not averaged but copied from the network at each update. The network must
    already be on its device.

    >>> network = nn.Linear(1, 1, bias=False)
    >>> average = Average(network, decay=0.5)
    >>> for weight in (1.0, 3.0):
    ...     _ = nn.init.constant_(network.weight, weight)
    ...     average.update(network)
    >>> with average.applied(network):
    ...     print(network.weight.item())
    2.0
    >>> network.weight.item()
    3.0
    """

    def __init__(self, network: nn.Module, *, decay: float = 0.999) -> None:
        if isinstance(decay, bool) or not isinstance(decay, (int, float)) or not 0 < decay < 1:
            raise RecipeError(f"the decay of the average (ema) is between 0 and 1, as 0.999; got {decay!r}")
        self.decay = decay
        self._model = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))
        self._model.requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Takes the network's present weights into the average and its buffers as they are."""
        self._model.update_parameters(network)

    @property
    def steps(self) -> int:
        """How many updates there were."""
        return int(self._model.n_averaged)

    @property
    def network(self) -> nn.Module:
        """The copy of the network that holds the average."""
        return self._model.module

    def weights(self) -> dict[str, Tensor]:
        """Returns the average as a state dict of the network (not a copy)."""
        return self._model.module.state_dict()

    @contextmanager
    def applied(self, network: nn.Module) -> Iterator[nn.Module]:
        """Puts the averaged weights into the network inside the `with`; afterwards its own, bit for bit.

        The network's own buffers stay. Before the first update the network's own weights stay too.
        """
        if self.steps == 0:
            yield network
            return
        own = [parameter.detach().clone() for parameter in network.parameters()]
        try:
            _copy(self._model.module.parameters(), network)
            yield network
        finally:
            _copy(iter(own), network)

    def state_dict(self) -> dict[str, Any]:
        """Returns the average, its step count and decay, in types that `weights_only=True` reads."""
        return {"decay": self.decay, "steps": self.steps, "weights": self.weights()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts back what `state_dict` returned; raises CheckpointError for another network's."""
        try:
            self._model.module.load_state_dict(state["weights"])
            self._model.n_averaged.fill_(state["steps"])
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(f"the saved average does not belong to this network: {error}") from error


@torch.no_grad()
def _copy(weights: Iterator[Tensor], network: nn.Module) -> None:
    for parameter, weight in zip(network.parameters(), weights, strict=True):
        parameter.copy_(weight)
