"""Why a run answers as it does for one example: which parts of the input the answer rests on, as maps that were checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from netwright.data.preparation import ImagePreparation
from netwright.data.series import SeriesPreparation
from netwright.data.sound import SoundPreparation
from netwright.data.table import TablePreparation
from netwright.data.text import TextPreparation
from netwright.errors import DataError, ExplanationError, unknown_name
from netwright.explain.attribution import captum, log_odds
from netwright.explain.maps import BACKGROUND, Asked, Map, maps_of
from netwright.training.losses import meaning_of

if TYPE_CHECKING:
    from netwright.run import Run


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """Why one example is answered as it is.

    `record`: as `predict` gives it; `truth`: its label or value where known. `of`: what is explained, in words; `score` its number for
    this example, in `unit`. `maps`: one a method; `left_out` {method: why}. `picture`: (H, W) or (H, W, 3) uint8, where it is one.
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
    stand_in = _background(run) if isinstance(run.preparation, TablePreparation) else None
    asked = Asked(run.network, run.preparation, example.batch, explained, stand_in)
    maps = tuple(maps_of(asked))
    if not maps:
        why = "; ".join(f"{name}: {reason}" for name, reason in asked.left_out.items())
        raise ExplanationError(f"nothing could be explained: {why}")
    with torch.no_grad():
        score = float(explained(run.network(asked.prepared))[0])
    return Explanation(
        str(run.path),
        run.title,
        record,
        example.truth,
        words,
        score,
        unit,
        maps,
        asked.left_out,
        _picture(run, asked.prepared, example),
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


def _background(run: Run) -> Tensor:
    """Returns raw rows from all over the training part, (BACKGROUND, D)."""
    part: Any = run.data.train
    rows = torch.linspace(0, len(part) - 1, min(BACKGROUND, len(part))).round().long()
    return part.raw(rows).float()


# ---- the picture ----


def _picture(run: Run, prepared: Tensor, example: Example) -> np.ndarray | None:
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
