"""A network as it is shipped: raw numbers in, what is answered out."""

from __future__ import annotations

from torch import Tensor, nn

from netwright.data import Preparation
from netwright.metrics.probabilities import Meaning, probabilities_of, tempered


class Shipped(nn.Module):
    """Preparation, network and the meaning of its outputs in one module.

    A raw batch (N, ...) as `preparation.together` makes it goes in. Out come, in this order and as named by `output_names`,
    `probabilities` (N, C) float32, calibrated by `temperature`, or, without a `meaning`, `values` (N, ...) float32 in the unit
    of the data.

    >>> import torch
    >>> from netwright.data.preparation import FeaturePreparation
    >>> shipped = Shipped(FeaturePreparation((2,), mean=[1.0]), nn.Identity(), meaning="logits")
    >>> shipped(torch.tensor([[1.0, 1.0]]))[0].tolist(), shipped.output_names
    ([[0.5, 0.5]], ('probabilities',))
    """

    def __init__(
        self,
        preparation: Preparation,
        network: nn.Module,
        *,
        meaning: Meaning | None,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.preparation, self.network = preparation, network
        self.meaning, self.temperature = meaning, temperature

    @property
    def output_names(self) -> tuple[str, ...]:
        """What the outputs are called, in their order."""
        return ("values" if self.meaning is None else "probabilities",)

    def forward(self, raw: Tensor) -> tuple[Tensor, ...]:
        return (self.answer(self.network(self.preparation(raw)).float()),)

    def answer(self, outputs: Tensor) -> Tensor:
        """Returns probabilities, or values in their unit, of the network's outputs (N, ...) float32."""
        if self.meaning is None:
            return self.preparation.in_units(outputs)
        return tempered(probabilities_of(outputs, self.meaning), self.temperature)
