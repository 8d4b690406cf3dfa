"""What a shipped network is and means, as plain data that travels with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from netwright.errors import DataError

if TYPE_CHECKING:
    from netwright.data import Preparation

VERSION = 1


@dataclass(frozen=True)
class Card:
    """The labels, units and origin of a network, and what raw input it takes.

    title: what was trained on what, for people. task: as the data has it ("classification", "regression", ...). classes: their
    names, None for numbers. preparation: as its `to_dict` describes it, which also reads raw input. rule: (class, threshold) if
    one of two classes is taken by its probability, None where the most probable class is. strange_above: from which score
    of the guard on an input counts as unlike the training data, None without a guard. test: the scores on the test part.
    recipe: what decided the run. weights_sha256: of the weights that answer, as CONTRACT.md defines it.
    """

    title: str
    name: str
    task: str
    classes: tuple[str, ...] | None
    input_shape: tuple[int, ...]
    num_outputs: int
    preparation: Mapping[str, Any]
    rule: tuple[int, float] | None = None
    strange_above: float | None = None
    test: Mapping[str, Any] | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    weights_sha256: str = ""
    netwright: str = ""
    version: int = VERSION

    @cached_property
    def prepared_by(self) -> Preparation:
        """What reads raw input and prepares it."""
        from netwright.data import Preparation

        return Preparation.from_dict(dict(self.preparation))

    def to_dict(self) -> dict[str, Any]:
        """Returns what `from_dict` takes, in JSON's own types."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }

    @staticmethod
    def from_dict(entries: Mapping[str, Any]) -> Card:
        """Returns the card that `to_dict` described; raises DataError for what is none, or of a later version."""
        if entries.get("version") != VERSION:
            raise DataError(
                f"card: expected version {VERSION}, came {entries.get('version')!r}: was it written by another netwright?"
            )
        known = {entry.name for entry in fields(Card)}
        try:
            card = _reader().validate_python(
                {name: value for name, value in entries.items() if name in known}
            )
        except ValidationError as error:
            first = error.errors()[0]
            raise DataError(f"card.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        if card.classes is not None and len(card.classes) != card.num_outputs:
            raise DataError(f"card: {len(card.classes)} classes, but {card.num_outputs} outputs")
        if card.rule is not None and not 0 <= card.rule[0] < card.num_outputs:
            raise DataError(
                f"card.rule: expected a class from 0 to {card.num_outputs - 1}, came {card.rule[0]}"
            )
        return card


@cache
def _reader() -> TypeAdapter[Card]:
    return TypeAdapter(Card)
