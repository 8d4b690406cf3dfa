"""How sure a run's answers are: the temperature of its probabilities, and the guard that tells what is unlike its training data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from netwright.data.generators import kept_generators
from netwright.metrics import (
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
)
from netwright.metrics.probabilities import tempered
from netwright.shipping.guard import (
    PIECE,
    FeatureView,
    Guard,
    NumbersView,
    Tap,
    TokensView,
    View,
    last_layer,
    settle,
    views_for,
)
from netwright.training.evaluation import evaluation_mode
from netwright.training.precision import device_of

if TYPE_CHECKING:
    from netwright.data import Data

# With fewer validation examples a temperature is mostly chance.
EXAMPLES_AT_LEAST = 50
# More tell a temperature no better: with so many its standard error is about one part in a hundred.
EXAMPLES_AT_MOST = 10_000
# What a guard is fitted on, and where its limit is set: more hardly moves it (EXPERIMENTS.md), and costs passes through the network.
TRAINING_AT_MOST, HELD_AT_MOST = 5000, 2000
# Of larger examples fewer: so many numbers are prepared for each of the two at most, as long as there are LARGE_AT_LEAST examples.
NUMBERS_AT_MOST, LARGE_AT_LEAST = 40_000_000, 1000


@dataclass(frozen=True)
class Calibration:
    """The temperature of a classifier's probabilities, and on how many validation examples it was fitted.

    `nll`: their negative log-likelihood in nats, before and after; None, and a `reason`, where none was fitted.
    """

    temperature: float = 1.0
    examples: int = 0
    nll: tuple[float, float] | None = None
    reason: str | None = None

    @staticmethod
    def fitted(held: tuple[Tensor, Tensor] | None, *, learned: bool) -> Calibration:
        """Returns the calibration by validation examples: probabilities (N, C) and targets (N,), or None without any.

        `learned`: the examples were trained on as well.
        """
        if held is None:
            return Calibration(reason="there are no validation examples")
        places = _spread_out(len(held[1]), EXAMPLES_AT_MOST)
        probabilities, targets = held[0][places], held[1][places]
        count = len(targets)
        if learned:
            return Calibration(examples=count, reason="the validation examples were trained on")
        if count < EXAMPLES_AT_LEAST:
            return Calibration(
                examples=count, reason=f"{count} validation examples are fewer than {EXAMPLES_AT_LEAST}"
            )
        if not bool(probabilities.isfinite().all()):
            return Calibration(examples=count, reason="the network's outputs are not finite")
        temperature = fit_temperature(probabilities, targets)
        before, after = (
            negative_log_likelihood(probabilities, targets, temperature=one) for one in (1.0, temperature)
        )
        if not after < before:
            return Calibration(
                examples=count, nll=(before, before), reason="no temperature was better than 1"
            )
        return Calibration(temperature, count, (before, after))

    def entries(self, tested: tuple[Tensor, Tensor] | None) -> dict[str, Any]:
        """Returns what result.json keeps; `tested`: the test part's probabilities (N, C) before calibration, and targets."""
        before, after = self.nll or (None, None)
        errors: list[float | None] = [None, None]
        if tested is not None:
            errors = [
                expected_calibration_error(shares, tested[1]) for shares in self._before_and_after(tested[0])
            ]
        return {
            "temperature": self.temperature,
            "examples": self.examples,
            "nll_before": before,
            "nll_after": after,
            "ece_before": errors[0],
            "ece_after": errors[1],
            **({} if self.reason is None else {"reason": self.reason}),
        }

    def shown(self, tested: tuple[Tensor, Tensor] | None) -> dict[str, Any] | None:
        """Returns what the report shows of the test part: `entries`, and the bins `before` and `after`; None without one."""
        if tested is None:
            return None
        before, after = (reliability(shares, tested[1]) for shares in self._before_and_after(tested[0]))
        return {**self.entries(tested), "before": before, "after": after}

    def applied(self, held: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor] | None:
        """Returns probabilities (N, C) and targets with the former calibrated."""
        return None if held is None else (tempered(held[0], self.temperature), held[1])

    def _before_and_after(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        return probabilities, tempered(probabilities, self.temperature)


@dataclass(frozen=True, eq=False)
class Guarding:
    """A guard with what result.json keeps of it; None and a `reason` where there is none."""

    guard: Guard | None
    entries: dict[str, Any]

    @staticmethod
    def without(reason: str) -> Guarding:
        return Guarding(None, {"reason": reason})


def guarded(network: nn.Module, data: Data, *, share: float, learned: bool) -> Guarding:
    """Fits a guard to the training examples, as they are without augmentation, and sets its limit on validation examples.

    `share`: how many of these may lie above it; 0: no guard. `learned`: they were trained on as well. Draws no random number that anyone
    else would, and leaves the network as it is.
    """
    reason = _why_none(data, share=share, learned=learned)
    if reason is not None:
        return Guarding.without(reason)
    try:
        with evaluation_mode(network), kept_generators():
            return _guarded(network, data, share)
    except (RuntimeError, ValueError, TypeError) as error:
        # A network of anyone's may do what nobody thought of; what it has learned must not be lost for that.
        said = str(error).splitlines() or [type(error).__name__]
        return Guarding.without(f"it could not be fitted ({said[0]})")


def _why_none(data: Data, *, share: float, learned: bool) -> str | None:
    if share == 0:
        return "guard.share is 0"
    if data.task == "language":
        return "a language model has no guard"
    if learned:
        return "the validation examples were trained on"
    for name, part in (("training", data.train), ("validation", data.validation)):
        if len(part) < EXAMPLES_AT_LEAST:
            return f"{len(part)} {name} examples are fewer than {EXAMPLES_AT_LEAST}"
    return None


def _guarded(network: nn.Module, data: Data, share: float) -> Guarding:
    layer, views = _views(network, data)
    layer = layer if any(isinstance(view, FeatureView) for view in views) else None
    guard = Guard(views, layer=layer, share=share)
    vectors, classes = _vectors(network, guard, data.train, TRAINING_AT_MOST)
    if not all(bool(one.isfinite().all()) for one in vectors):
        return Guarding.without("the network's features are not finite")
    for view, some in zip(views, vectors, strict=True):
        view.fit(some, classes if len(view.centres) > 1 else None)
    held, _ = _vectors(network, guard, data.validation, HELD_AT_MOST)
    settle(guard, *([view.distances(one) for view, one in zip(views, some)] for some in (vectors, held)))
    entries = {
        "share": share,
        "views": [view.kind for view in views],
        "layer": layer,
        "examples": len(vectors[0]),
        "validation": len(held[0]),
    }
    if len(data.test):
        entries |= dict(zip(("flagged", "tested"), flagged(network, guard, data.test), strict=True))
    return Guarding(guard, entries)


def flagged(network: nn.Module, guard: Guard, part: Any) -> tuple[float, int]:
    """Returns the share of a part's examples that a guard takes for unlike the training data, and of how many.

    Those of a large part are evenly spread, HELD_AT_MOST of them.
    """
    with evaluation_mode(network), kept_generators():
        vectors, _ = _vectors(network, guard, part, HELD_AT_MOST)
    over = [view.distances(some) / view.limit for view, some in zip(guard.views, vectors, strict=True)]  # type: ignore[operator]
    return float((torch.stack(over).amax(0) > 1).float().mean()), len(vectors[0])


def _views(network: nn.Module, data: Data) -> tuple[str | None, list[View]]:
    """Returns the name of the layer whose input is looked at, and the views that suit the data, primed by its raw training examples."""
    device = device_of(network)
    few, _ = data.train.prepared(torch.arange(2))
    layer = last_layer(network, few.to(device))
    module = None if layer is None else network.get_submodule(layer)
    features = _features(network, module, few.to(device))
    classes = 1 if data.classes is None else len(data.train.targets.unique())
    views = views_for(data.preparation, few, features, layer=module, classes=classes)
    # A table that is not whole in memory has no raw rows at hand.
    views = [view for view in views if not isinstance(view, NumbersView) or hasattr(data.train, "inputs")]
    for view in views:
        if isinstance(view, NumbersView | TokensView):
            view.prime(_raw(data.train, _some(data.train, TRAINING_AT_MOST)))
    return layer, views


def _vectors(network: nn.Module, guard: Guard, part: Any, most: int) -> tuple[list[Tensor], Tensor | None]:
    """Returns the vectors (N, length) of a part's examples in each view, on the CPU, and their classes, of `most` examples at most."""
    device = device_of(network)
    layer = None if guard.layer is None else network.get_submodule(guard.layer)
    called = any(isinstance(view, FeatureView) for view in guard.views)
    found: list[list[Tensor]] = [[] for _ in guard.views]
    targets: list[Tensor] = []
    for rows in _some(part, most).split(int(part.evaluation_batch)):
        x, y = part.prepared(rows)
        features = _features(network, layer, x.to(device)).cpu() if called else x.cpu()
        raw, x = _raw(part, rows), x.cpu()
        for view, into in zip(guard.views, found, strict=True):
            pieces = zip(*(one.split(PIECE) for one in (x if raw is None else raw, x, features)), strict=True)
            into += [view.vectors(*piece) for piece in pieces]  # type: ignore[operator]
        targets.append(y.cpu())
    classes = torch.cat(targets)
    return [torch.cat(one) for one in found], None if classes.is_floating_point() else classes


def _features(network: nn.Module, layer: nn.Module | None, x: Tensor) -> Tensor:
    """Returns what the layer gets for a prepared batch, or the outputs."""
    tap = Tap()
    hook = None if layer is None else layer.register_forward_pre_hook(tap)
    try:
        with tap:
            outputs = network(x)
            features = tap.taken()
    finally:
        if hook is not None:
            hook.remove()
    return (outputs if features is None else features).float()


def _raw(part: Any, rows: Tensor) -> Any:
    """Returns raw examples where they lie in memory, else None."""
    inputs = getattr(part, "inputs", None)
    return None if inputs is None else inputs.index_select(0, rows.to(inputs.device)).cpu()


def _some(part: Any, most: int) -> Tensor:
    """Returns the places of `most` examples at most, evenly spread, or those of whole groups where examples are read in groups."""
    size = max(1, math.prod(part.preparation.prepared_shape))
    most = max(LARGE_AT_LEAST, min(most, NUMBERS_AT_MOST // size))
    reader = getattr(part, "reader", None)
    pools = None if reader is None else reader.pools(part.rows, seed=0, epoch=0)
    if pools is not None and len(part) > most:
        return pools.argsort(stable=True)[:most].sort().values
    return _spread_out(len(part), most)


def _spread_out(count: int, most: int) -> Tensor:
    """Returns `most` of `count` places, evenly spread (all of them if there are fewer)."""
    return torch.arange(count) if count <= most else torch.linspace(0, count - 1, most).round().long()
