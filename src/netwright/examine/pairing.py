"""Whether the targets depend on the inputs at all: examples of the first steps against permutations of their targets.

Of each example a few numbers are kept (its features, pooled and folded to at most 256) beside its target, until one
question is answered: do examples that are near to one another have targets that are nearer than those of any two? It is
asked in three ways (a Gaussian kernel, the nearest neighbours, a linear kernel), each compared with the same sum after
the targets were permuted: a permutation test of the Hilbert-Schmidt independence criterion (Gretton et al., 2008).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from netwright.examine import measure
from netwright.examine.observation import Pairing, Place

if TYPE_CHECKING:
    from netwright.examine.observer import Observer

MOST_ROWS = 500
FEATURES = 256
LEAST_ROWS = 100
PERMUTATIONS = 60
NEIGHBOURS = 5
MOST_STORES = 4


class _Store:
    """What was kept of the examples that one network was given and one loss judged."""

    def __init__(self, module: int, place: Place | None, function: str) -> None:
        self.module, self.place, self.function = module, place, function
        self.features: list[Tensor] = []
        self.targets: list[Tensor] = []
        self.shape: tuple[int, ...] = ()
        self.seen: set[int] = set()
        self.rows = self.repeated = self.judged = 0


class Pairs:
    """Keeps examples of the steps that are watched, and judges them once."""

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self._stores: dict[Any, _Store] = {}
        self._given: tuple[int, Tensor, list[int], tuple[int, ...]] | None = None
        self._forwards = 0
        self._fold: dict[int, tuple[Tensor, Tensor]] = {}

    def forward(self, module: int, inputs: list[Tensor], marks: list[int]) -> None:
        """Notes what an outermost forward that records gradients was given; a second one before the loss spoils it.

        `marks` are the fingerprints of the examples of `inputs`, empty where they are not known.
        """
        self._forwards += 1
        self._given = None
        values = measure.plain(inputs[0]) if len(inputs) == 1 else None
        if self._forwards > 1 or values is None or values.dim() < 2 or len(values) < 2:
            return
        if not values.is_floating_point() or values.numel() == 0:
            return
        if all(store.rows >= MOST_ROWS for store in self._stores.values()) and self._stores:
            return
        some = values[:MOST_ROWS]
        marks = marks[:MOST_ROWS] or measure.fingerprints([some], MOST_ROWS)
        if len(marks) == len(some):
            self._given = module, self._reduced(some.float().cpu()), marks, tuple(values.shape)

    def backward(self) -> None:
        """A step's loss is known: the next forward belongs to another one."""
        self._given, self._forwards = None, 0

    def loss(self, function: str, place: Place | None, prediction: Any, target: Any) -> None:
        """Keeps the examples of a loss that has one target for each, a class or a number."""
        if self._given is None or not isinstance(prediction, Tensor) or not prediction.requires_grad:
            return
        module, features, marks, shape = self._given
        answers = measure.plain(target)
        if answers is None or answers.numel() != shape[0] or answers.dtype.is_complex:
            return
        if (
            answers.requires_grad
            or answers.dim() > 2
            or len(answers) != shape[0]
            or shape[0] != len(prediction)
        ):
            return
        key = (module, place, function, shape[1:])
        store = self._stores.get(key)
        if store is None:
            if len(self._stores) >= MOST_STORES:
                return
            store = self._stores[key] = _Store(module, place, function)
            store.shape = shape[1:]
        if store.rows >= MOST_ROWS:
            return
        new = [row for row, mark in enumerate(marks) if mark not in store.seen][: MOST_ROWS - store.rows]
        store.repeated += len(marks) - len(new)
        store.seen.update(marks)
        if new:
            index = torch.tensor(new)
            store.features.append(features.index_select(0, index))
            store.targets.append(answers.reshape(-1)[: len(features)].double().cpu().index_select(0, index))
            store.rows += len(new)

    def _reduced(self, values: Tensor) -> Tensor:
        if values.dim() == 4 and min(values.shape[2:]) > 8:
            values = torch.nn.functional.adaptive_avg_pool2d(values, 8)
        rows = values.reshape(len(values), -1)
        width = rows.shape[1]
        if width <= FEATURES:
            return rows.clone()
        if (
            width not in self._fold
        ):  # a count sketch: each feature is added to one of a few sums, or taken from it
            own = torch.Generator().manual_seed(0)
            places = torch.randint(0, FEATURES, (width,), generator=own)
            self._fold[width] = places, torch.randint(0, 2, (width,), generator=own) * 2.0 - 1.0
        places, signs = self._fold[width]
        return torch.zeros(len(rows), FEATURES).index_add_(1, places, rows * signs)

    def judge(self) -> None:
        """Writes a Pairing for each store that has grown enough since it was last judged."""
        observation = self.observer.observation
        for store in self._stores.values():
            if store.rows < LEAST_ROWS or store.rows < 1.5 * store.judged:
                continue
            store.judged = store.rows
            features, targets = torch.cat(store.features), torch.cat(store.targets)
            record = Pairing(self.observer.tick(), observation.step_count, store.function, store.place)
            record.module, record.shape = store.module, store.shape
            record.rows, record.repeated = store.rows, store.repeated
            counts = torch.unique(targets, return_counts=True)[1]
            record.distinct, record.largest = len(counts), float(counts.max()) / store.rows
            finite = bool(torch.isfinite(features).all() and torch.isfinite(targets).all())
            losses = [
                entry.value
                for entry in observation.losses
                if entry.place == store.place and entry.grad_enabled and entry.value is not None
            ]
            record.losses, late = len(losses), losses[len(losses) // 2 :]
            if record.distinct > 1 and finite:
                record.level = _level(store.function, targets, counts)
                record.late = sum(late) / len(late) if late else math.inf
                if record.at_chance or record.repeated > record.rows:  # else it is known that they depend
                    record.scores = scores(features, targets)
            observation.pairings[:] = [
                entry
                for entry in observation.pairings
                if (entry.place, entry.module) != (store.place, store.module)
            ]
            observation.pairings.append(record)


def _level(function: str, targets: Tensor, counts: Tensor) -> float | None:
    """Returns the loss of the best answer that is the same for every input, None for a loss that has none here."""
    if function in ("cross_entropy", "nll_loss") or function.startswith("binary_cross_entropy"):
        shares = counts.double() / counts.sum()
        return float(-(shares * shares.log()).sum())
    if function == "mse_loss":
        return float(targets.var(correction=0))
    if function == "l1_loss":
        return float((targets - targets.median()).abs().mean())
    return None


def scores(features: Tensor, targets: Tensor) -> tuple[float, float, float]:
    """Returns by how many deviations of a permutation the targets fit the features: kernel, neighbours, linear.

    `features` (rows, features) and `targets` (rows,), classes or numbers. Around 0 for targets that have nothing to do
    with the features; above about 3 it is no accident.
    """
    rows = len(features)
    deviation, mean = torch.std_mean(features, 0)
    features = ((features - mean) / deviation.clamp_min(1e-12))[:, deviation > 1e-9 * (1 + mean.abs())]
    if not features.shape[1]:
        return (0.0, 0.0, 0.0)
    features = features.clamp(-10, 10)
    # In few tables of (rows, rows), used again: what is made and dropped 60 times stays as holes in memory.
    likenesses = torch.empty(3, rows, rows)
    far, near, products = likenesses
    torch.mm(features, features.T, out=products)
    sizes = products.diagonal().clone()
    torch.sub(sizes[:, None] + sizes[None], products, alpha=2, out=far).clamp_min_(0)
    order = far.fill_diagonal_(math.inf).topk(min(NEIGHBOURS, rows - 1), largest=False).indices
    far.fill_diagonal_(0)
    some = far.view(-1)[:: 1 + rows * rows // 50_000]
    scale = some[some > 0].median() if bool((some > 0).any()) else torch.tensor(1.0)
    far.div_(-scale).exp_()
    near.zero_().scatter_(1, order, 1.0)
    near += near.T.clone()
    likenesses -= likenesses.mean(1, keepdim=True)
    likenesses -= likenesses.mean(2, keepdim=True)
    likenesses = likenesses.reshape(3, -1)
    if len(torch.unique(targets)) <= max(2, min(100, rows // 4)):
        alike = (targets[:, None] == targets[None]).float()
    else:
        ranks = targets.argsort().argsort().float() / rows
        alike = (ranks[:, None] - ranks[None]).square_().div_(-0.05).exp_()
    own = torch.Generator().manual_seed(1)
    real = likenesses @ alike.reshape(-1)
    drawn = []
    turned, both = torch.empty_like(alike), torch.empty_like(alike)
    for _ in range(PERMUTATIONS):
        mixed = torch.randperm(rows, generator=own)
        torch.index_select(alike, 0, mixed, out=turned)
        torch.index_select(turned, 1, mixed, out=both)
        drawn.append(likenesses @ both.reshape(-1))
    spread, centre = torch.std_mean(torch.stack(drawn).double(), 0)
    kernel, neighbours, linear = ((real.double() - centre) / spread.clamp_min(1e-12)).tolist()
    return kernel, neighbours, linear
