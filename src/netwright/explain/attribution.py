"""What an answer rests on: how much each part of an input adds to it, by Captum, and whether such a map tells anything at all.

Every map is made of a `Call`, which maps a prepared batch to one number an example: what is explained. The same map is made of the same
network with its weights shuffled; if it hardly changes, it shows the input, not what was learned (Adebayo et al., "Sanity Checks for
Saliency Maps", NeurIPS 2018).
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from netwright.errors import ExplanationError
from netwright.metrics.probabilities import Meaning

Call = Callable[[Tensor], Tensor]
Score = Callable[[Tensor], Tensor]
# Networks with shuffled weights that a map is compared with, more where it has few parts, whose ranks agree by chance: of 8 parts the size
# of the correlation is 0.3 on average, give or take 0.2. From which mean of its size on a map says little of the weights.
SHUFFLED, SHUFFLED_OF_FEW, FEW = 3, 10, 64
ALIKE_FROM = 0.5
PARTS_AT_LEAST = 5
STEPS = 50
ORDERS = 20
SEED = 0
# What one call of the network may hold: prepared numbers.
NUMBERS_AT_ONCE = 4_000_000
ROWS_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Attribution:
    """How much each part of an input adds to what is explained.

    `values`: float32, (C, H, W) or (H, W) or (T, C) as the prepared input, or (parts,). `signed`: whether below 0 speaks against it.
    `sum_wanted`: what the values must add up to by the method's own law, None where it has none. `likeness`: the mean size of the rank
    correlation (Spearman, 0 to 1) with the same map of shuffled weights; None, and a `reason`, where it cannot be told.
    """

    method: str
    values: Tensor
    signed: bool = True
    sum_wanted: float | None = None
    likeness: float | None = None
    reason: str | None = None

    @property
    def tells(self) -> bool | None:
        """Whether the map changes with the weights, as it must; None where that cannot be told."""
        return None if self.likeness is None else self.likeness < ALIKE_FROM


def captum() -> Any:
    """Returns `captum.attr`; raises ExplanationError where it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import captum.attr
    except ImportError as error:
        raise ExplanationError(
            f"explaining a prediction needs {error.name}, which is not installed: pip install 'netwright[explain]'"
        ) from None
    return captum.attr


# ---- what is explained ----


def log_odds(outputs: Tensor, place: int, *, meaning: Meaning, against: int | None = None) -> Tensor:
    """Returns (N,) float, in nats: the logarithm of p / (1 - p) of the class at `place`, or of p over that of the class `against`.

    `outputs` (N, C) float as `meaning` has them.

    >>> log_odds(torch.tensor([[0.0, 0.0]]), 1, meaning="logits").tolist()
    [0.0]
    """
    weights = _log_weights(outputs, meaning)
    if against is not None:
        return weights[:, place] - weights[:, against]
    others = torch.cat([weights[:, :place], weights[:, place + 1 :]], dim=1)
    return weights[:, place] - others.logsumexp(dim=1)


def _log_weights(outputs: Tensor, meaning: Meaning) -> Tensor:
    """Returns (N, C) logarithms of numbers that are to one another as the probabilities are."""
    if meaning in ("logits", "log-probabilities"):
        return outputs
    apart = outputs.reshape(len(outputs), -1)
    if meaning == "shares-apart":
        tiny = torch.finfo(apart.dtype).eps
        apart = apart.clamp(tiny, 1 - tiny)
    if apart.shape[1] == 1:  # it speaks for class 1 of two
        logit = apart if meaning == "logits-apart" else apart.logit()
        return torch.cat([torch.zeros_like(logit), logit], dim=1)
    return nn.functional.logsigmoid(apart) if meaning == "logits-apart" else apart.log()


# ---- maps of numbers ----


def saliency(call: Call, prepared: Tensor) -> Tensor:
    """Returns how fast the answer changes with each number of one example, (1, ...) float: the size of the gradient, (...).

    Simonyan, Vedaldi & Zisserman, "Deep Inside Convolutional Networks", ICLR workshop 2014, section 3.
    """
    with _quiet():
        found = captum().Saliency(call).attribute(_fresh(prepared), abs=True)
    return found.detach()[0].float()


