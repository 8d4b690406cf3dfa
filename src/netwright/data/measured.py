"""The preparation of a source from the statistics of its training part alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netwright.data.fitted_images import FittedImages
from netwright.data.preparation import FeaturePreparation, ImagePreparation, Preparation
from netwright.data.source import AnyPart, Part, Source, StreamPart
from netwright.data.statistics import (
    pixel_statistics,
    rows_in_chunk,
    statistics_of_chunks,
    statistics_of_sums,
    value_statistics,
)
from netwright.data.survey import blocks
from netwright.data.text import TextOptions
from netwright.data.text_parts import TextPart, prepare_texts
from netwright.data.torch_dataset import sample
from netwright.errors import DataError, unknown_name

Numbers = float | Sequence[float]


def check_mode(preparation: Any, mean: Numbers | None, std: Numbers | None) -> None:
    """Raises DataError for a preparation that is not known, or numbers that it would not use."""
    if isinstance(preparation, Preparation):
        mode = "a Preparation"
    elif preparation in ("standard", "scale", "none"):
        mode = f"{preparation!r}"
    else:
        raise unknown_name("preparation", preparation, ("standard", "scale", "none"))
    if preparation != "standard" and (mean is not None or std is not None):
        raise DataError(f"mean= and std= belong to preparation='standard', came {mode} with them")


def make_preparation(
    found: Source, mode: str | Preparation, mean: Numbers | None, std: Numbers | None, *, texts: TextOptions
) -> Preparation:
    """Returns what prepares this source, from statistics of its training part alone."""
    train = found.parts["train"]
    if isinstance(train, TextPart):
        return _prepare_texts(found, mode, mean, std, texts)
    first = _first(train)
    shape = tuple(first.shape[1:])
    if isinstance(mode, FittedImages):
        highest = found.highest if first.dtype == torch.uint8 and found.image else None
        return mode.onto(shape, highest=highest, where=found.name, notes=found.notes)
    if isinstance(mode, Preparation):
        floats = isinstance(mode, ImagePreparation) and mode.highest is None
        if mode.shape != shape or (found.image and floats != first.is_floating_point()):
            expected = f"{'float' if floats else 'raw'} examples of shape {mode.shape}"
            raise DataError(
                f"{found.name}: expected {expected} for this preparation, came {shape}, {first.dtype}"
            )
        return mode
    if found.prepare is not None:
        if mean is not None or std is not None:
            raise DataError(
                f"{found.name}: mean= and std= go with images and arrays, not with this kind of data"
            )
        return found.prepare(train, mode, found.notes)
    highest = found.highest if first.dtype == torch.uint8 and found.image else None
    scale = 1.0 if highest is None or mode == "none" else float(highest)
    numbers: dict[str, Any] = {"scale": scale}
    if mode == "standard":
        numbers |= _standard(found, scale, mean, std)
    if found.image:
        return ImagePreparation(shape, highest=highest, **numbers)
    return FeaturePreparation(shape, **numbers)


def _prepare_texts(
    found: Source, mode: str | Preparation, mean: Numbers | None, std: Numbers | None, texts: TextOptions
) -> Preparation:
    """Returns the preparation of texts, and gives their parts the ids."""
    if (
        mean is not None
        or std is not None
        or (mode not in ("standard",) and not isinstance(mode, Preparation))
    ):
        raise DataError(
            f"{found.name}: preparation=, mean= and std= go with numbers; texts are cut into tokens (text=)"
        )
    texts = TextOptions.build(found.entries.get("text", texts))
    parts = {name: part for name, part in found.parts.items() if isinstance(part, TextPart)}
    like = mode if isinstance(mode, Preparation) else None
    preparation, held, notes = prepare_texts(parts, texts, unit=found.entries["unit"], like=like)
    found.parts |= held
    found.notes += notes
    return preparation


def _standard(
    found: Source, scale: float, mean: Numbers | None, std: Numbers | None
) -> dict[str, list[float]]:
    given = {"mean": _column(mean, "mean"), "std": _column(std, "std")}
    if given["mean"] is None or given["std"] is None:
        measured = _measure(found, scale)
        constant = int(measured[2].sum())
        if constant and given["std"] is None:
            what = "channels" if found.image else "features"
            found.notes.append(
                f"{constant:,} of {len(measured[2]):,} {what} are constant in the training part; their std is taken as 1"
            )
        given = {
            "mean": measured[0].tolist() if given["mean"] is None else given["mean"],
            "std": measured[1].tolist() if given["std"] is None else given["std"],
        }
    return {key: numbers for key, numbers in given.items() if numbers is not None}


def _column(numbers: Numbers | None, option: str) -> list[float] | None:
    if numbers is None:
        return None
    try:
        return [float(number) for number in np.atleast_1d(np.asarray(numbers, dtype=np.float64))]
    except (TypeError, ValueError):
        raise DataError(
            f"{option}: expected a number, or one a channel or feature, came {numbers!r}"
        ) from None


def _measure(found: Source, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Returns (mean, std, constant) of the training part: the same bits streamed as in memory."""
    train = found.parts["train"]
    if isinstance(train, StreamPart):
        elements = int(torch.Size(train.reader.shape).numel())
        if train.survey.sums is not None:
            pixels = len(train) * elements // train.reader.shape[0]
            return statistics_of_sums(train.survey.sums[:, train.rows].sum(1), count=pixels, scale=scale)
        parts = blocks(train.reader, train.rows, size=rows_in_chunk(elements))
        return statistics_of_chunks(block for _, block in parts)
    assert not isinstance(train, TextPart)
    inputs = train.inputs if isinstance(train, Part) else sample(train.dataset, len(train))
    if not isinstance(train, Part):
        found.notes.append(
            f"mean and std are those of {len(inputs):,} of {len(train):,} training examples, read once"
        )
    if inputs.dtype == torch.uint8 and found.image:
        return pixel_statistics(inputs, scale)
    return value_statistics(inputs)


def _first(part: AnyPart) -> Tensor:
    """Returns the first example, raw, (1, *shape)."""
    assert not isinstance(part, TextPart)
    if isinstance(part, Part):
        return part.inputs[:1]
    return part.reader.read(part.rows[:1]) if isinstance(part, StreamPart) else sample(part.dataset, 1)
