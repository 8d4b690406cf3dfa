"""A network as it is shipped: raw numbers in, what is answered out."""

from __future__ import annotations

from torch import Tensor, nn

from netwright.data import Preparation
from netwright.metrics.probabilities import Meaning, probabilities_of, tempered
from netwright.shipping.guard import Guard, Tap


class Shipped(nn.Module):
    """Preparation, network and the meaning of its outputs in one module.

    A raw batch (N, ...) as `preparation.together` makes it goes in. Out come, in this order and as named by `output_names`,
    `probabilities` (N, C) float32, calibrated by `temperature`, or, without a `meaning`, `values` (N, ...) float32 in the unit
    of the data; and with a `guard`, `strangeness` (N,) float32, above 1 for what is unlike the training data.

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
        guard: Guard | None = None,
    ) -> None:
        super().__init__()
        self.preparation, self.network, self.guard = preparation, network, guard
        self.meaning, self.temperature = meaning, temperature
        self.tap = Tap()
        if guard is not None and guard.layer is not None:
            network.get_submodule(guard.layer).register_forward_pre_hook(self.tap)

    @property
    def output_names(self) -> tuple[str, ...]:
        """What the outputs are called, in their order."""
        answer = "values" if self.meaning is None else "probabilities"
        return (answer,) if self.guard is None else (answer, "strangeness")

    def forward(self, raw: Tensor) -> tuple[Tensor, ...]:
        prepared = self.preparation(raw)
        with self.tap:
            outputs = self.network(prepared).float()
            features = self.tap.taken()
        if self.guard is None:
            return (self.answer(outputs),)
        return self.answer(outputs), self.guard(raw, prepared, outputs if features is None else features)

    def answer(self, outputs: Tensor) -> Tensor:
        """Returns probabilities, or values in their unit, of the network's outputs (N, ...) float32."""
        if self.meaning is None:
            return self.preparation.in_units(outputs)
        return tempered(probabilities_of(outputs, self.meaning), self.temperature)
