"""The losses by name, and what goes with each: the targets it wants, the probabilities its outputs mean."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.errors import NetworkError, RecipeError
from netwright.metrics.probabilities import Meaning, probabilities_of
from netwright.registry import Registry, check_options, option_names

losses: Registry[Callable[..., Any]] = Registry(
    "loss",
    {
        "cross-entropy": nn.CrossEntropyLoss,
        "nll": nn.NLLLoss,
        "mse": nn.MSELoss,
        "bce": nn.BCELoss,
        "bce-with-logits": nn.BCEWithLogitsLoss,
        "smooth-l1": nn.SmoothL1Loss,
        "huber": nn.HuberLoss,
        "l1": nn.L1Loss,
    },
)

# Losses that compare each output with one number. For classes they get one-hot rows.
_WANT_FLOATS = (nn.MSELoss, nn.BCELoss, nn.BCEWithLogitsLoss, nn.SmoothL1Loss, nn.HuberLoss, nn.L1Loss)
_WANT_CLASSES = (nn.CrossEntropyLoss, nn.NLLLoss)
_BY_FUNCTION: dict[Any, type[nn.Module]] = {
    F.cross_entropy: nn.CrossEntropyLoss,
    F.nll_loss: nn.NLLLoss,
    F.mse_loss: nn.MSELoss,
    F.binary_cross_entropy: nn.BCELoss,
    F.binary_cross_entropy_with_logits: nn.BCEWithLogitsLoss,
    F.smooth_l1_loss: nn.SmoothL1Loss,
    F.huber_loss: nn.HuberLoss,
    F.l1_loss: nn.L1Loss,
}
# PyTorch's deprecated spellings of `reduction`.
_DEPRECATED = ("size_average", "reduce")


class FunctionLoss(nn.Module):
    """A function of (outputs, targets) as a module, so that every loss moves to a device and prints the same way."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.function(outputs, targets)

    def extra_repr(self) -> str:
        return getattr(self.function, "__name__", repr(self.function))


def make_loss(
    name: str | Callable[..., Any],
    /,
    *,
    task: str,
    num_classes: int | None = None,
    class_counts: Sequence[int] | None = None,
    class_weights: str | Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    device: str | torch.device = "cpu",
    **options: Any,
) -> nn.Module:
    """Returns the loss that `name` means: a module of (outputs, targets) on `device`.

    `name` is a registered name, a loss class, a loss module, which is returned as it is but for the device, or a
    function (outputs, targets) -> 0-d tensor. `task` is "classification" or "regression". `class_weights` are
    one number at least 0 a class, or "balanced": examples / (classes * examples of the class), from
    `class_counts`, as scikit-learn's `compute_class_weight` has it. `label_smoothing` is in [0, 1). Other
    `options` are the loss's own; lists in `weight` and `pos_weight` become tensors. Raises UnknownNameError for
    an unknown name or option and RecipeError for what the loss cannot do.

    >>> make_loss("cross-entropy", task="classification", class_weights="balanced", class_counts=[1, 3]).weight
    tensor([2.0000, 0.6667])
    """
    builder = losses[name] if isinstance(name, str) else name
    called = name if isinstance(name, str) else getattr(name, "__name__", type(name).__name__)
    if isinstance(builder, nn.Module) or not _is_class(builder):
        if isinstance(builder, nn.Module) and (options or class_weights is not None or label_smoothing):
            raise RecipeError(
                f"the loss {called} is already built: give its options, class weights and label smoothing to it "
                "when you make it"
            )
        options |= _sharing(builder, called, class_weights, label_smoothing, class_counts, num_classes, task)
        return _from_object(builder, called, options).to(device)
    check_options(builder, options, called, given=_DEPRECATED)
    _check_task(builder, called, task)
    options |= _sharing(builder, called, class_weights, label_smoothing, class_counts, num_classes, task)
    if options.get("reduction") == "none":
        raise RecipeError(
            "reduction 'none' gives one loss for each example; training needs one number: 'mean' or 'sum'"
        )
    for option in ("weight", "pos_weight"):
        if isinstance(options.get(option), (list, tuple)):
            options[option] = torch.tensor(options[option], dtype=torch.float32)
    try:
        built = builder(**options)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"the loss {called} cannot be made with {options}: {error}") from error
    if not callable(built):
        raise RecipeError(f"the loss {called} should make a module; it made a {type(built).__name__}")
    return (built if isinstance(built, nn.Module) else FunctionLoss(built)).to(device)


