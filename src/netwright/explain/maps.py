"""The maps of one example, by what suits its kind: pixels, rows and columns, tokens, cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netwright.data.columns import in_order, shown_cells
from netwright.data.preparation import Preparation
from netwright.data.series import SeriesPreparation
from netwright.data.sound import SoundPreparation
from netwright.data.table import TablePreparation
from netwright.data.text import TextPreparation
from netwright.errors import ExplanationError
from netwright.explain.attribution import (
    NUMBERS_AT_ONCE,
    ORDERS,
    ROWS_AT_ONCE,
    Attribution,
    Call,
    compared,
    embedding_of,
    integrated_gradients,
    leave_one_out,
    occlusion,
    saliency,
    shapley,
    token_gradients,
)

# Rows of the training part that stand in, one after the other, for what a table's row is without some of its columns.
BACKGROUND = 50
# With more columns Shapley values take too many calls of the network.
COLUMNS_AT_MOST = 64
# A window of occlusion is a seventh of each side of a picture, a twelfth of a series.
PICTURE_WINDOWS, SERIES_WINDOWS = 7, 12

SENTENCES = {
    "saliency": "how fast the answer changes when a number of the input changes a little; its sign is not kept",
    "integrated gradients": "what each number adds on the way from the training mean to this input",
    "integrated gradients of tokens": "what each token adds on the way from a text of unknown tokens to this one",
    "occlusion": "how much the answer falls when a window of the input is covered by the training mean",
    "leave one out": "how much the answer falls without this part",
    "shapley": f"what this part adds, averaged over {ORDERS} random orders in which the parts come in, and over {BACKGROUND} training rows that stand in",
}


@dataclass(frozen=True)
class Part:
    """One part of the input with what it adds; `text` its content, for people."""

    name: str
    adds: float
    text: str = ""


@dataclass(frozen=True, eq=False)
class Map:
    """One method's map: `parts` in their order; `grid` (H, W) float for a picture, (T, C) for a series with its `columns`; else None."""

    attribution: Attribution
    parts: tuple[Part, ...] = ()
    grid: np.ndarray | None = None
    kind: str = ""
    columns: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """What the map shows, in a sentence."""
        method = self.attribution.method
        return SENTENCES.get(f"{method} of {self.kind}", SENTENCES[method])

    def to_dict(self) -> dict[str, Any]:
        """Returns the map in JSON's own types."""
        found = self.attribution
        return {
            "method": found.method,
            "what": self.what,
            "signed": found.signed,
            "sum": float(found.values.sum()) if found.sum_wanted is not None else None,
            "sum_wanted": found.sum_wanted,
            "likeness_to_shuffled_weights": found.likeness,
            "tells_of_the_weights": found.tells,
            **({} if found.reason is None else {"reason": found.reason}),
            **({"parts": [asdict(part) for part in self.parts]} if self.parts else {}),
            **({} if self.grid is None else {"map": self.grid.tolist()}),
        }


@dataclass(eq=False)
class Asked:
    """What is to be explained.

    `network` in evaluation mode; `raw` (1, ...), one example as `preparation` takes it; `explained` maps the network's outputs (N, ...) to the
    (N,) numbers that are explained; `background`, for tables, raw rows (K, D) that stand in for absent cells. `left_out` {method: why}.
    """

    network: nn.Module
    preparation: Preparation
    raw: Tensor
    explained: Callable[[Tensor], Tensor]
    background: Tensor | None = None
    left_out: dict[str, str] = field(default_factory=dict)

    @cached_property
    def prepared(self) -> Tensor:
        """The example as the network takes it, (1, ...)."""
        with torch.no_grad():
            return self.preparation(self.raw)


Methods = Iterator[tuple[str, Callable[[], Attribution], Callable[[Attribution], Map]]]


