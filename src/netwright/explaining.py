"""Why a run answers as it does for one example: which parts of the input the answer rests on, as maps that were checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from netwright.data.columns import in_order
from netwright.data.preparation import ImagePreparation
from netwright.data.series import SeriesPreparation
from netwright.data.sound import SoundPreparation
from netwright.data.table import TablePreparation
from netwright.data.text import TextPreparation
from netwright.errors import DataError, ExplanationError, unknown_name
from netwright.explain.attribution import (
    NUMBERS_AT_ONCE,
    ORDERS,
    ROWS_AT_ONCE,
    Attribution,
    Call,
    captum,
    compared,
    embedding_of,
    integrated_gradients,
    leave_one_out,
    log_odds,
    occlusion,
    saliency,
    shapley,
    token_gradients,
)
from netwright.training.losses import meaning_of

if TYPE_CHECKING:
    from netwright.run import Run

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


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """Why one example is answered as it is.

    `record`: as `predict` gives it; `truth`: its label or value where known. `of`: what is explained, in words; `score` its number for
    this example, in `unit`. `maps`: one a method; `left_out` {method: why}. `picture`: (H, W) or (H, W, 3) uint8, where it is one. `note`:
    what else a reader must know.
    """

    run: str
    title: str
    record: dict[str, Any]
    truth: str | None
    of: str
    score: float
    unit: str
    maps: tuple[Map, ...]
    left_out: dict[str, str]
    picture: np.ndarray | None = None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Returns the explanation in JSON's own types."""
        return {
            "run": self.run,
            **self.record,
            "truth": self.truth,
            "explained": self.of,
            "score": self.score,
            "unit": self.unit,
            "maps": [one.to_dict() for one in self.maps],
            "left_out": self.left_out,
            **({"note": self.note} if self.note else {}),
        }

    def __repr__(self) -> str:
        from netwright.report.explanation import explanation_text

        return explanation_text(self)

    def _repr_html_(self) -> str:
        from netwright.report.explanation import explanation_fragment

        return explanation_fragment(self)


@dataclass(frozen=True, eq=False)
class Example:
    """One raw example as `preparation.read` gives it, its name, and its label or value where it is known."""

    name: str
    raw: Any
    batch: Tensor
    truth: str | None = None


def explain_prediction(
    run: Run,
    inputs: Any = None,
    *,
    of: str | None = None,
    against: str | None = None,
    row: int = 1,
    test: int | None = None,
) -> Explanation:
    """Returns why a run answers as it does for one example.

    `inputs`: as `Run.predict` takes them; of several examples the one numbered `row`, from 1 on, is explained. Without inputs it is the
    example numbered `test`, from 0 on, of the test part, or with None the one on which the run is wrong and most sure (of a
    regression: furthest from the truth). `of`: the class whose log-odds are explained (default: the one that is predicted), or the
    number, from 0 on, of one of several values. `against`: the class that it is set against (default: the true one, where it is known and
    another one; else all others).

    Raises:
        ExplanationError: Captum is missing, or nothing can be explained here; DataError: an input that cannot be read.
    """
    captum()
    if not run.finished:
        raise ExplanationError(f"{run.path} is not finished.\nGo on with: netwright resume {run.path}")
    if run.meaning["task"] == "language":
        raise ExplanationError(
            f"{run.path} is a language model, whose every token is an answer: what is explained here is one answer"
        )
    example = _given(run, inputs, row) if inputs is not None else _from_test(run, test)
    answering = run.answering
    record = next(iter(answering.together([(example.name, example.raw)])))
    if against is None and of is None and run.classes is not None and example.truth != record["label"]:
        against = example.truth
    explained, words, unit = _explained(run, record, of=of, against=against)
    network = run.network
    with torch.no_grad():
        prepared = run.preparation(example.batch)
        score = float(explained(network(prepared))[0])
    left_out: dict[str, str] = {}
    maps = tuple(_maps(run, example, prepared, explained, left_out))
    if not maps:
        raise ExplanationError(
            "nothing could be explained: " + "; ".join(f"{k}: {v}" for k, v in left_out.items())
        )
    return Explanation(
        str(run.path),
        run.title,
        record,
        example.truth,
        words,
        score,
        unit,
        maps,
        left_out,
        _picture(run, example, prepared),
    )


