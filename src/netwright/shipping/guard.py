"""How unlike the training data an input is: distances from it in several views, inside the graph that is shipped.

A view is a short vector of an example: what the network's last layer gets, the input itself made small, a few statistics of it. In each
view the training examples are taken for normally distributed about the centre of each class, with one covariance for all (Lee et al., "A
Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks", NeurIPS 2018); an example's distance is that
from the nearest centre (Mahalanobis). What each view is for, and what else was tried: EXPERIMENTS.md.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.data import Preparation
from netwright.data.series import SeriesPreparation
from netwright.data.table import TablePreparation
from netwright.data.text import TextPreparation
from netwright.data.tokens import PADDING
from netwright.errors import DataError

# A longer vector is folded to so many numbers: a covariance of more costs seconds to invert and megabytes to keep.
NUMBERS_AT_MOST = 256
# So many examples are taken at a time: what lies between a picture and its vector, and a second copy of the vectors, stay small.
PIECE = 128
# Directions in which the training examples hardly vary count as if they varied by this share of the mean.
LEAST_SHARE = 1e-3
VERSION = 1


class View(nn.Module):
    """Short vectors of examples, and how far they lie from those of the training examples: 1 is at the limit.

    `numbers`: the shapes of its tensors, by name; they are zeros until `fit` or `load_state_dict`.
    """

    kind: ClassVar[str]
    least_share: ClassVar[float] = LEAST_SHARE
    mean: Tensor
    whiten: Tensor
    centres: Tensor
    limit: Tensor

    signs: Tensor | None

    def __init__(self, *, wide: int, centres: int = 1) -> None:
        super().__init__()
        self.wide, self.length = wide, min(wide, NUMBERS_AT_MOST)
        length = self.length
        self.register_buffer("signs", signs_for(wide) if wide > length else None)
        self.register_buffer("mean", torch.zeros(length))
        self.register_buffer("whiten", torch.zeros(length, length))
        self.register_buffer("centres", torch.zeros(centres, length))
        self.register_buffer("limit", torch.ones(()))

    def settings(self) -> dict[str, Any]:
        """Returns what the class takes to be built again, but for the numbers."""
        return {"wide": self.wide, "centres": len(self.centres)}

    def vectors(self, raw: Tensor, prepared: Tensor, features: Tensor) -> Tensor:
        """Returns (N, length) float of a raw batch, the same prepared, and what the last layer got."""
        wide = self.wide_vectors(raw, prepared, features)
        return wide if self.signs is None else folded(wide, self.signs, self.length)

    def wide_vectors(self, raw: Tensor, prepared: Tensor, features: Tensor) -> Tensor:
        """Returns (N, wide) float, not yet folded."""
        raise NotImplementedError

    def forward(self, raw: Tensor, prepared: Tensor, features: Tensor) -> Tensor:
        """Returns (N,) float32: distances over the limit."""
        return self.distances(self.vectors(raw, prepared, features)) / self.limit

    def distances(self, vectors: Tensor) -> Tensor:
        """Returns (N,): from the nearest centre, in standard deviations."""
        white = (vectors - self.mean) @ self.whiten
        square = (white * white).sum(1, keepdim=True) + (self.centres * self.centres).sum(1)
        return (square - 2 * white @ self.centres.T).amin(1).clamp(min=0).sqrt()

    def fit(self, vectors: Tensor, classes: Tensor | None) -> None:
        """Takes centres and covariance from training examples: vectors (N, length), classes (N,) int64 or None."""
        double = vectors.double()
        mean = double.mean(0)
        double -= mean
        groups = torch.zeros(len(double), dtype=torch.int64) if classes is None else classes
        known, places = groups.unique(return_inverse=True)
        sums = torch.zeros(len(known), self.length, dtype=torch.float64).index_add_(0, places, double)
        centres = sums / torch.bincount(places)[:, None]
        for some, near in zip(double.split(PIECE), places.split(PIECE), strict=True):
            some -= centres[near]
        values, directions = torch.linalg.eigh(double.T @ double / len(double))
        least = max(float(values.clamp(min=0).mean()) * self.least_share, 1e-12)
        whiten = directions / values.clamp(min=least).sqrt()
        self.mean, self.whiten = mean.float(), whiten.float().contiguous()
        self.centres = (centres @ whiten).float()


class FeatureView(View):
    """What the last layer gets: in what the network has learned to tell apart."""

    kind = "features"

    def __init__(self, *, channels_last: bool, **numbers: Any) -> None:
        super().__init__(**numbers)
        self.channels_last = channels_last

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "channels_last": self.channels_last}

    def wide_vectors(self, raw: Tensor, prepared: Tensor, features: Tensor) -> Tensor:
        return pooled_features(features.float(), channels_last=self.channels_last)


class InputView(View):
    """The prepared input itself, pictures and spectrograms made small: in what lies together."""

    kind = "input"
    least_share = 1e-2

    def __init__(self, *, factor: int = 1, **numbers: Any) -> None:
        super().__init__(**numbers)
        self.factor = factor

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "factor": self.factor}

    def wide_vectors(self, raw: Tensor, prepared: Tensor, features: Tensor) -> Tensor:
        return smaller(prepared.float(), self.factor).flatten(1)


class StatisticsView(View):
    """Mean, and logarithms of spread and roughness, of each channel: blank and noisy inputs look ordinary to a network."""

    kind = "statistics"

    def wide_vectors(self, raw: Tensor, prepared: Tensor, features: Tensor) -> Tensor:
        return statistics_of(prepared.float())


class NumbersView(View):
    """A table's numbers before they are brought into the range of the training data, on a scale that has no end (asinh)."""

    kind = "numbers"
    centre: Tensor
    scale: Tensor

    def __init__(self, *, wide: int, centres: int = 1) -> None:
        super().__init__(wide=wide, centres=centres)
        self.register_buffer("centre", torch.zeros(wide))
        self.register_buffer("scale", torch.ones(wide))

    def prime(self, raw: Tensor) -> None:
        """Takes each column's middle and spread from raw training rows."""
        numbers = raw[:, : self.wide].double()
        known = ~numbers.isnan()
        count = known.sum(0).clamp(min=1)
        middle = numbers.nan_to_num(0.0).sum(0) / count
        away = torch.where(known, numbers - middle, 0.0)
        self.centre = middle.float()
        self.scale = (away.square().sum(0) / count).sqrt().clamp(min=1e-9).float()

    def wide_vectors(self, raw: Tensor, prepared: Tensor, features: Tensor) -> Tensor:
        numbers = (raw[:, : self.wide].float() - self.centre) / self.scale
        known = torch.where(numbers.isnan(), 0.0, numbers)
        # asinh in words that every format has.
        return known.sign() * (known.abs() + (known * known + 1).sqrt()).log()