def maps_of(asked: Asked) -> Iterator[Map]:
    """Yields one map a method; why a method has none goes into `asked.left_out`."""
    if isinstance(asked.preparation, TextPreparation):
        methods = _of_tokens(asked)
    elif isinstance(asked.preparation, TablePreparation):
        methods = _of_columns(asked)
    else:
        methods = _of_numbers(asked)
    for name, make, shown in methods:
        try:
            yield shown(make())
        except ExplanationError as error:
            asked.left_out[name] = str(error)
        except (RuntimeError, AssertionError, TypeError, IndexError) as error:
            # A network need not be differentiable, nor take what Captum does with it.
            asked.left_out[name] = " ".join(str(error).split())[:200] or type(error).__name__


def _of_numbers(asked: Asked) -> Methods:
    """Yields the methods for pictures, spectrograms, series and rows of numbers."""
    network, prepared, explained = asked.network, asked.prepared, asked.explained
    baseline = torch.zeros_like(prepared)
    with torch.no_grad():
        change = float((explained(network(prepared)) - explained(network(baseline)))[0])
    shown = partial(_as_map, asked.preparation)

    def ways() -> Iterator[tuple[str, Callable[[Call], Tensor], dict[str, Any]]]:
        yield "saliency", lambda call: saliency(call, prepared), {"signed": False}
        yield (
            "integrated gradients",
            lambda call: integrated_gradients(call, prepared, baseline),
            {"sum_wanted": change},
        )
        yield "occlusion", lambda call: occlusion(call, prepared, baseline, window=_window(asked)), {}

    for name, make, further in ways():
        yield name, partial(compared, name, make, network, explained, **further), shown