# ---- the example ----


def _given(run: Run, inputs: Any, row: int) -> Example:
    from itertools import islice

    found = list(islice(run.answering.read(inputs), row - 1, row))
    if row < 1 or not found:
        raise DataError(f"there is no example number {row} in what was given: they are counted from 1 on")
    name, raw = found[0]
    return Example(name, raw, run.preparation.together([raw]))


def _from_test(run: Run, number: int | None) -> Example:
    part: Any = run.data.test
    if not len(part):
        raise DataError(f"{run.path} has no test part: name a file to explain")
    if number is None:
        number = _most_wrong(run)
    if not 0 <= number < len(part):
        raise DataError(f"the test part has the examples 0 to {len(part) - 1:,}, not {number}")
    rows = torch.tensor([number])
    batch = part.raw(rows).to(_type_of(run))
    _, targets = part.prepared(rows)
    names = getattr(part, "names", None)
    truth = (
        run.classes[int(targets[0])]
        if run.classes is not None
        else _shown(run.preparation.in_units(targets)[0])
    )
    raw = _as_read(run, part, number, batch)
    return Example(f"test example {number}{f' ({names[number]})' if names else ''}", raw, batch, truth)


def _as_read(run: Run, part: Any, number: int, batch: Tensor) -> Any:
    """Returns what `preparation.read` would have given for a test example."""
    if isinstance(run.preparation, TextPreparation):
        return run.preparation.read(part.texts[number])
    if isinstance(run.preparation, SeriesPreparation):
        from netwright.data.series import Past

        return Past(batch[0])
    return batch[0]


def _type_of(run: Run) -> torch.dtype:
    from netwright.shipping.inputs import DTYPES, dtype_of

    return DTYPES[dtype_of(run.preparation)]


def _most_wrong(run: Run) -> int:
    """Returns the number of the test example on which the run is wrong and most sure; ExplanationError where it is never wrong."""
    from netwright.metrics.probabilities import probabilities_of, tempered
    from netwright.training.evaluation import outputs_of

    outputs, targets = outputs_of(run.network, run.data.test)
    if run.classes is None:
        return int((outputs.float() - targets).reshape(len(targets), -1).abs().amax(dim=1).argmax())
    shares = tempered(probabilities_of(outputs.float(), meaning_of(run.loss())), run.temperature)
    sure, said = shares.max(dim=1)
    wrong = said != targets
    if not bool(wrong.any()):
        raise ExplanationError(
            f"{run.path} is right on all {len(targets):,} test examples: name a file, or a test example with --test"
        )
    return int(torch.where(wrong, sure, -1.0).argmax())


def _shown(value: Tensor) -> str:
    numbers = value.reshape(-1).tolist()
    return ", ".join(f"{number:.5g}" for number in numbers[:4]) + (", …" if len(numbers) > 4 else "")


# ---- what is explained ----


def _explained(
    run: Run, record: dict[str, Any], *, of: str | None, against: str | None
) -> tuple[Callable[[Tensor], Tensor], str, str]:
    """Returns what maps the network's outputs to the numbers that are explained, what they are in words, and their unit."""
    if run.classes is None:
        if against is not None:
            raise ExplanationError("--against goes with classes; this run predicts numbers")
        return (*_value_of(run, record, of), "the data's unit")
    name = record["label"] if of is None else of
    for wanted in (name, *([] if against is None else [against])):
        if wanted not in run.classes:
            raise unknown_name("class", wanted, run.classes)
    if name == against:
        raise ExplanationError(
            f"{name} cannot be set against itself: give another class to --against or --of"
        )
    place, other = run.classes.index(name), None if against is None else run.classes.index(against)
    words = f"that it is {name}" if against is None else f"that it is {name} and not {against}"
    explained = partial(_log_odds, place=place, meaning=meaning_of(run.loss()), against=other)
    return explained, words, "log-odds"


def _log_odds(outputs: Tensor, **what: Any) -> Tensor:
    return log_odds(outputs.float(), **what)


