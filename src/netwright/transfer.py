"""Transfer: what a run's network begins from, and what of it learns."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from netwright.architectures import find_pretrained, is_pretrained, pretrained, try_on_example
from netwright.architectures import network as build_network
from netwright.architectures.heads import find_head, layer_named, replace_head, stages_before
from netwright.architectures.published import LIBRARIES
from netwright.architectures.weight_files import SUFFIXES, fill, read_weights, without_prefix
from netwright.errors import DataError, NetworkError, RecipeError, UnknownNameError
from netwright.training.freezing import Freezing

if TYPE_CHECKING:
    from netwright.data import Data, Preparation
    from netwright.recipe import Recipe

# The learning rate of the last stage over that of a new head, which has all to learn.
BACKBONE_LR = 0.01
TAKES = (
    "finetune takes a finished run's folder, a file of weights (.safetensors, .pt, .pth) with --network file.py:Class, or the name "
    "of a pretrained network"
)


@dataclass(frozen=True)
class Origin:
    """What a network begins from.

    Args:
        called: what it is called in messages. about: what it is, in a line.
        network: the entries of a recipe's section `network` that build it; None: it does not say.
        outputs: how many outputs it has; None: not known, or it has no head.
        read: returns its weights, and sentences about where they were.
        preparation: what its data went through; None: not known.
        classes: what its outputs mean, where that is known.
        headless: its weights have no head, so one is made in any case.
    """

    called: str
    about: str
    read: Callable[[], tuple[dict[str, Tensor], list[str]]]
    network: Mapping[str, Any] | None = None
    outputs: int | None = None
    preparation: Preparation | None = None
    classes: tuple[str, ...] | None = None
    headless: bool = False

    @cached_property
    def weights(self) -> tuple[dict[str, Tensor], list[str]]:
        return self.read()


@dataclass(frozen=True)
class Begun:
    """A network with the weights of its origin, the entries of `transfer` that were settled, and what happened, in sentences."""

    network: nn.Module
    settled: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def network_entries(source: str) -> dict[str, Any]:
    """Returns the section `network` of a recipe that begins from `source`; empty for a file of weights, which names none."""
    if _is_weights_file(source):
        return {}
    return dict(open_origin(source).network or {})


def open_origin(source: str) -> Origin:
    """Returns what SOURCE is: a finished run, a pretrained network by name, or a file of weights. Raises NetwrightError."""
    path = Path(source).expanduser()
    if path.is_dir():
        return _of_run(path)
    if is_pretrained(source):
        return _of_pretrained(source)
    if _is_weights_file(source):
        if not path.is_file():
            raise RecipeError(f"there is no file {path} to take weights from.\n{TAKES}.")
        return Origin(path.name, f"the weights in {path}", lambda: read_weights(path))
    if path.exists():
        raise RecipeError(f"{path} is neither a run nor a file of weights ({', '.join(SUFFIXES)}).\n{TAKES}.")
    near = difflib.get_close_matches(source, pretrained, n=2, cutoff=0.5)
    hint = f": did you mean {' or '.join(near)}?" if near else "."
    known = ", ".join([*sorted(pretrained), *(f"{library}:NAME" for library in LIBRARIES)])
    raise UnknownNameError(f"there is no run, file or pretrained network {source!r}{hint}\n{TAKES}: {known}.")


def _is_weights_file(source: str) -> bool:
    return Path(source).suffix.lower() in SUFFIXES and not is_pretrained(source)


def _of_run(path: Path) -> Origin:
    from netwright.run import Run
    from netwright.run_files import FROM_PYTHON, WEIGHTS

    run = Run(path)
    if not run.finished:
        raise RecipeError(f"the run in {path} is not finished.\nGo on with it first: netwright resume {path}")
    entries = run.recipe.network.model_dump()
    if entries["name"] == FROM_PYTHON:
        raise RecipeError(
            f"the network of {path} was a Python object, which cannot be built again.\n"
            f"Take its weights with the class: netwright finetune {path / WEIGHTS} DATA --network file.py:Class"
        )
    return Origin(
        str(path),
        f"the run {path} ({run.title})",
        lambda: (_weights_of(run), []),
        network=entries,
        outputs=int(run.meaning["num_outputs"]),
        preparation=run.preparation,
        classes=run.classes,
    )


def _weights_of(run: Any) -> dict[str, Tensor]:
    """Returns the weights of a run, as `network` would have them: a damaged file is told as it tells it."""
    weights = run.network.state_dict()
    assert isinstance(weights, dict)
    return weights


def _of_pretrained(name: str) -> Origin:
    from netwright.data import Preparation

    found = find_pretrained(name)
    return Origin(
        name,
        found.about,
        lambda: (found.weights(), []),
        network=found.network,
        outputs=found.outputs,
        preparation=Preparation.from_dict(found.preparation()),
        headless=found.outputs is None,
    )


def preparation_for(origin: Origin, recipe: Recipe) -> Preparation | None:
    """Returns the origin's preparation as one for the recipe's data; None: the data decides its own.

    Raises RecipeError for entries of the recipe that the origin has decided.
    """
    from netwright.data.fitted_images import fitted_to
    from netwright.data.kinds import kind_of
    from netwright.run_files import FROM_PYTHON

    kept = origin.preparation
    if kept is None:
        return None
    decided: dict[str, Any] = {"data.mean": recipe.data.mean, "data.std": recipe.data.std}
    decided |= {
        "data.preparation": None if recipe.data.preparation == "standard" else recipe.data.preparation
    }
    if kept.takes_text:
        decided["text.vocabulary"] = recipe.text.vocabulary
        decided["text.tokens"] = None if recipe.text.tokens == "auto" else recipe.text.tokens
    for entry, value in decided.items():
        if value is not None:
            raise RecipeError(
                f"{entry}={value}: a pretrained network wants its data as it was in its own training, so {origin.called} decides it.\n"
                "Leave it out."
            )
    kind = kind_of(
        str(recipe.data.source),
        target=recipe.data.target,
        text_column=recipe.text.column,
        series=recipe.series.model_dump(),
    )
    wanted, came = _told(kept.kind), "images or arrays" if kind is None else _told(kind)
    alike = came == wanted or (kind is None and kept.kind in ("image", "fitted-image", "features"))
    if recipe.data.source != FROM_PYTHON and not alike:
        raise DataError(f"{origin.called} takes {wanted}; {recipe.data.source} holds {came}")
    return fitted_to(kept, size=recipe.data.size)


def _told(kind: str) -> str:
    return {
        "image": "images",
        "fitted-image": "images",
        "features": "rows of numbers",
        "table": "tables",
        "text": "texts with targets",
        "corpus": "a text to continue",
        "sound": "recordings",
        "series": "series, told by series.horizon or series.window",
        "windows": "series, told by series.horizon or series.window",
    }.get(kind, kind)


def begin_from(origin: Origin, recipe: Recipe, data: Data) -> Begun:
    """Builds the recipe's network for `data` with the weights of `origin` and a head of its own.

    Raises NetwrightError, naming the weights that do not fit.
    """
    weights, notes = origin.weights
    notes = [f"begins from {origin.about}", *notes]
    module, head, weights, said = _built(origin, recipe, data, weights)
    keep = _keeps_head(origin, recipe, data, head)
    spared = [] if keep or head is None else [head]
    called = recipe.network.name
    left = fill(module, weights, where=origin.called, called=called, spared=spared)
    notes += [*said, *([] if origin.headless else left)]
    if keep:
        notes.append(f"the head ({head}) is kept" if head else "the network is kept whole")
    else:
        assert head is not None
        new = replace_head(module, head, data.num_outputs)
        notes.append(f"the head ({head}) is made anew: {new}")
    try_on_example(
        module,
        data.example,
        data.num_outputs,
        task=data.task,
        output_shape=getattr(data, "output_shape", None),
    )
    freeze: str = recipe.transfer.freeze
    if freeze == "auto":
        freeze = "none" if keep else "backbone"
    rate = recipe.transfer.backbone_lr
    if rate is None:
        rate = 1.0 if keep else BACKBONE_LR
    settled = {"head": head, "keep_head": keep, "freeze": freeze, "backbone_lr": rate}
    return Begun(module, settled, [*notes, *_what_learns(recipe, settled, module, data)])


def _built(
    origin: Origin, recipe: Recipe, data: Data, weights: dict[str, Tensor]
) -> tuple[nn.Module, str | None, dict[str, Tensor], list[str]]:
    """Returns the network as the weights have it, its head, and the weights under its names."""
    outputs = data.num_outputs if origin.outputs is None else origin.outputs
    module = _network(recipe, data, outputs)
    weights, prefix = without_prefix(weights, module)
    said = [f"what a wrapper put before each name is left out: {prefix}"] if prefix else []
    head = _head(recipe, module, data)
    found = weights.get(f"{head}.weight")
    if (
        origin.outputs is None
        and found is not None
        and len(found) != outputs
        and not recipe.transfer.keep_head
    ):
        # A class that is told how many outputs it has gets as many as the file's head has, for whatever else depends on it.
        module = _network(recipe, data, len(found))
    return module, head, weights, said


def _network(recipe: Recipe, data: Data, outputs: int) -> nn.Module:
    return build_network(
        recipe.network.name,
        input_shape=data.input_shape,
        num_outputs=outputs,
        facts=data.preparation.facts,
        **recipe.network.options(),
    )


def _head(recipe: Recipe, module: nn.Module, data: Data) -> str | None:
    if recipe.transfer.head is not None:
        layer_named(module, recipe.transfer.head)
        return recipe.transfer.head
    try:
        return find_head(module, data.example)
    except NetworkError:
        if recipe.transfer.keep_head or data.task == "language":
            return None
        raise
    except Exception as error:
        shape = " x ".join(map(str, data.input_shape))
        said = str(error).splitlines()[0] if str(error) else ""
        raise NetworkError(
            f"{recipe.network.name} cannot take an example of this data ({shape}): {type(error).__name__}: {said}"
        ) from error


def _keeps_head(origin: Origin, recipe: Recipe, data: Data, head: str | None) -> bool:
    if data.task == "language":
        if origin.outputs != data.num_outputs:
            raise DataError(
                f"{origin.called} predicts one of {origin.outputs} tokens, {data.name} has {data.num_outputs}: not the same text"
            )
        return True
    if not recipe.transfer.keep_head:
        return False
    if origin.headless:
        raise RecipeError(f"transfer.keep_head: {origin.called} has no head that could be kept")
    if origin.classes is not None and origin.classes != data.classes:
        raise RecipeError(
            f"transfer.keep_head keeps outputs that mean {', '.join(origin.classes[:5])}; {data.name} has "
            f"{', '.join((data.classes or ('numbers',))[:5])}. The same classes in the same order are needed."
        )
    if origin.outputs is not None and origin.outputs != data.num_outputs:
        raise RecipeError(
            f"transfer.keep_head keeps {origin.outputs} outputs; {data.name} needs {data.num_outputs}"
        )
    return True


def freezing_of(recipe: Recipe, module: nn.Module, data: Data) -> Freezing | None:
    """Returns what of a network learns when, as the section `transfer` says; None for a network that begins from nothing."""
    asked = recipe.transfer
    if asked.source is None:
        return None
    stages = stages_before(module, asked.head or "", data.example, count=asked.stages)
    if not stages:
        raise NetworkError("there is no layer with weights before the head: nothing to transfer")
    assert asked.freeze != "auto" and asked.backbone_lr is not None
    return Freezing(
        stages=tuple(map(tuple, stages)),
        head=asked.head,
        freeze=asked.freeze,
        every=asked.unfreeze_every,
        rate=asked.backbone_lr,
        decay=asked.layer_decay,
        batch_norm=asked.batch_norm,
    )


def _what_learns(recipe: Recipe, settled: dict[str, Any], module: nn.Module, data: Data) -> list[str]:
    asked = recipe.transfer.model_copy(update=settled)
    freezing = freezing_of(recipe.model_copy(update={"transfer": asked}), module, data)
    assert freezing is not None
    count = len(freezing.stages)
    if freezing.freeze == "backbone":
        return ["all but the head is frozen (transfer.freeze)"]
    places = "; ".join(f"{part[0]} to {part[-1]}" if len(part) > 1 else part[0] for part in freezing.stages)
    rates = ", ".join(f"{factor:.3g}" for factor in freezing.factors()[:count])
    when = "all learn from the beginning"
    if freezing.changes:
        each = "each epoch" if freezing.every == 1 else f"every {freezing.every} epochs"
        when = f"one more learns {each}, from the last on"
    return [f"stages of the network: {places}", f"{when}; learning rates are {rates} times the head's"]


def built_again(recipe: Recipe, module: nn.Module, num_outputs: int) -> nn.Module:
    """Returns a network as `begin_from` made it, with fresh weights, from one as the recipe's section `network` builds it."""
    asked = recipe.transfer
    if asked.source is not None and not asked.keep_head and asked.head is not None:
        replace_head(module, asked.head, num_outputs)
    return module