class TokensView(View):
    """How seldom a text's tokens are in training (mean and spread of -log of their share), how many are unknown, its length."""

    kind = "tokens"
    surprise: Tensor

    def __init__(self, *, vocabulary: int, unknown: int, **numbers: Any) -> None:
        super().__init__(**numbers)
        self.vocabulary, self.unknown = vocabulary, unknown
        self.register_buffer("surprise", torch.zeros(vocabulary))

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "vocabulary": self.vocabulary, "unknown": self.unknown}

    def prime(self, raw: Tensor) -> None:
        """Counts the tokens of raw training texts; half a count for each token, seen or not (Jeffreys)."""
        counts = torch.bincount(raw.long().flatten(), minlength=self.vocabulary).double()
        counts[PADDING] = 0
        self.surprise = -((counts + 0.5) / (counts + 0.5).sum()).log().float()

    def wide_vectors(self, raw: Tensor, prepared: Tensor, features: Tensor) -> Tensor:
        ids = prepared.long()
        there = (ids != PADDING).float()
        count = there.sum(1).clamp(min=1)
        surprise = self.surprise[ids]
        mean = (surprise * there).sum(1) / count
        spread = ((surprise - mean[:, None]).square() * there).sum(1) / count
        unknown = ((ids == self.unknown).float() * there).sum(1) / count
        return torch.stack([mean, spread, unknown, count.log()], dim=1)


KINDS: dict[str, type[View]] = {
    view.kind: view for view in (FeatureView, InputView, StatisticsView, NumbersView, TokensView)
}


def pooled_features(features: Tensor, *, channels_last: bool) -> Tensor:
    """Returns (N, D) of what a layer got, (N, D, ...) or (N, ..., D): the mean over all places."""
    if features.dim() == 2:
        return features
    return features.flatten(1, -2).mean(1) if channels_last else features.flatten(2).mean(2)


def smaller(prepared: Tensor, factor: int) -> Tensor:
    """Returns pictures (N, C, H, W) with the mean of `factor` x `factor` pixels for each; anything else as it is."""
    return F.avg_pool2d(prepared, factor) if factor > 1 else prepared