def integrated_gradients(call: Call, prepared: Tensor, baseline: Tensor) -> Tensor:
    """Returns what each number of one example, (1, ...), adds to the answer on the way from `baseline`, (1, ...): (...).

    They add up to the difference of the two answers (Sundararajan, Taly & Yan, "Axiomatic Attribution for Deep Networks", ICML 2017).
    """
    at_once = max(1, min(STEPS, NUMBERS_AT_ONCE // max(1, prepared.numel())))
    with _quiet():
        found = (
            captum()
            .IntegratedGradients(call, multiply_by_inputs=True)
            .attribute(_fresh(prepared), baselines=baseline, n_steps=STEPS, internal_batch_size=at_once)
        )
    return found.detach()[0].float()


def occlusion(call: Call, prepared: Tensor, baseline: Tensor, *, window: Sequence[int]) -> Tensor:
    """Returns how much the answer falls where a window of one example, (1, ...), is covered by `baseline`: (...).

    `window`: the sides of what is covered, one for each side of the example; it moves by half of each. Where windows overlap
    their falls are averaged (Zeiler & Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section 4.2).
    """
    strides = tuple(
        max(1, side // 2) if side < whole else side for side, whole in zip(window, prepared.shape[1:])
    )
    with _quiet(), torch.no_grad():
        found = (
            captum()
            .Occlusion(call)
            .attribute(
                prepared,
                sliding_window_shapes=tuple(window),
                strides=strides,
                baselines=baseline,
                perturbations_per_eval=_at_once(prepared),
            )
        )
    return found.detach()[0].float()


# ---- parts that are there or not ----


def leave_one_out(score: Score, parts: int, *, rows: int = 1, at_once: int = ROWS_AT_ONCE) -> Tensor:
    """Returns how much the answer falls without each of the parts: (parts,) float.

    `score` maps (N, parts) of ones and zeros, which parts are there, to (N,); see `shapley` for `rows`.
    """
    there, none = torch.ones(rows, parts), torch.zeros(rows, parts)
    with _quiet(), torch.no_grad():
        ablation = captum().FeatureAblation(score)
        found = ablation.attribute(there, baselines=none, perturbations_per_eval=max(1, at_once // rows))
    return found.detach().mean(dim=0).float()


def shapley(score: Score, parts: int, *, rows: int = 1) -> Tensor:
    """Returns the Shapley values of the parts, (parts,) float, from random orders in which they come in.

    They add up to the answer with all parts less that with none, in every order and so exactly (Strumbelj & Kononenko, "Explaining
    prediction models and individual predictions with feature contributions", 2014). `rows`: how many worlds `score` knows, one
    after the other along the batch (what stands in for an absent part, say); the values are those of the mean over them.
    """
    there, none = torch.ones(rows, parts), torch.zeros(rows, parts)
    with _quiet(), torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        found = captum().ShapleyValueSampling(score).attribute(there, baselines=none, n_samples=ORDERS)
    return found.detach().mean(dim=0).float()


def token_gradients(call: Call, ids: Tensor, layer: nn.Module, *, baseline: int) -> Tensor:
    """Returns integrated gradients of each token of one text, (1, L) int64 ids, through the embedding `layer`: (L,) float.

    The way begins at a text of as many tokens `baseline`.
    """
    with _quiet():
        found = (
            captum()
            .LayerIntegratedGradients(call, layer)
            .attribute(
                ids, baselines=torch.full_like(ids, baseline), n_steps=STEPS, internal_batch_size=STEPS
            )
        )
    return found.detach()[0].sum(dim=-1).float()


def embedding_of(network: nn.Module, ids: Tensor) -> nn.Embedding | None:
    """Returns the embedding that is given these ids, (1, L), as they are; None where the network has none."""
    found: list[nn.Embedding] = []

    def look(module: nn.Module, given: tuple[Any, ...]) -> None:
        if (
            given
            and isinstance(given[0], Tensor)
            and given[0].shape == ids.shape
            and torch.equal(given[0], ids)
        ):
            assert isinstance(module, nn.Embedding)
            found.append(module)

    hooks = [
        module.register_forward_pre_hook(look)
        for module in network.modules()
        if isinstance(module, nn.Embedding)
    ]
    try:
        with torch.no_grad():
            network(ids)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


# ---- does the map tell anything? ----


def compared(method: str, make: Callable[[Call], Tensor], network: nn.Module, explained: Callable[[Tensor], Tensor],
             *, signed: bool = True, sum_wanted: float | None = None) -> Attribution:  # fmt: skip
    """Returns the map that `make` makes of a network, and how like it is to the same map of shuffled weights.

    `explained` maps the network's outputs (N, ...) to the (N,) numbers that are explained.
    """
    values = make(lambda prepared: explained(network(prepared)))
    if not bool(values.isfinite().all()):
        raise ExplanationError(f"{method}: the network's answers are not finite numbers")
    found = Attribution(method, values, signed, sum_wanted)
    if values.numel() < PARTS_AT_LEAST:
        return _with(found, reason=f"{values.numel()} parts are too few to compare maps")
    if float(values.std()) == 0:
        return _with(found, reason="the map is the same everywhere")
    count = SHUFFLED if values.numel() >= FEW else SHUFFLED_OF_FEW
    likeness = [
        abs(rank_correlation(values, make(_shuffled(network, explained, seed)))) for seed in range(count)
    ]
    return _with(found, likeness=math.fsum(likeness) / len(likeness))


def _with(found: Attribution, *, likeness: float | None = None, reason: str | None = None) -> Attribution:
    return Attribution(found.method, found.values, found.signed, found.sum_wanted, likeness, reason)


def _shuffled(network: nn.Module, explained: Callable[[Tensor], Tensor], seed: int) -> Call:
    """Returns the call of the network with the numbers of each of its parameters in random order; the network stays as it is."""
    generator = torch.Generator().manual_seed(seed)
    mixed = {}
    for name, parameter in network.named_parameters():
        flat = parameter.detach().reshape(-1)
        mixed[name] = flat[torch.randperm(flat.numel(), generator=generator)].view_as(parameter)

    def call(prepared: Tensor) -> Tensor:
        return explained(torch.func.functional_call(network, mixed, (prepared,)))

    return call


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Returns Spearman's rank correlation of two maps; 0 where one is the same everywhere.

    >>> round(rank_correlation(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 4.0, 9.0])), 6)
    1.0
    """
    from scipy.stats import rankdata

    ranks = [torch.from_numpy(rankdata(part.flatten().numpy())) for part in (first, second)]
    ranks = [part - part.mean() for part in ranks]
    spread = float(ranks[0].norm() * ranks[1].norm())
    return 0.0 if spread == 0 else float(ranks[0] @ ranks[1]) / spread


def _at_once(prepared: Tensor) -> int:
    return max(1, min(ROWS_AT_ONCE, NUMBERS_AT_ONCE // max(1, prepared.numel())))


def _fresh(prepared: Tensor) -> Tensor:
    return prepared.detach().clone().requires_grad_()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Captum's remarks, on how it sets gradients and what it batches, from the screen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
