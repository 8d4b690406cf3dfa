"""Raw examples in, records with their answers out: what `predict` prints, the server sends and an export proves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from torch import Tensor

from netwright.data import Preparation
from netwright.data.epochs import at_once
from netwright.metrics.classification import decide
from netwright.shipping.card import Card


@dataclass(frozen=True, eq=False)
class Answering:
    """What answers, and what its answers mean.

    `forward` maps a raw batch (N, ...), as `preparation.together` makes it, to what `Shipped` gives: probabilities (N, C) or
    values (N, ...), and behind them, where `card.strange_above` is a number, how strange each example is, (N,).
    """

    card: Card
    preparation: Preparation
    forward: Callable[[Tensor], tuple[Tensor, ...]]

    def records(self, raw: Iterable[tuple[str, Any]], *, batch: int = 256) -> Iterator[dict[str, Any]]:
        """Yields one record an example of (name, what `preparation.read` gave).

        Each has `input`, `label` and `probabilities` {class: 0..1} for classes, or `value` for numbers, and `unlike_training`:
        None where nothing was measured.
        """
        examples = iter(raw)
        batch = at_once(self.preparation.prepared_shape, most=batch)
        while chunk := list(islice(examples, batch)):
            yield from self.together(chunk)

    def together(self, chunk: list[tuple[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yields the records of examples that go through the network in one batch."""
        answers, *strangeness = self.forward(self.preparation.together([example for _, example in chunk]))
        for place, (name, example) in enumerate(chunk):
            remarks = self.preparation.remarks(example)
            yield {
                "input": name,
                **self._answer(answers[place : place + 1]),
                "unlike_training": self._strange(strangeness, place),
                **self.preparation.details(example),
                **({"remarks": remarks} if remarks else {}),
            }

    def _strange(self, strangeness: list[Tensor], place: int) -> bool | None:
        limit = self.card.strange_above
        return None if limit is None or not strangeness else bool(strangeness[0][place] > limit)

    def _answer(self, answer: Tensor) -> dict[str, Any]:
        """Returns label and probabilities, or the value, of one answer (1, ...)."""
        if self.card.classes is None:
            if answer.dim() == 3:  # a forecast: rows, and columns if there are several
                return {
                    "label": None,
                    "value": (answer[0, :, 0] if answer.shape[2] == 1 else answer[0]).tolist(),
                }
            values = answer.reshape(-1).tolist()
            return {"label": None, "value": values[0] if len(values) == 1 else values}
        probabilities = {name: float(share) for name, share in zip(self.card.classes, answer[0], strict=True)}
        taken = decide(answer.cpu().numpy(), self.card.rule)
        return {"label": self.card.classes[int(taken[0])], "probabilities": probabilities}
