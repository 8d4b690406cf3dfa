"""Numbers out of tensors, without a trace: nothing is drawn, recorded, kept or warned about.

Every function takes tensors and returns plain Python numbers, or None where the numbers cannot be read (wrapped by
torch.func, fake, sparse, nested, of a foreign class).
"""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from netwright.examine.observation import Intake, Loss, Stats

SAMPLE = 65_536
_wrapped: Callable[[Any], bool] = getattr(
    getattr(torch._C, "_functorch", None), "is_functorch_wrapped_tensor", lambda tensor: False
)


def plain(tensor: Any) -> Tensor | None:
    """Returns the tensor without its graph if its numbers can be read, else None."""
    if type(tensor) is not Tensor and type(tensor) is not torch.nn.Parameter:
        return None
    if (
        tensor.layout != torch.strided
        or tensor.is_meta
        or tensor.is_quantized
        or tensor.is_nested
        or _wrapped(tensor)
    ):
        return None
    return tensor.detach()


def sample(tensor: Tensor, count: int = SAMPLE) -> Tensor:
    """Returns at most about `count` values, evenly spaced, in one dimension."""
    if tensor.numel() <= count:
        return tensor.reshape(-1)
    if tensor.is_contiguous():
        return tensor.view(-1)[:: -(-tensor.numel() // count)]
    while tensor.dim() > 1 and tensor[0].numel() > count:
        tensor = tensor[0]
    rows = max(1, count // max(1, tensor[0].numel()))
    return tensor[:: max(1, -(-len(tensor) // rows))][:rows].reshape(-1)


def stats(tensor: Any) -> Stats | None:
    """Returns the numbers of a tensor of any real dtype.

    >>> stats(torch.tensor([0.0, 1.0, 2.0, 1.0]))
    Stats(min=0.0, max=2.0, mean=1.0, std=0.7071..., finite=1.0, zero=0.25, size=4, at=-1, bad=0)
    """
    values = plain(tensor)
    if values is None or values.numel() == 0 or values.dtype.is_complex:
        return None
    if values.dtype == torch.bool:
        values = values.to(torch.uint8)
    low, high = torch.aminmax(values)
    some = sample(values).float()
    var, mean = torch.var_mean(some, correction=0)
    zero = 1.0 - torch.count_nonzero(some).item() / some.numel()
    least, most = float(low), float(high)
    deviation = math.sqrt(max(0.0, float(var)))
    if math.isfinite(least) and math.isfinite(most):
        return Stats(least, most, float(mean), deviation, 1.0, zero, values.numel())
    finite = min(float(torch.isfinite(some).float().mean()), 1.0 - 1.0 / values.numel())
    broken = ~torch.isfinite(values).reshape(len(values) if values.dim() else 1, -1)
    at, bad = int(broken.reshape(-1).int().argmax()), int(broken.any(1).sum())
    return Stats(least, most, float(mean), deviation, finite, zero, values.numel(), at, bad)


def first_tensor(value: Any) -> Tensor | None:
    """Returns the first tensor in nested tuples, lists and dictionaries, three levels deep at most."""
    return next(iter(tensors(value)), None)


def tensors(value: Any, depth: int = 3) -> Iterable[Tensor]:
    """Yields the tensors in nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif depth and isinstance(value, (tuple, list)):
        for entry in value[:64]:
            yield from tensors(entry, depth - 1)
    elif depth and isinstance(value, dict):
        for entry in list(value.values())[:64]:
            yield from tensors(entry, depth - 1)
    elif depth and hasattr(value, "to_tuple"):  # outputs of Hugging Face models
        yield from tensors(tuple(value.to_tuple()), depth - 1)


def fingerprints(batch: Any, count: int = 512) -> list[int]:
    """Returns one number for each example of a batch, equal for equal contents (256 of its values are read)."""
    values = plain(batch)
    if values is None or values.dim() < 1 or values.numel() == 0 or values.dtype.is_complex:
        return []
    rows = values[:count].reshape(min(count, len(values)), -1)
    if rows.shape[1] > 256:
        rows = rows[:, :: -(-rows.shape[1] // 256)]
    if rows.dtype == torch.bfloat16:
        rows = rows.float()
    table = rows.cpu().contiguous().numpy()
    return [int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=7).digest(), "little") for row in table]


def rows_equal(tensor: Any) -> bool:
    """Returns whether all rows of a matrix (at least two of them) are equal."""
    values = plain(tensor)
    if values is None or values.dim() < 2 or len(values) < 2 or values[0].numel() == 0:
        return False
    return bool((values[0] == values[1]).all()) and bool((values == values[:1]).all())


def rows_close(tensor: Any) -> bool:
    """Returns whether all rows of a matrix are equal but for rounding."""
    values = plain(tensor)
    if values is None or values.dim() < 2 or len(values) < 2 or not values.is_floating_point():
        return False
    return bool((values - values[:1]).abs().max() <= 1e-4 * values.abs().max())


def dead_units(output: Any) -> float | None:
    """Returns the share of units (last dimension, or channels of an image) that are 0 for the whole batch."""
    values = plain(output)
    if values is None or values.dim() < 2 or values.numel() == 0:
        return None
    channel = 1 if values.dim() == 4 else values.dim() - 1
    alive = (values != 0).transpose(0, channel).flatten(1).any(1)
    return 1.0 - float(alive.float().mean())


def saturated(name: str, output: Any) -> float | None:
    """Returns the share of values of a sigmoid or tanh whose derivative is under 0.01."""
    values = plain(output)
    if values is None or values.numel() == 0 or not values.is_floating_point():
        return None
    some = sample(values).float()
    slope = some * (1 - some) if name == "sigmoid" else 1 - some * some
    return float((slope < 0.01).float().mean())


def norms(group: list[Tensor]) -> list[float]:
    """Returns the Euclidean norm of each tensor, with one transfer from the device."""
    found: list[float] = []
    readable = [plain(tensor) for tensor in group]
    usable = [
        entry.float() if not entry.is_floating_point() else entry for entry in readable if entry is not None
    ]
    try:
        measured = (
            torch.stack([value.float().to("cpu") for value in torch._foreach_norm(usable)]).tolist()
            if usable
            else []
        )
    except (RuntimeError, TypeError):
        measured = [float(entry.float().norm()) for entry in usable]
    values = iter(measured)
    for entry in readable:
        found.append(next(values) if entry is not None else math.nan)
    return found


INTAKES = frozenset(
    "linear conv1d conv2d conv3d matmul mm addmm lstm gru rnn_tanh rnn_relu multi_head_attention_forward".split()
)
WIDTH = 1024


def measure_intake(record: Intake, data: Tensor, call: str) -> bool:
    """Fills an Intake in from what came to the layer; returns whether its numbers could be read."""
    values = plain(data)
    if values is None or not values.is_floating_point() or not values.dim() or not values.numel():
        return False
    record.shape, record.stats = tuple(values.shape), stats(values)
    if values.dim() == 1:
        values = values.unsqueeze(0)
    images = call.startswith("conv") and values.dim() == int(call[4]) + 2
    record.examples, record.features = len(values), values.shape[1 if images else -1]
    values = values[:: max(1, values.numel() // 1_000_000)]
    if len(values) > 1:
        record.identical = bool((values == values[:1]).all())
    rows = (values.movedim(1, -1) if images else values).reshape(-1, record.features)
    rows = rows[:, :: -(-record.features // WIDTH)]
    rows = rows[:: max(1, rows.numel() // (4 * SAMPLE))].float()
    low, high = torch.aminmax(rows, dim=0)
    var, mean = torch.var_mean(rows, dim=0, correction=0)
    record.low, record.high, record.mean, record.std = low.tolist(), high.tolist(), mean.tolist(), var.sqrt().tolist()
    record.typical = rows.abs().median(0).values.tolist()
    record.zeros = (rows == 0).float().mean(0).tolist()
    record.integral = bool((rows == rows.round()).all())
    if 0 <= float(low.min()) and 0 < float(high.max()) <= 1.001 / 255:
        steps = rows * 65_025
        record.twice = bool((steps - steps.round()).abs().max() < 0.02) and bool((steps.round() % 255 != 0).any())
    return True


# -- losses ----------------------------------------------------------------------------------------------------------

CLASS_LOSSES = ("cross_entropy", "nll_loss", "multi_margin_loss")
BINARY_LOSSES = ("binary_cross_entropy", "binary_cross_entropy_with_logits", "multilabel_soft_margin_loss")
REGRESSION_LOSSES = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
LOSSES = (
    *CLASS_LOSSES,
    *BINARY_LOSSES,
    *REGRESSION_LOSSES,
    "kl_div",
    "poisson_nll_loss",
    "gaussian_nll_loss",
    "soft_margin_loss",
)
_PARAMETERS: dict[str, tuple[str, ...]] = {}


def loss_arguments(
    function: str, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Returns the arguments of a call of a loss function by name."""
    names = _PARAMETERS.get(function)
    if names is None:
        names = _PARAMETERS[function] = tuple(inspect.signature(call).parameters)
    return dict(zip(names, args)) | kwargs


def measure_loss(record: Loss, arguments: dict[str, Any]) -> None:
    """Fills the numbers of a Loss record in from the arguments of its call."""
    prediction, target = arguments.get("input"), arguments.get("target")
    for name in ("reduction", "ignore_index", "label_smoothing", "log_target", "delta", "beta", "log_input"):
        if isinstance(arguments.get(name), (str, int, float, bool)):
            record.options[name] = arguments[name]
    for name in ("weight", "pos_weight"):
        if isinstance(arguments.get(name), Tensor):
            record.options[name] = "given"
    if isinstance(prediction, Tensor):
        record.prediction_shape, record.prediction_dtype = tuple(prediction.shape), str(prediction.dtype)[6:]
        record.prediction_grad, record.prediction = prediction.requires_grad, stats(prediction)
    if isinstance(target, Tensor):
        record.target_shape, record.target_dtype = tuple(target.shape), str(target.dtype)[6:]
        record.target_grad, record.target = target.requires_grad, stats(target)
        values = plain(target)
        if values is not None and values.numel() and not values.dtype.is_complex:
            distinct = torch.unique(values.reshape(-1)[:4096].cpu())
            record.distinct = len(distinct)
            record.integral = (
                bool((distinct == distinct.round()).all()) if values.is_floating_point() else True
            )
            _measure_targets(record, values.reshape(-1)[:4096].cpu())
    readable, labels = plain(prediction), plain(target)
    if (
        record.function in CLASS_LOSSES
        and readable is not None
        and readable.dim()
        and readable.is_floating_point()
    ):
        _measure_classes(record, readable, labels)


def _measure_targets(record: Loss, values: Tensor) -> None:
    if record.function in CLASS_LOSSES or record.target is None or record.target.finite < 1:
        return
    if record.integral and 0 <= record.target.min and record.target.max < 1000:
        record.counts = torch.bincount(values.long()).tolist()
    if values.is_floating_point():
        levels = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95])
        record.quantiles = tuple(torch.quantile(values.float(), levels).tolist())


def _measure_classes(record: Loss, prediction: Tensor, target: Tensor | None) -> None:
    channel = 1 if prediction.dim() > 1 else 0
    record.classes = classes = prediction.shape[channel]
    if not classes or prediction.numel() == 0:
        return
    rows = prediction.movedim(channel, -1).reshape(-1, classes)
    some = rows[: max(1, 4 * SAMPLE // classes)].float()
    record.row_sum = _ends(some.sum(1))
    record.row_logsumexp = _ends(some.logsumexp(1))
    record.column_sum = _ends(some.sum(0))
    floor = some.min()
    record.floor_share = float((some == floor).float().mean())
    if classes <= 1000:
        record.predicted = torch.bincount(some.argmax(1).cpu(), minlength=classes).tolist()
    if target is None or target.is_floating_point() or target.dtype.is_complex or target.dtype == torch.bool:
        return
    every = target.reshape(-1)
    ignored = record.options.get("ignore_index", -100)
    ids = every[every != ignored].long()
    record.ignored = 1.0 - len(ids) / max(1, len(every))
    record.labels = every[:256].tolist()
    if not len(ids):
        return
    record.label_min, record.label_max = int(ids.min()), int(ids.max())
    if record.label_min < 0 or record.label_max >= classes:
        return
    if classes <= 1000:
        record.histogram = torch.bincount(ids.cpu(), minlength=classes).tolist()
    if len(every) == len(rows):
        head = every[: len(some)].long()
        valid = head != ignored
        chosen = some[valid].gather(1, head[valid].unsqueeze(1))
        record.true_floor_share = float((chosen == floor).float().mean()) if chosen.numel() else None


def _ends(values: Tensor) -> tuple[float, float]:
    low, high = torch.aminmax(values)
    return float(low), float(high)