def folded(vectors: Tensor, signs: Tensor, length: int) -> Tensor:
    """Returns (N, length) of vectors (N, D): of more, those a `length` apart are added, each with its sign, `signs` (D,) of 1 and -1.

    That keeps distances in the mean, as a count sketch does (Charikar, Chen, Farach-Colton 2002), and has no matrix to be shipped.

    >>> folded(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([1.0, 1.0, 1.0, -1.0]), 2).tolist()
    [[4.0, -2.0]]
    """
    wide = vectors.shape[1]
    rows = -(-wide // length)
    return F.pad(vectors * signs, (0, rows * length - wide)).reshape(-1, rows, length).sum(1)


def signs_for(wide: int) -> Tensor:
    """Returns (wide,) float of 1 and -1, the same everywhere."""
    draw = torch.randint(0, 2, (wide,), generator=torch.Generator().manual_seed(0))
    return (2 * draw - 1).float()


def statistics_of(prepared: Tensor) -> Tensor:
    """Returns the statistics of pictures (N, C, H, W), or of windows (N, rows, columns): 3 or 4 for each channel.

    Mean, log of the standard deviation, log of the mean step from a value to the next along each axis that has steps.
    """
    channels = prepared if prepared.dim() == 4 else prepared.transpose(1, 2)
    flat = channels.flatten(2)
    mean = flat.mean(2)
    parts = [mean, logarithm((flat - mean[..., None]).square().mean(2).sqrt())]
    for axis in range(2, channels.dim()):
        side = channels.shape[axis]
        if side > 1:
            step = channels.narrow(axis, 1, side - 1) - channels.narrow(axis, 0, side - 1)
            parts.append(logarithm(step.abs().flatten(2).mean(2)))
    return torch.cat(parts, dim=1)


def logarithm(size: Tensor) -> Tensor:
    # A blank input has no spread at all; a thousandth of that of the training data, which is about 1, is as good as none.
    return (size + 1e-3).log()


class Tap:
    """Keeps what a layer gets while `Shipped` calls its network; each thread has its own. The first call of a network's layer counts.

    A hook and not a wrapper: the network stays what it is, and torch.export sees through it.
    """

    def __init__(self) -> None:
        self.seen: dict[int, Tensor | None] = {}

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        thread = threading.get_ident()
        if thread in self.seen and self.seen[thread] is None and inputs:
            self.seen[thread] = inputs[0]

    def __enter__(self) -> Tap:
        self.seen[threading.get_ident()] = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.seen.pop(threading.get_ident(), None)

    def taken(self) -> Tensor | None:
        """Returns what the layer got since the block began."""
        return self.seen[threading.get_ident()]


class Guard(nn.Module):
    """How unlike the training data examples are, by the view in which they are the furthest from it.

    `layer`: the name of the layer whose input is a view, None: the outputs are. `share`: of the validation examples lies above 1.

    >>> view = InputView(wide=1)
    >>> view.fit(torch.tensor([[-1.0], [1.0]]), None)
    >>> batch = torch.tensor([[0.0], [3.0]])
    >>> Guard([view], layer=None, share=0.01)(batch, batch, batch).tolist()
    [0.0, 3.0]
    """

    def __init__(self, views: Sequence[View], *, layer: str | None, share: float) -> None:
        super().__init__()
        self.views = nn.ModuleList(views)
        self.layer, self.share = layer, share

    def forward(self, raw: Tensor, prepared: Tensor, features: Tensor) -> Tensor:
        """Returns (N,) float32: above 1 an example is unlike the training data."""
        scores = torch.stack([view(raw, prepared, features) for view in self.views], dim=1).amax(1)
        # What is no number is like nothing; nor may a NaN compare as ordinary.
        most = torch.finfo(torch.float32).max
        return torch.where(scores.isnan(), most, scores).clamp(max=most)

    def saved(self) -> bytes:
        """Returns the bytes of the file that `read` takes."""
        from safetensors.torch import save

        views = [{"kind": view.kind, **view.settings()} for view in self.views]  # type: ignore[operator]
        about = {"version": VERSION, "layer": self.layer, "share": self.share, "views": views}
        return save(dict(self.state_dict()), metadata={"guard": json.dumps(about)})

    @staticmethod
    def read(path: Path) -> Guard:
        """Returns the guard that is kept in a file; raises DataError for a file that is damaged or of a later version."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads((file.metadata() or {})["guard"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if about["version"] != VERSION:
                raise DataError(f"{path}: expected a guard of version {VERSION}, came {about['version']}")
            views = [_built(entries) for entries in about["views"]]
            guard = Guard(views, layer=about["layer"], share=float(about["share"]))
            guard.load_state_dict(tensors)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise DataError(f"{path} cannot be read ({error}): was it changed or cut?") from None
        return guard.eval()


def _built(entries: Mapping[str, Any]) -> View:
    return KINDS[entries["kind"]](**{name: value for name, value in entries.items() if name != "kind"})


def last_layer(network: nn.Module, example: Tensor) -> str | None:
    """Returns the name of the last layer with weights of its own whose input is one vector, or map, an example; None if there is none.

    `example`: prepared, (2, ...). The network is called once, as it is.
    """
    met: list[tuple[str, Any]] = []
    hooks = [
        module.register_forward_pre_hook(
            lambda _module, inputs, name=name: met.append((name, inputs[0] if inputs else None))
        )
        for name, module in network.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    ]
    try:
        network(example)
    finally:
        for hook in hooks:
            hook.remove()
    for name, given in reversed(met):
        if (
            isinstance(given, Tensor)
            and given.is_floating_point()
            and given.dim() >= 2
            and len(given) == len(example)
        ):
            return name or None  # the network itself, where it is one layer: its input is a view already
    return None


def views_for(
    preparation: Preparation,
    prepared: Tensor,
    features: Tensor,
    *,
    layer: nn.Module | None,
    classes: int,
) -> list[View]:
    """Returns the views that suit examples of this kind, not yet fitted.

    `prepared` (N, ...) and `features` (N, ...) of a few examples; `layer`: what gets the features, None: they are the outputs;
    `classes`: how many there are, 1 for numbers.
    """
    found: list[View] = []
    text = isinstance(preparation, TextPreparation)
    # The mean over a text's tokens would count the padding, which is that of the batch; and a forecast is a plain function of its window.
    forecast = isinstance(preparation, SeriesPreparation) and preparation.horizon is not None
    if not forecast and (features.dim() == 2 or not text):
        channels_last = not isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        wide = pooled_features(features, channels_last=channels_last).shape[1]
        found.append(FeatureView(wide=wide, centres=classes, channels_last=channels_last))
    if isinstance(preparation, TextPreparation):
        tokenizer = preparation.tokenizer
        return [*found, TokensView(wide=4, vocabulary=tokenizer.vocabulary, unknown=tokenizer.unknown)]
    factor = 1
    if prepared.dim() == 4:
        side = max(1, math.isqrt(NUMBERS_AT_MOST // prepared.shape[1]))
        factor = max(1, -(-max(prepared.shape[2:]) // side))
        factor = min(factor, *prepared.shape[2:])
    wide = smaller(prepared[:1].float(), factor).flatten(1).shape[1]
    found.append(InputView(wide=wide, factor=factor))
    if prepared.dim() == 4 or isinstance(preparation, SeriesPreparation):
        wide = statistics_of(prepared[:1].float()).shape[1]
        found.append(StatisticsView(wide=wide))
    if isinstance(preparation, TablePreparation) and preparation.numeric:
        found.append(NumbersView(wide=preparation.numeric))
    return found


def quantile(values: Tensor, share: float) -> float:
    """Returns the value (N,) above which at most `share` of further examples are expected, if they are drawn alike.

    The k-th smallest with k = ceil((N + 1) (1 - share)) (split conformal prediction: Vovk et al. 2005), the largest where N is too small.

    >>> quantile(torch.arange(1.0, 200.0), 0.01)
    198.0
    """
    place = math.ceil((len(values) + 1) * (1 - share) - 1e-9)
    return float(values.sort().values[min(place, len(values)) - 1])


def settle(guard: Guard, known: Sequence[Tensor], held: Sequence[Tensor]) -> None:
    """Sets the limits so that `guard.share` of validation examples, and of training examples, lies above 1 at most.

    `known`, `held`: the distances (N,) of training and of validation examples in each view. Both, because a validation part that is later
    in time than the training part may vary less: what is like the training examples is not strange.
    """

    def both(known: Tensor, held: Tensor) -> float:
        return max(quantile(known, guard.share), quantile(held, guard.share), 1e-12)

    limits = [both(*pair) for pair in zip(known, held, strict=True)]
    overall = both(*(_furthest(distances, limits) for distances in (known, held)))
    for view, limit in zip(guard.views, limits, strict=True):
        view.limit = torch.tensor(limit * overall)


def _furthest(distances: Sequence[Tensor], limits: Sequence[float]) -> Tensor:
    return torch.stack([one / limit for one, limit in zip(distances, limits, strict=True)]).amax(0)
