"""Which runs a comparison makes: variants of one recipe, each with several seeds."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netwright.architectures import networks
from netwright.comparing.vary import Range, Varied, shown_value, value_of
from netwright.errors import RecipeError
from netwright.recipe import Recipe
from netwright.registry import option_names

# What a loss wants the network to end in, where nobody says anything else: NLLLoss takes log-probabilities, BCELoss probabilities
# (https://docs.pytorch.org/docs/stable/nn.html#loss-functions).
ENDS_IN = {"nll": "log-softmax", "bce": "sigmoid"}
# Deep enough that a stack of sigmoids shows what it does to gradients (Glorot and Bengio 2010, "Understanding the difficulty of
# training deep feedforward neural networks", section 3.1, has five layers).
DEEP = [64, 64, 64, 64, 64]
AS_IT_IS = "default"


@dataclass(frozen=True)
class Variant:
    """One choice: what is other than in the recipe it varies, and the recipe of its first seed."""

    name: str
    entries: Mapping[str, Any]
    recipe: Recipe

    def seeded(self, seed: int) -> Recipe:
        return self.recipe.model_copy(update={"train": self.recipe.train.model_copy(update={"seed": seed})})


@dataclass(frozen=True)
class Sweep:
    """Variants that are compared with each other: by `keys`, the name and the values of each."""

    keys: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Any, ...]], ...]


@dataclass(frozen=True)
class Plan:
    """All variants, in the order in which they are shown, and the tables in which they stand."""

    base: Recipe
    variants: tuple[Variant, ...]
    sweeps: tuple[Sweep, ...]
    seeds: tuple[int, ...]

    def variant(self, name: str) -> Variant:
        return next(one for one in self.variants if one.name == name)


class Varying:
    """Makes variants of a recipe. `given`: the entries, dotted, that the person chose; they hold in every variant."""

    def __init__(self, base: Recipe, *, given: Sequence[str] = ()) -> None:
        self.base, self.given = base, frozenset(given)

    def variant(self, entries: Mapping[str, Any]) -> Variant:
        """Returns the variant in which `entries`, dotted, have these values.

        Options of an optimizer, a loss, a schedule or a network go with its name: with another name only those that the person
        gave stay. Raises RecipeError for a value that an entry cannot have.
        """
        changed = {key: value for key, value in entries.items() if value_of(self.base, key) != value}
        if not changed:
            return Variant(AS_IT_IS, {}, self.base)
        nested = self.base.model_dump()
        for section in {key.partition(".")[0] for key in changed if key.endswith(".name")}:
            kept = {
                name: value for name, value in nested[section].items() if f"{section}.{name}" in self.given
            }
            nested[section] = kept
        wanted = {**self._ending(changed), **changed}
        for key, value in wanted.items():
            section, _, entry = key.partition(".")
            nested[section][entry] = value
        named = {section: entries for section, entries in nested.items() if entries}
        return Variant(_slug(changed), wanted, Recipe.build(named, {}))

    def _ending(self, changed: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the activation that the network is to end in, where another loss wants one."""
        loss, network = changed.get("loss.name"), changed.get("network.name", self.base.network.name)
        key = "network.output_activation"
        if loss not in ENDS_IN or key in self.given or network not in networks:
            return {}
        takes = option_names(networks[network])
        return {key: ENDS_IN[loss]} if takes is None or "output_activation" in takes else {}


def grid_of(
    base: Recipe, options: Sequence[Sequence[Varied]], *, seeds: int, given: Sequence[str] = ()
) -> Plan:
    """Returns the plan of every combination of what the `--vary` options name; what one option lists without values is varied alone.

    Raises RecipeError for a value that an entry cannot have, or a range, which only a search takes.

    >>> base = Recipe.build({"data.source": "digits"})
    >>> plan = grid_of(base, [[Varied("optimizer.name", ("adam", "sgd"))], [Varied("data.batch", (32, 64))]], seeds=2)
    >>> [one.name for one in plan.variants]
    ['batch-32', 'default', 'optimizer-sgd-batch-32', 'optimizer-sgd']
    """
    varying = Varying(base, given=given)
    variants: dict[str, Variant] = {}
    sweeps = []
    for combined in itertools.product(*options):
        _check_combined(combined)
        rows = []
        lists = [one.values for one in combined if not isinstance(one.values, Range)]
        for values in itertools.product(*lists):
            made = varying.variant({one.key: value for one, value in zip(combined, values, strict=True)})
            variants.setdefault(made.name, made)
            rows.append((made.name, values))
        sweeps.append(Sweep(tuple(one.key for one in combined), tuple(rows)))
    return Plan(base, tuple(variants.values()), tuple(sweeps), seeds_from(base, seeds))


def _check_combined(combined: Sequence[Varied]) -> None:
    keys = [one.key for one in combined]
    twice = next((key for place, key in enumerate(keys) if key in keys[:place]), None)
    if twice is not None:
        raise RecipeError(f"{twice} is varied twice: give all its values in one --vary")
    for one in combined:
        if isinstance(one.values, Range):
            raise RecipeError(
                f"--vary {one.title}={one.values} is a range: say how many values to try with --search N, or give a list"
            )


def seeds_from(base: Recipe, count: int) -> tuple[int, ...]:
    return tuple(range(base.train.seed, base.train.seed + count))


def deep_enough(base: Recipe, *, given: Sequence[str]) -> dict[str, Any]:
    """Returns what the default comparison changes in the recipe: an mlp of five hidden layers, where the person chose no layers."""
    return {"network.hidden": DEEP} if base.network.name == "mlp" and "network.hidden" not in given else {}


def _slug(entries: Mapping[str, Any]) -> str:
    """Returns a folder's name for what is varied; a long one ends in a part of its hash.

    >>> _slug({"network.activation": "leaky-relu", "optimizer.lr": 0.001})
    'activation-leaky-relu-lr-0.001'
    """
    parts = [f"{Varied(key, ()).title}-{shown_value(value)}" for key, value in entries.items()]
    text = re.sub(r"[^\w.\-]+", "-", "-".join(parts)).strip("-.")
    exact = all(
        not isinstance(value, float) or float(shown_value(value)) == value for value in entries.values()
    )
    if len(text) <= 80 and exact:
        return text
    digest = hashlib.sha256(json.dumps(dict(entries), default=str).encode()).hexdigest()[:8]
    return f"{text[:70]}-{digest}"