def _value_of(run: Run, record: dict[str, Any], of: str | None) -> tuple[Callable[[Tensor], Tensor], str]:
    def values(outputs: Tensor) -> Tensor:
        return run.preparation.in_units(outputs.float()).reshape(len(outputs), -1).float()

    count = np.size(record["value"])
    if of is None:
        return lambda outputs: values(outputs).mean(
            dim=1
        ), "the value" if count == 1 else "the mean of all values"
    if not of.isdecimal() or int(of) >= count:
        raise ExplanationError(f"--of: expected the number of one of {count} values, from 0 on, came {of!r}")
    return lambda outputs: values(outputs)[:, int(of)], f"value {of}"


# ---- the maps ----

Methods = Iterator[tuple[str, Callable[[], Attribution], Callable[[Attribution], Map]]]


def _maps(
    run: Run,
    example: Example,
    prepared: Tensor,
    explained: Callable[[Tensor], Tensor],
    left_out: dict[str, str],
) -> Iterator[Map]:
    """Yields one map a method; why a method has none goes into `left_out`."""
    if isinstance(run.preparation, TextPreparation):
        methods = _of_tokens(run, prepared, explained, left_out)
    elif isinstance(run.preparation, TablePreparation):
        methods = _of_columns(run, example, explained, left_out)
    else:
        methods = _of_numbers(run, prepared, explained)
    for name, make, shown in methods:
        try:
            yield shown(make())
        except ExplanationError as error:
            left_out[name] = str(error)
        except (RuntimeError, AssertionError, TypeError, IndexError) as error:
            # A network need not be differentiable, nor take what Captum does with it.
            left_out[name] = " ".join(str(error).split())[:200] or type(error).__name__


def _of_numbers(run: Run, prepared: Tensor, explained: Callable[[Tensor], Tensor]) -> Methods:
    """Yields the methods for pictures, spectrograms, series and rows of numbers."""
    baseline, network = torch.zeros_like(prepared), run.network
    with torch.no_grad():
        change = float((explained(network(prepared)) - explained(network(baseline)))[0])
    shown = partial(_as_map, run)

    def ways() -> Iterator[tuple[str, Callable[[Call], Tensor], dict[str, Any]]]:
        yield "saliency", lambda call: saliency(call, prepared), {"signed": False}
        yield (
            "integrated gradients",
            lambda call: integrated_gradients(call, prepared, baseline),
            {"sum_wanted": change},
        )
        yield "occlusion", lambda call: occlusion(call, prepared, baseline, window=_window(run, prepared)), {}

    for name, make, further in ways():
        yield name, partial(compared, name, make, network, explained, **further), shown


