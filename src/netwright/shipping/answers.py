"""Raw examples in, records with their answers out: what `predict` prints, the server sends and an export proves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
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

    def predict(self, inputs: Any, *, batch: int = 256) -> list[dict[str, Any]]:
        """Returns one record an example for raw inputs: files, folders, or arrays as the data set has them (as `Run.predict`)."""
        return list(self.records(self.read(inputs), batch=batch))

    def read(self, inputs: Any) -> Iterable[tuple[str, Any]]:
        """Yields (name, what `preparation.read` gives) of each example in inputs as `predict` takes them; raises DataError."""
        # Where texts are the examples, only a Path is a file.
        path: Any = os.PathLike if self.preparation.takes_text else str | os.PathLike
        if isinstance(inputs, path):
            inputs = [inputs]
        if (
            isinstance(inputs, Sequence)
            and not isinstance(inputs, str)
            and inputs
            and all(isinstance(item, path) for item in inputs)
        ):
            return self.preparation.read_files(inputs)
        return ((str(index), example) for index, example in enumerate(self.preparation.read_many(inputs)))

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
        # For all examples at once: for each by itself it takes longer than a small network.
        strange = self._strange(strangeness, len(chunk))
        for (name, example), answer, flag in zip(chunk, self._answers(answers), strange, strict=True):
            remarks = self.preparation.remarks(example)
            yield {
                "input": name,
                **answer,
                "unlike_training": flag,
                **self.preparation.details(example),
                **({"remarks": remarks} if remarks else {}),
            }

    def _strange(self, strangeness: list[Tensor], count: int) -> list[Any]:
        limit = self.card.strange_above
        return [None] * count if limit is None or not strangeness else (strangeness[0] > limit).tolist()

    def _answers(self, answers: Tensor) -> Iterator[dict[str, Any]]:
        """Yields label and probabilities, or the value, of each of the answers (N, ...)."""
        classes = self.card.classes
        if classes is None:
            yield from ({"label": None, "value": self._value(answer)} for answer in answers)
            return
        taken = decide(answers.cpu().numpy(), self.card.rule)
        for place, shares in zip(taken.tolist(), answers.tolist(), strict=True):
            yield {"label": classes[place], "probabilities": dict(zip(classes, shares, strict=True))}

    def _value(self, answer: Tensor) -> Any:
        """Returns the value of one answer (...) in JSON's types."""
        if answer.dim() == 2:  # a forecast: rows, and columns if there are several
            return (answer[:, 0] if answer.shape[1] == 1 else answer).tolist()
        values = answer.reshape(-1).tolist()
        return values[0] if len(values) == 1 else values