def _window(asked: Asked) -> tuple[int, ...]:
    """Returns the sides of what occlusion covers at a time."""
    sides = tuple(asked.prepared.shape[1:])
    if isinstance(asked.preparation, SeriesPreparation):
        rows, columns = sides
        return max(1, rows // SERIES_WINDOWS), 1 if columns <= COLUMNS_AT_MOST else columns
    if len(sides) == 3:
        return sides[0], *(min(side, max(2, math.ceil(side / PICTURE_WINDOWS))) for side in sides[1:])
    return (1,) * len(sides) if math.prod(sides) <= 1000 else tuple(max(1, side // 1000) for side in sides)


def _as_map(preparation: Preparation, found: Attribution) -> Map:
    """Returns an attribution of numbers as a map: of colours the sum, of a gradient's size the largest."""
    values = found.values
    if values.dim() == 3:
        values = values.sum(dim=0) if found.signed else values.amax(dim=0)
    if isinstance(preparation, SoundPreparation):
        values = values.flip(0)
    if values.dim() == 2:
        # Only what adds up can be told of a column as a whole.
        parts = _parts_of_series(preparation, values) if found.sum_wanted is not None else ()
        return Map(found, parts, grid=values.numpy(), columns=getattr(preparation, "columns", ()))
    names = [f"number {place}" for place in range(len(values))]
    return Map(found, tuple(Part(name, float(adds)) for name, adds in zip(names, values)))


def _parts_of_series(preparation: Preparation, values: Tensor) -> tuple[Part, ...]:
    """Returns what each column of a series adds in all rows together; nothing for pictures."""
    if not isinstance(preparation, SeriesPreparation):
        return ()
    sums = values.sum(dim=0).tolist()
    return tuple(Part(name, adds) for name, adds in zip(preparation.columns, sums, strict=True))


def _of_tokens(asked: Asked) -> Methods:
    """Yields the methods for texts, (1, L) ids."""
    preparation, network, ids, explained = asked.preparation, asked.network, asked.prepared, asked.explained
    assert isinstance(preparation, TextPreparation)
    tokens = [preparation.tokenizer.decode([one]) for one in ids[0].tolist()]
    words = [token.strip() or repr(token)[1:-1] for token in tokens]
    shown = lambda found: Map(  # noqa: E731
        found, tuple(Part(word, float(adds)) for word, adds in zip(words, found.values)), kind="tokens"
    )
    count = ids.shape[1]

    def without(call: Call) -> Tensor:
        return leave_one_out(lambda there: call(_texts_of(ids[0], there)), count)

    yield "leave one out", partial(compared, "leave one out", without, network, explained), shown
    layer = embedding_of(network, ids)
    if layer is None:
        asked.left_out["integrated gradients"] = (
            "the network has no nn.Embedding that is given the tokens by themselves"
        )
        return
    unknown = preparation.tokenizer.unknown
    baseline = unknown if unknown >= 0 else 0
    with torch.no_grad():
        change = float((explained(network(ids)) - _of_baseline(network, explained, ids, layer, baseline))[0])
    gradients = partial(token_gradients, ids=ids, layer=layer, baseline=baseline)
    yield (
        "integrated gradients",
        partial(
            compared,
            "integrated gradients",
            lambda call: gradients(call),
            network,
            explained,
            sum_wanted=change,
        ),
        shown,
    )


def _of_baseline(network: Any, explained: Any, ids: Tensor, layer: Any, baseline: int) -> Tensor:
    """Returns the answer where only the embedding is told another text: lengths and masks stay those of `ids`."""
    hook = layer.register_forward_hook(lambda module, given, out: torch.nn.functional.embedding(
        torch.full_like(given[0], baseline), module.weight, module.padding_idx
    ))  # fmt: skip
    try:
        return explained(network(ids))
    finally:
        hook.remove()


def _texts_of(ids: Tensor, there: Tensor) -> Tensor:
    """Returns (N, L) ids of the texts of which only some tokens are there, (N, L) ones and zeros; one without any is one unknown token."""
    texts = []
    for row in there > 0.5:
        kept = ids[row]
        texts.append(kept if len(kept) else torch.ones(1, dtype=ids.dtype))
    return torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)


def _of_columns(asked: Asked) -> Methods:
    """Yields the methods for a table's row."""
    preparation, network, explained, background = (
        asked.preparation,
        asked.network,
        asked.explained,
        asked.background,
    )
    assert isinstance(preparation, TablePreparation) and background is not None
    columns = in_order(preparation.columns)
    owner = torch.tensor([place for place, column in enumerate(columns) for _ in range(column.width)])
    worlds = len(background)

    def score(call: Call) -> Callable[[Tensor], Tensor]:
        def of(there: Tensor) -> Tensor:
            # Captum repeats the worlds one after the other.
            others = background.repeat(len(there) // worlds, 1)
            return call(preparation(torch.where(there[:, owner] > 0.5, asked.raw, others)))

        return of

    numbers = worlds * max(1, math.prod(preparation.prepared_shape))
    at_once = max(worlds, min(ROWS_AT_ONCE * worlds, NUMBERS_AT_ONCE // numbers * worlds))
    cells = [cell for _, cell in shown_cells(asked.raw[0].tolist(), preparation.columns)]
    shown = lambda found: Map(  # noqa: E731
        found,
        tuple(
            Part(column.name, float(v), text)
            for column, v, text in zip(columns, found.values, cells, strict=True)
        ),
    )
    with torch.no_grad():
        base = explained(network(preparation(background))).mean()
        change = float(explained(network(preparation(asked.raw)))[0] - base)
    if len(columns) > COLUMNS_AT_MOST:
        asked.left_out["shapley"] = (
            f"{len(columns)} columns are more than {COLUMNS_AT_MOST}: it would take too many calls"
        )
    else:
        by_orders = lambda call: shapley(score(call), len(columns), rows=worlds)  # noqa: E731
        yield "shapley", partial(compared, "shapley", by_orders, network, explained, sum_wanted=change), shown
    one_less = lambda call: leave_one_out(score(call), len(columns), rows=worlds, at_once=at_once)  # noqa: E731
    yield "leave one out", partial(compared, "leave one out", one_less, network, explained), shown
