"""A shipped network in operations that every format can hold: the same answers, by other means.

Each stand-in computes what it stands for; where it rounds otherwise (a Fourier transform as a convolution), the certificate of an
export says by how much. A kind of preparation, or a layer, without an entry here goes into the graph as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, interpolate, pad
from torch.nn.utils import parametrize

from netwright.architectures.text import TextRecurrence, TokenBag
from netwright.data.fitted_images import FittedImages
from netwright.data.series import SeriesPreparation
from netwright.data.sound import SoundPreparation
from netwright.data.table import TablePreparation
from netwright.data.text import TextPreparation
from netwright.shipping.shipped import Shipped


def portable(shipped: Shipped) -> Shipped:
    """Returns a copy of a shipped network, in evaluation mode, that `torch.export` can follow; `shipped` stays as it is."""
    made = copy.deepcopy(shipped).eval().requires_grad_(False)
    made.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    for module in list(made.modules()):
        if parametrize.is_parametrized(module):
            _settle(module)
        if isinstance(module, TextRecurrence):
            module.__class__ = UnpackedRecurrence
        elif isinstance(module, TokenBag):
            module.__class__ = PlainBag
    stand_in = STAND_INS.get(made.preparation.kind)
    if stand_in is not None:
        made.preparation = stand_in(made.preparation)  # type: ignore[assignment]
    return made.eval()


def _settle(module: nn.Module) -> None:
    """Makes weights of what a parametrization (weight norm and its like) computes: they do not change any more.

    Not by `remove_parametrizations`: it takes the property from the class, which a copy shares with its original.
    """
    values = {name: getattr(module, name).detach() for name in module.parametrizations}  # type: ignore[union-attr]
    del module._modules["parametrizations"]
    module.__class__ = type(module).__mro__[1]
    for name, value in values.items():
        module.register_parameter(name, nn.Parameter(value, requires_grad=False))


class Texts(nn.Module):
    """Token ids (N, L) as they came: what is trimmed in training is padding, which changes no output."""

    def __init__(self, of: TextPreparation) -> None:
        super().__init__()

    def forward(self, raw: Tensor) -> Tensor:
        return raw.long()

    def in_units(self, values: Tensor) -> Tensor:
        return values


class Rows(nn.Module):
    """A TablePreparation without searches in sorted numbers and without scattering."""

    slots: Tensor

    def __init__(self, of: TablePreparation) -> None:
        super().__init__()
        self.of = of
        # What goes nowhere (-1) is at no place.
        self.register_buffer("slots", torch.arange(of.one_hot))

    def forward(self, raw: Tensor) -> Tensor:
        of = self.of
        numbers = raw[:, : of.numeric]
        missing = numbers.isnan()
        known = torch.where(missing, of.fill, numbers)
        parts = [
            self._pieces(known, missing) if of.edges else torch.where(missing, of.fill, self._scaled(known))
        ]
        if of.flags:
            parts.append(missing[:, of.flagged].float())
        if of.numeric < of.shape[0]:
            codes = of.places[raw[:, of.numeric :].long() + of.starts]
            parts.append(codes.float() if of.cardinalities else self._ones(codes))
        return torch.cat(parts, dim=1)

    def _scaled(self, numbers: Tensor) -> Tensor:
        of = self.of
        return _to_normal(numbers, of.quantiles) if len(of.quantiles) else (numbers - of.mean) / of.std

    def _pieces(self, known: Tensor, missing: Tensor) -> Tensor:
        of = self.of
        way = (known[:, of.owners] - of.lows) / of.spans
        way = torch.minimum(torch.maximum(way, of.least), of.most)
        return torch.where(missing[:, of.owners], torch.zeros_like(way), way)

    def _ones(self, codes: Tensor) -> Tensor:
        return (codes.unsqueeze(2) == self.slots).float().sum(1)

    def in_units(self, values: Tensor) -> Tensor:
        return self.of.in_units(values)


def _to_normal(numbers: Tensor, quantiles: Tensor) -> Tensor:
    """Returns what `data.table.to_normal` does, its searches as counts of the quantiles below."""
    last = quantiles.shape[1] - 1
    columns = numbers.T.unsqueeze(2)
    share = torch.zeros_like(numbers.T)
    for right in (False, True):
        below = columns >= quantiles.unsqueeze(1) if right else columns > quantiles.unsqueeze(1)
        place = below.long().sum(2).clamp(1, last)
        low, high = quantiles.gather(1, place - 1), quantiles.gather(1, place)
        # Between equal quantiles there is no way to go: what lies below is at its beginning, above at its end.
        flat, even = high == low, 0.0 if right else 1.0
        beside = torch.where(low == numbers.T, torch.full_like(share, even), (low < numbers.T).float())
        step = ((numbers.T - low) / torch.where(flat, torch.ones_like(high), high - low)).clamp(0, 1)
        share = share + (place - 1 + torch.where(flat, beside, step)) / (2 * last)
    return normal_quantile(share).T


# Wichura, "Algorithm AS 241: The Percentage Points of the Normal Distribution", Applied Statistics 37 (1988), PPND16:
# numerator and denominator of each of its three rational functions, from the highest power down.
# fmt: off
_CENTRAL = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
    (5226.495278852545925, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
     5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0),
)
_MIDDLE = (
    (7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
     3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
     0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0),
)
_OUTER = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386, 0.026532189526576123093,
     0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772),
    (2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
     0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769, 1.0),
)
# fmt: on


def normal_quantile(share: Tensor) -> Tensor:
    """Returns the standard normal distribution's quantile of shares from 1e-7 to 1 - 1e-7, others taken for these.

    `torch.special.ndtri` by arithmetic alone, without a number of 64 bits, which not every format has: what lies near 1 is taken
    from above.

    >>> round(float(normal_quantile(torch.tensor([0.975], dtype=torch.float64))[0]), 12)
    1.95996398454
    """
    middle = share - 0.5
    near = 0.180625 - middle * middle
    tail = (-torch.minimum(share, 1 - share).clamp(min=1e-7).log()).sqrt()
    central = middle * _ratio(_CENTRAL, near)
    outside = torch.where(tail <= 5, _ratio(_MIDDLE, tail - 1.6), _ratio(_OUTER, tail - 5))
    return torch.where(near >= 0, central, torch.where(middle < 0, -outside, outside))


def _ratio(rational: tuple[tuple[float, ...], tuple[float, ...]], at: Tensor) -> Tensor:
    above, below = (torch.zeros_like(at), torch.zeros_like(at))
    for numerator, denominator in zip(*rational, strict=True):
        above, below = above * at + numerator, below * at + denominator
    return above / below


class Waves(nn.Module):
    """A SoundPreparation whose Fourier transform is a convolution with cosines and sines."""

    filters: Tensor
    cosines: Tensor
    sines: Tensor

    def __init__(self, of: SoundPreparation) -> None:
        super().__init__()
        self.of = of
        # Of its own: a buffer that no state dict holds, as the preparation has it, ExecuTorch does not take.
        self.register_buffer("filters", of.filters.clone())
        # As torch.stft has it: the taper lies in the middle of a transform of `fft` samples.
        left = (of.fft - of.window) // 2
        taper = pad(of.taper.double(), (left, of.fft - of.window - left))
        turns = (
            torch.outer(torch.arange(of.fft // 2 + 1), torch.arange(of.fft)).remainder(of.fft).double()
            / of.fft
        )
        angle = 2 * torch.pi * turns
        self.register_buffer("cosines", (angle.cos() * taper).float().unsqueeze(1))
        self.register_buffer("sines", (angle.sin() * taper).float().unsqueeze(1))

    def forward(self, raw: Tensor) -> Tensor:
        of = self.of
        waves = pad(raw.float().unsqueeze(1), (of.fft // 2, of.fft // 2))
        real, imaginary = conv1d(waves, self.cosines, stride=of.hop), conv1d(waves, self.sines, stride=of.hop)
        power = torch.matmul(self.filters, real.square() + imaginary.square())
        bels = power.clamp(min=1e-16).log() / 2.302585092994046
        loudest = bels.amax((1, 2), keepdim=True).clamp(min=-8)
        return ((bels - loudest).clamp(min=-8).unsqueeze(1) - of.mean) / of.std

    def in_units(self, values: Tensor) -> Tensor:
        return values


class Windows(nn.Module):
    """A SeriesPreparation that asks for no device and no count of examples."""

    spread: Tensor
    centre: Tensor

    def __init__(self, of: SeriesPreparation) -> None:
        super().__init__()
        self.of = of
        places = list(of.places)
        self.register_buffer("spread", of.std[places])
        self.register_buffer("centre", of.mean[places])

    def forward(self, raw: Tensor) -> Tensor:
        return ((raw.double() - self.of.mean) / self.of.std).float()

    def in_units(self, values: Tensor) -> Tensor:
        of = self.of
        if of.horizon is None:
            return values
        return values.double().reshape(-1, of.horizon, len(of.targets)) * self.spread + self.centre


class Pictures(nn.Module):
    """A FittedImages that resizes by two products with matrices: bilinear resizing is linear, rows apart from columns."""

    rows: Tensor
    columns: Tensor

    def __init__(self, of: FittedImages) -> None:
        super().__init__()
        self.of = of
        _, height, width = of.takes
        high, wide = of.shape[1:]
        ratio = max(width / wide, height / high)
        size = max(height, round(high * ratio)), max(width, round(wide * ratio))
        top, left = (size[0] - height) // 2, (size[1] - width) // 2
        self.register_buffer("rows", _resizing(high, size[0])[top : top + height])
        columns = _resizing(wide, size[1])[left : left + width].T.contiguous()
        self.register_buffer("columns", columns)

    def forward(self, raw: Tensor) -> Tensor:
        of = self.of
        images = raw.float() / of.scale
        if of.shape[1:] != of.takes[1:]:
            images = torch.matmul(torch.matmul(self.rows, images), self.columns)
        if of.shape[0] == 1 and of.takes[0] > 1:
            images = torch.cat([images] * of.takes[0], dim=1)
        return (images - of.mean) / of.std

    def in_units(self, values: Tensor) -> Tensor:
        return values


def _resizing(given: int, wanted: int) -> Tensor:
    """Returns (wanted, given) float32: what each place of a resized line takes of each place of the line."""
    # Two columns wide: images of one column and several channels come out of torch 2.13's antialiased resizing mixed up.
    unit = torch.eye(given)[:, None, :, None].expand(-1, -1, -1, 2).contiguous()
    lines = interpolate(unit, (wanted, 2), mode="bilinear", antialias=True, align_corners=False)
    return lines[:, 0, :, 0].T.contiguous()


class UnpackedRecurrence(TextRecurrence):
    """A TextRecurrence over padded rows: what a packed sequence does for the backward direction, turning each text round does."""

    def forward(self, ids: Tensor) -> Tensor:
        there = ids != 0
        lengths = there.long().sum(1, keepdim=True).clamp(min=1)
        steps = torch.arange(ids.shape[1], device=ids.device).unsqueeze(0)
        turned = torch.where(
            steps < lengths, lengths - 1 - steps, steps
        )  # where the tokens of a text stand backwards
        x = self.tokens(ids)
        for layer in range(self.layers):
            found = [self._direction(x, f"l{layer}")]
            if self.bidirectional:
                back = self._direction(_taken(x, turned), f"l{layer}_reverse")
                found.append(_taken(back, turned))
            x = torch.cat(found, 2)
        # Not -inf: some formats make NaN of it. Below -1 lies no output of a cell.
        return self.head(torch.where((steps < lengths).unsqueeze(2), x, torch.full_like(x, -2.0)).amax(1))

    def _direction(self, x: Tensor, suffix: str) -> Tensor:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weights = [getattr(self.recurrence, f"{name}_{suffix}") for name in names]
        start = x.new_zeros(1, 1, self.hidden).expand(1, x.shape[0], self.hidden).contiguous()
        if self.cell == "lstm":
            return torch.lstm(x, (start, start), weights, True, 1, 0.0, False, False, True)[0]
        return torch.gru(x, start, weights, True, 1, 0.0, False, False, True)[0]


class PlainBag(TokenBag):
    """A TokenBag by looking up and adding up: bags of vectors are an operation that few formats have."""

    def forward(self, ids: Tensor) -> Tensor:
        features = _mean(self.tokens.weight, ids)
        if self.neighbours is not None:
            second = torch.cat([ids[:, 1:], torch.zeros_like(ids[:, :1])], 1)
            places = (ids * 1_000_003 + second) % (self.pairs - 1) + 1
            features = features + _mean(self.neighbours.weight, places * (second != 0).long())
        return self.head(features)


def _mean(vectors: Tensor, ids: Tensor) -> Tensor:
    there = (ids != 0).unsqueeze(2).to(vectors.dtype)
    return (nn.functional.embedding(ids, vectors) * there).sum(1) / there.sum(1).clamp(min=1)


def _taken(x: Tensor, places: Tensor) -> Tensor:
    """Returns x (N, L, D) with the rows of each example in the order of `places` (N, L)."""
    return x.gather(1, places.unsqueeze(2).expand(-1, -1, x.shape[2]))


STAND_INS: dict[str, Callable[[Any], nn.Module]] = {
    "text": Texts,
    "table": Rows,
    "sound": Waves,
    "series": Windows,
    "fitted-image": Pictures,
}