def match_targets(targets: Tensor, loss: Callable[..., Any], outputs: int | Tensor) -> Tensor:
    """Returns the targets as `loss` wants them beside the network's outputs.

    Class ids, (N,) int64, stay for cross-entropy, NLL and losses of your own. For MSE, BCE, BCE with logits,
    smooth L1, Huber and L1 they become one-hot rows (N, C) float, or with a single output a class the ids
    themselves as (N, 1) float. Numbers, float (N,), (N, D) or (N, horizon, D), get the outputs' shape: (N,) becomes (N, 1), so
    that the loss never broadcasts one against the other. `outputs` is the number of outputs or, so that outputs
    (N,) and float64 are met too, the outputs themselves. Raises NetworkError where the shapes do not fit.

    >>> match_targets(torch.tensor([2, 0]), nn.MSELoss(), 3)
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    if not targets.is_floating_point():
        # Only (N,) ids have a one-hot row each; masks (N, H, W) go to losses that take them as they are.
        return _from_ids(targets, outputs) if targets.dim() == 1 and _is_one(loss, _WANT_FLOATS) else targets
    if _is_one(loss, (nn.NLLLoss,)):
        raise NetworkError(
            "the targets are shares of the classes (mixup, cutmix), which the loss nll does not take: use cross-entropy"
        )
    if _is_one(loss, _WANT_CLASSES):
        return targets  # shares of each class, (N, C)
    wanted = outputs.shape if isinstance(outputs, Tensor) else torch.Size([len(targets), outputs])
    if targets.shape == wanted:
        return targets
    if targets.dim() == 2 and targets.shape[1] == 2 and wanted.numel() == len(targets):
        return targets[:, 1].reshape(
            wanted
        )  # shares of two classes, of which a single output tells the second
    if (
        targets.numel() == wanted.numel()
        and len(targets) == wanted[0]
        and min(targets.dim(), len(wanted)) <= 2
    ):
        return targets.reshape(wanted)
    raise NetworkError(
        f"the network gives {tuple(wanted)} but the targets are {tuple(targets.shape)}: both need one number for "
        "each value to predict"
    )


def to_probabilities(outputs: Tensor, loss: Callable[..., Any]) -> Tensor:
    """Returns (N, C) float probabilities in [0, 1], rows summing to 1, from outputs (N, C) trained with `loss`.

    Softmax for cross-entropy and for losses of your own (read as losses of logits); exp for NLL; sigmoid for BCE
    with logits; for the others, trained towards one-hot rows, the outputs clipped to [0, 1]. The last two kinds
    treat classes apart, so their rows are divided by their sum (an all-zero row becomes equal shares). A single
    output, (N, 1) or (N,), speaks for class 1 of two and gives (N, 2).

    >>> to_probabilities(torch.tensor([[0.0], [100.0]]), nn.BCEWithLogitsLoss())
    tensor([[0.5000, 0.5000],
            [0.0000, 1.0000]])
    """
    outputs = outputs.detach()
    if outputs.dtype in (torch.float16, torch.bfloat16):
        outputs = outputs.float()
    return probabilities_of(outputs, meaning_of(loss))


def meaning_of(loss: Callable[..., Any]) -> Meaning:
    """Returns what the outputs of a network trained with `loss` are, as `netwright.metrics.probabilities_of` takes it."""
    if _is_one(loss, (nn.NLLLoss,)):
        return "log-probabilities"
    if not _is_one(loss, _WANT_FLOATS):
        return "logits"
    return "logits-apart" if _is_one(loss, (nn.BCEWithLogitsLoss,)) else "shares-apart"


def _from_ids(targets: Tensor, outputs: int | Tensor) -> Tensor:
    dtype = torch.float32
    if isinstance(outputs, Tensor):
        # float64 networks want float64 targets; half-precision outputs under autocast want float32 ones.
        dtype = torch.promote_types(outputs.dtype, torch.float32)
        if outputs.dim() == 1:
            return targets.to(dtype)
        outputs = outputs.shape[1]
    if outputs == 1:
        return targets.to(dtype).unsqueeze(1)
    return F.one_hot(targets, outputs).to(dtype)


def _is_one(loss: Any, kinds: tuple[type[nn.Module], ...]) -> bool:
    if isinstance(loss, FunctionLoss):
        loss = loss.function
    while isinstance(loss, functools.partial):
        loss = loss.func
    if isinstance(loss, nn.Module):
        return isinstance(loss, kinds)
    kind = _BY_FUNCTION.get(loss) if inspect.isroutine(loss) else None
    return kind is not None and issubclass(kind, kinds)


def _is_class(builder: Any) -> bool:
    while isinstance(builder, functools.partial):
        builder = builder.func
    return inspect.isclass(builder)


def _kind(builder: Any) -> Any:
    while isinstance(builder, functools.partial):
        builder = builder.func
    if inspect.isclass(builder):
        return builder
    return _BY_FUNCTION.get(builder) if inspect.isroutine(builder) else type(builder)


def _check_task(builder: Any, called: str, task: str) -> None:
    kind = _kind(builder)
    if task == "language" and kind in losses.values() and kind is not nn.CrossEntropyLoss:
        raise RecipeError(
            f"the loss {called} is none of a language model's, which predicts tokens: use cross-entropy"
        )
    if task == "regression" and inspect.isclass(kind) and issubclass(kind, _WANT_CLASSES):
        raise RecipeError(
            f"the loss {called} is for classes, but the targets are numbers.\n"
            "Use one of mse, smooth-l1, huber, l1; or give the targets as whole numbers if they are classes."
        )


def _takes(builder: Any, option: str) -> bool:
    kind = _kind(builder)
    # The `weight` of BCE is one for each example, not for each class.
    if option == "weight" and inspect.isclass(kind) and issubclass(kind, (nn.BCELoss, nn.BCEWithLogitsLoss)):
        return False
    names = option_names(builder)
    return names is not None and option in names


def _sharing(
    builder: Any,
    called: str,
    class_weights: Any,
    label_smoothing: float,
    class_counts: Sequence[int] | None,
    num_classes: int | None,
    task: str,
) -> dict[str, Any]:
    """The options `weight` and `label_smoothing` for a loss that takes them."""
    options: dict[str, Any] = {}
    if class_weights is not None:
        _check_taken(builder, called, "weight", "class weights", task)
        options["weight"] = _class_weights(class_weights, class_counts, num_classes)
    if label_smoothing:
        _check_taken(builder, called, "label_smoothing", "label smoothing", task)
        if not 0 < label_smoothing < 1:
            raise RecipeError(f"label smoothing is from 0 up to, not including, 1; got {label_smoothing!r}")
        options["label_smoothing"] = label_smoothing
    return options


def _check_taken(builder: Any, called: str, option: str, title: str, task: str) -> None:
    if task == "regression":
        raise RecipeError(f"{title}: the targets are numbers, so there are no classes for it")
    if not _takes(builder, option):
        able = ", ".join(sorted(name for name, entry in losses.items() if _takes(entry, option)))
        hint = "\nFor it, see its own option pos_weight." if _kind(builder) is nn.BCEWithLogitsLoss else ""
        raise RecipeError(
            f"the loss {called} takes no {title}; these do: {able}{hint if option == 'weight' else ''}"
        )


def _class_weights(class_weights: Any, class_counts: Sequence[int] | None, num_classes: int | None) -> Tensor:
    if isinstance(class_weights, str):
        if class_weights != "balanced":
            raise RecipeError(f"class weights are 'balanced' or a list of numbers; got {class_weights!r}")
        if class_counts is None:
            raise RecipeError(
                "class weights 'balanced' need the number of examples of each class (class_counts)"
            )
        counts = torch.as_tensor(class_counts, dtype=torch.float64)
        empty = [index for index, count in enumerate(counts.tolist()) if count == 0]
        if empty:
            raise RecipeError(
                f"class weights 'balanced' cannot be: no training example of class {', '.join(map(str, empty))}"
            )
        return (counts.sum() / (len(counts) * counts)).float()
    weights = [float(weight) for weight in class_weights]
    if num_classes is not None and len(weights) != num_classes:
        raise RecipeError(f"class weights: {num_classes} are needed, one for each class; got {len(weights)}")
    if (
        not weights
        or not all(weight >= 0 and math.isfinite(weight) for weight in weights)
        or not any(weights)
    ):
        raise RecipeError(f"class weights are numbers of at least 0, not all 0; got {weights}")
    return torch.tensor(weights, dtype=torch.float32)


def _from_object(builder: Any, called: str, options: dict[str, Any]) -> nn.Module:
    if isinstance(builder, nn.Module):
        return builder
    if not callable(builder):
        raise RecipeError(f"a loss is a name, a module or a function of (outputs, targets); got {builder!r}")
    check_options(builder, options, called)
    return FunctionLoss(functools.partial(builder, **options) if options else builder)