def _window(run: Run, prepared: Tensor) -> tuple[int, ...]:
    """Returns the sides of what occlusion covers at a time."""
    sides = tuple(prepared.shape[1:])
    if isinstance(run.preparation, SeriesPreparation):
        rows, columns = sides
        return max(1, rows // SERIES_WINDOWS), 1 if columns <= COLUMNS_AT_MOST else columns
    if len(sides) == 3:
        return sides[0], *(min(side, max(2, math.ceil(side / PICTURE_WINDOWS))) for side in sides[1:])
    return (1,) * len(sides) if math.prod(sides) <= 1000 else tuple(max(1, side // 1000) for side in sides)


def _as_map(run: Run, found: Attribution) -> Map:
    """Returns an attribution of numbers as a map: of colours the sum, of a gradient's size the largest."""
    values = found.values
    if values.dim() == 3:
        values = values.sum(dim=0) if found.signed else values.amax(dim=0)
    if isinstance(run.preparation, SoundPreparation):
        values = values.flip(0)
    if values.dim() == 2:
        # Only what adds up can be told of a column as a whole.
        parts = _parts_of_series(run, values) if found.sum_wanted is not None else ()
        return Map(found, parts, grid=values.numpy(), columns=getattr(run.preparation, "columns", ()))
    names = [f"number {place}" for place in range(len(values))]
    return Map(found, tuple(Part(name, float(adds)) for name, adds in zip(names, values)))


def _parts_of_series(run: Run, values: Tensor) -> tuple[Part, ...]:
    """Returns what each column of a series adds in all rows together; nothing for pictures."""
    if not isinstance(run.preparation, SeriesPreparation):
        return ()
    sums = values.sum(dim=0).tolist()
    return tuple(Part(name, adds) for name, adds in zip(run.preparation.columns, sums, strict=True))


def _of_tokens(
    run: Run, ids: Tensor, explained: Callable[[Tensor], Tensor], left_out: dict[str, str]
) -> Methods:
    """Yields the methods for texts, (1, L) ids."""
    preparation, network = run.preparation, run.network
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
        left_out["integrated gradients"] = (
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


def _of_columns(
    run: Run, example: Example, explained: Callable[[Tensor], Tensor], left_out: dict[str, str]
) -> Methods:
    """Yields the methods for a table's row."""
    preparation, network = run.preparation, run.network
    assert isinstance(preparation, TablePreparation)
    columns = in_order(preparation.columns)
    owner = torch.tensor([place for place, column in enumerate(columns) for _ in range(column.width)])
    background = _background(run)
    worlds = len(background)

    def score(call: Call) -> Callable[[Tensor], Tensor]:
        def of(there: Tensor) -> Tensor:
            # Captum repeats the worlds one after the other.
            others = background.repeat(len(there) // worlds, 1)
            return call(preparation(torch.where(there[:, owner] > 0.5, example.batch, others)))

        return of

    numbers = worlds * max(1, math.prod(preparation.prepared_shape))
    at_once = max(worlds, min(ROWS_AT_ONCE * worlds, NUMBERS_AT_ONCE // numbers * worlds))
    cells = [
        _cell(column, example.batch[0], at) for column, at in zip(columns, _starts(columns), strict=True)
    ]
    shown = lambda found: Map(  # noqa: E731
        found,
        tuple(
            Part(column.name, float(v), text)
            for column, v, text in zip(columns, found.values, cells, strict=True)
        ),
    )
    with torch.no_grad():
        base = explained(network(preparation(background))).mean()
        change = float(explained(network(preparation(example.batch)))[0] - base)
    if len(columns) > COLUMNS_AT_MOST:
        left_out["shapley"] = (
            f"{len(columns)} columns are more than {COLUMNS_AT_MOST}: it would take too many calls"
        )
    else:
        by_orders = lambda call: shapley(score(call), len(columns), rows=worlds)  # noqa: E731
        yield "shapley", partial(compared, "shapley", by_orders, network, explained, sum_wanted=change), shown
    one_less = lambda call: leave_one_out(score(call), len(columns), rows=worlds, at_once=at_once)  # noqa: E731
    yield "leave one out", partial(compared, "leave one out", one_less, network, explained), shown


def _background(run: Run) -> Tensor:
    """Returns raw rows from all over the training part, (BACKGROUND, D)."""
    part: Any = run.data.train
    rows = torch.linspace(0, len(part) - 1, min(BACKGROUND, len(part))).round().long()
    return part.raw(rows).float()


def _starts(columns: Sequence[Any]) -> list[int]:
    return np.cumsum([0, *(column.width for column in columns)])[:-1].tolist()


def _cell(column: Any, raw: Tensor, at: int) -> str:
    """Returns a cell for people."""
    from netwright.data.columns import FIRST, GAP

    value = float(raw[at])
    if column.kind == "category":
        if int(value) == GAP:
            return "a gap"
        return column.categories[int(value) - FIRST] if int(value) >= FIRST else "never seen"
    if math.isnan(value):
        return "a gap"
    if column.kind == "boolean":
        return "true" if value > 0.5 else "false"
    return "" if column.kind == "date" else f"{value + column.centre:.6g}"


# ---- the picture ----


def _picture(run: Run, example: Example, prepared: Tensor) -> np.ndarray | None:
    """Returns what the network saw of an image or a recording as (H, W) or (H, W, 3) uint8; None for what is neither."""
    preparation = run.preparation
    if isinstance(preparation, SoundPreparation):
        return preparation.picture(example.batch[0])
    if not isinstance(preparation, ImagePreparation) or prepared.shape[1] not in (1, 3):
        return None
    pixels = prepared[0] * preparation.std + preparation.mean
    low, high = float(pixels.min()), float(pixels.max())
    if preparation.highest is not None:
        low, high = 0.0, preparation.highest / preparation.scale
    shades = ((pixels - low) / max(high - low, 1e-12) * 255).round().clamp(0, 255).byte().numpy()
    return shades[0] if len(shades) == 1 else shades.transpose(1, 2, 0)
