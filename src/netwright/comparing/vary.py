"""What `--vary` says: which entry of the recipe, and which values it takes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from netwright.architectures import networks
from netwright.errors import RecipeError, unknown_name
from netwright.recipe import Recipe, parse_setting

# The entries that have options of their own in `fit`, and the network's, by the names that people call them.
SHORT = {
    "activation": "network.activation",
    "hidden": "network.hidden",
    "dropout": "network.dropout",
    "network": "network.name",
    "optimizer": "optimizer.name",
    "lr": "optimizer.lr",
    "momentum": "optimizer.momentum",
    "weight_decay": "optimizer.weight_decay",
    "loss": "loss.name",
    "schedule": "schedule.name",
    "epochs": "train.epochs",
    "batch": "data.batch",
    "precision": "train.precision",
}
# What is tried where no values are given. Of the losses `huber` is left out: with its delta of 1 it is smooth-l1.
DEFAULTS: dict[str, tuple[Any, ...]] = {
    "network.activation": ("sigmoid", "tanh", "relu", "leaky-relu", "elu", "gelu", "silu"),
    "optimizer.name": ("sgd", "sgd-momentum", "sgd-nesterov", "adagrad", "rmsprop", "adam", "adamw"),
    "loss.name": ("cross-entropy", "nll", "bce", "bce-with-logits", "mse", "smooth-l1", "l1"),
}
LOSSES_FOR_NUMBERS = ("mse", "smooth-l1", "l1")
# A range that spans at least this factor is searched on a logarithmic scale.
LOGARITHMIC_FROM = 10


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, both included; `whole`: whole numbers only."""

    low: float
    high: float
    whole: bool

    @property
    def logarithmic(self) -> bool:
        return self.low > 0 and self.high / self.low >= LOGARITHMIC_FROM

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}"


@dataclass(frozen=True)
class Varied:
    """One entry of the recipe, dotted, and the values it takes: a list, or a range to search in."""

    key: str
    values: tuple[Any, ...] | Range

    @property
    def title(self) -> str:
        """The name that people call the entry by."""
        return next((short for short, key in SHORT.items() if key == self.key), self.key)


def parse_vary(text: str, *, task: str) -> list[Varied]:
    """Returns what one `--vary` varies: one entry, or several without values, each of which is varied alone.

    `task` of the data, `classification`, `regression` or `language`: other losses go with numbers.

    Raises:
        UnknownNameError: an entry that no recipe has; RecipeError: values that cannot be read, or too few of them.

    >>> parse_vary("lr=1e-3,1e-2", task="classification")
    [Varied(key='optimizer.lr', values=(0.001, 0.01))]
    >>> parse_vary("hidden=[64, 64],[128]", task="classification")[0].values
    ([64, 64], [128])
    """
    key, equals, values = text.partition("=")
    if equals:
        return [_with_values(_entry(key.strip()), values)]
    return [_with_default_values(_entry(name.strip()), task) for name in key.split(",")]


def _entry(name: str) -> str:
    """Returns the dotted entry that a name means."""
    if name in SHORT:
        return SHORT[name]
    if name in ("seed", "train.seed"):
        raise RecipeError("the seed is not varied but repeated: --seeds N trains every variant with N seeds")
    if name == "data.source":
        raise RecipeError("data.source cannot be varied: scores on other data say nothing about a choice")
    if "." not in name:
        raise unknown_name("entry to vary", name, SHORT)
    Recipe.locate(name)
    return name


def _with_default_values(key: str, task: str) -> Varied:
    if key not in DEFAULTS:
        known = ", ".join(name for name, entry in SHORT.items() if entry in DEFAULTS)
        raise RecipeError(
            f"{key}: which values? For example --vary {key}=A,B. Only {known} have a list of their own."
        )
    if key == "loss.name" and task == "language":
        raise RecipeError("loss: a language model has one loss, cross-entropy")
    values = LOSSES_FOR_NUMBERS if key == "loss.name" and task == "regression" else DEFAULTS[key]
    return Varied(key, values)


def _with_values(key: str, text: str) -> Varied:
    low, dots, high = text.partition("..")
    if dots:
        return Varied(key, _range(key, low, high))
    values = [parse_setting(f"{key}={part}")[1] for part in _parts(text)]
    if not text.strip() or any(value is None for value in values):
        raise RecipeError(f"--vary {key}={text}: a value is missing. For example --vary {key}=A,B")
    twice = next((value for place, value in enumerate(values) if value in values[:place]), None)
    if twice is not None:
        raise RecipeError(f"--vary {key}: {shown_value(twice)} stands there twice")
    return Varied(key, tuple(values))


def _range(key: str, low: str, high: str) -> Range:
    ends = [parse_setting(f"{key}={end}")[1] for end in (low, high)]
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in ends)
    if not numbers or not all(math.isfinite(end) for end in ends) or not ends[0] < ends[1]:
        raise RecipeError(
            f"--vary {key}={low}..{high}: a range goes from a number to a larger one, such as 1e-4..1e-1"
        )
    return Range(ends[0], ends[1], whole=all(isinstance(end, int) for end in ends))


def _parts(text: str) -> list[str]:
    """Returns what stands between the commas that are in no bracket."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[{(") - (letter in "]})")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def shown_value(value: Any) -> str:
    """Returns a value as a person would write it.

    >>> shown_value(0.001), shown_value([64, 64]), shown_value("relu"), shown_value(None)
    ('0.001', '[64, 64]', 'relu', 'auto')
    """
    if value is None:
        return "auto"  # such as the learning rate: the optimizer's own
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def value_of(recipe: Recipe, key: str) -> Any:
    """Returns what a recipe has for a dotted entry; for an option of the network that it leaves out, the network's own default."""
    section, _, entry = key.partition(".")
    values = getattr(recipe, section).model_dump()
    if entry in values or section != "network" or recipe.network.name not in networks:
        return values.get(entry)
    parameter = inspect.signature(networks[recipe.network.name]).parameters.get(entry)
    return None if parameter is None or parameter.default is parameter.empty else parameter.default


def titles(keys: Sequence[str]) -> list[str]:
    """Returns the names that people call entries by."""
    return [Varied(key, ()).title for key in keys]
