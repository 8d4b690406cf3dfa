"""Numbers out of tensors, without a trace: nothing is drawn, recorded, kept or warned about.

Every function takes tensors and returns plain Python numbers, or None where the numbers cannot be read (wrapped by
torch.func, fake, sparse, nested, of a foreign class).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy
import torch
from torch import Tensor

from netwright.examine.observation import REGRESSION_LOSSES, Intake, Loss, Stats

SAMPLE = 65_536
QUICK = 16_384
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
    values = tensor.detach()
    return values.resolve_neg() if values.is_neg() else values


def sample(tensor: Tensor, count: int = SAMPLE) -> Tensor:
    """Returns at most about `count` values, evenly spaced, in one dimension."""
    if tensor.numel() <= count:
        return tensor.reshape(-1)
    if tensor.is_contiguous():
        return tensor.view(-1)[:: _stride(tensor.numel(), count)]
    while tensor.dim() > 1 and tensor[0].numel() > count:
        tensor = tensor[0]
    rows = max(1, count // max(1, tensor[0].numel()))
    return tensor[:: max(1, -(-len(tensor) // rows))][:rows].reshape(-1)


def _stride(size: int, count: int) -> int:
    """Returns a stride that leaves at most `count` of `size` values, of all columns of all dimensions alike."""
    stride = -(-size // count)
    while math.gcd(stride, size) > 1:
        stride += 1
    return stride


def stats(tensor: Any) -> Stats | None:
    """Returns the numbers of a tensor of any real dtype: its ends of all its values, the others of at most 16,384.

    >>> stats(torch.tensor([0.0, 1.0, 2.0, 1.0]))
    Stats(min=0.0, max=2.0, mean=1.0, std=0.7071..., finite=1.0, zero=0.25, size=4, at=-1, bad=0)
    """
    values = plain(tensor)
    if values is None or values.numel() == 0 or values.dtype.is_complex:
        return None
    if values.dtype == torch.bool:
        values = values.to(torch.uint8)
    some = numpy.ascontiguousarray(sample(values, QUICK).float().cpu().numpy())
    if values.dtype == torch.float32 and some.size == values.numel():
        least, most = float(some.min()), float(some.max())
    else:
        low, high = torch.aminmax(values)
        least, most = float(low), float(high)
    # By NumPy, whose calls cost a third of torch's.
    zero = 1.0 - int(numpy.count_nonzero(some)) / some.size
    with numpy.errstate(all="ignore"):  # sums of huge numbers overflow, as they do in torch
        mean = float(some.sum()) / some.size
        away = some - numpy.float32(mean)
        deviation = math.sqrt(float(away.dot(away)) / some.size)
    if math.isfinite(least) and math.isfinite(most):
        return Stats(least, most, mean, deviation, 1.0, zero, values.numel())
    finite = min(float(numpy.isfinite(some).mean()), 1.0 - 1.0 / values.numel())
    broken = ~torch.isfinite(values).reshape(len(values) if values.dim() else 1, -1)
    at, bad = int(broken.reshape(-1).int().argmax()), int(broken.any(1).sum())
    return Stats(least, most, mean, deviation, finite, zero, values.numel(), at, bad)


#: Nodes of operations with an edge -> the saved tensor that tells how near they came to it.
EDGED_NODES = {
    "LogBackward0": "_saved_self",
    "Log2Backward0": "_saved_self",
    "Log10Backward0": "_saved_self",
    "SqrtBackward0": "_saved_result",
    "RsqrtBackward0": "_saved_result",
    "ReciprocalBackward0": "_saved_result",
    "DivBackward0": "_saved_other",
    "AcosBackward0": "_saved_self",
    "AsinBackward0": "_saved_self",
}


def edge(name: str, saved: Any) -> Stats | None:
    """Returns the numbers of the argument of an operation, whether its node saved the argument or the result."""
    numbers = stats(saved)
    if numbers is None or name.startswith(("Log", "Div", "Acos", "Asin")):
        return numbers
    if name.startswith("Sqrt"):
        return numbers._replace(min=numbers.min**2, max=numbers.max**2)
    ends = [1 / entry if entry else math.inf for entry in (numbers.max, numbers.min)]
    if name.startswith("Rsqrt"):
        ends = [entry * entry for entry in ends]
    return numbers._replace(min=min(ends), max=max(ends), zero=1 - numbers.finite, finite=1.0)


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


_AS_INTEGERS = {
    torch.float32: torch.int32, torch.float64: torch.int64, torch.float16: torch.int16, torch.bfloat16: torch.int16
}  # fmt: skip
_WEIGHTS: list[Tensor] = []
ROW = 1_024


def fingerprints(inputs: list[Tensor], count: int = 4_096) -> list[int]:
    """Returns one number for each example of a batch, equal for equal contents of all its tensors.

    A sum of the values' bits with fixed random weights, modulo 2**64: it does not depend on the batch around the example, and
    zeros at its end (padding) count nothing. Of examples of more than 1,024 values so many are read, all if most are 0.
    """
    found: Tensor | None = None
    for number, tensor in enumerate(inputs[:4]):
        values = plain(tensor)
        if values is None or values.dim() < 1 or values.numel() == 0 or values.dtype.is_complex:
            continue
        if found is not None and len(values) < len(found):
            continue
        sums = _row_sums(values, len(found) if found is not None else count, number)
        found = sums if found is None else found + sums
    return found.tolist() if found is not None else []


def _row_sums(values: Tensor, count: int, number: int) -> Tensor:
    rows = values[: max(1, min(count, 2_000_000 // max(1, min(values[0].numel(), ROW))))]
    rows = rows.reshape(len(rows), -1)
    if rows.shape[1] > ROW:
        thin = rows[:, :: -(-rows.shape[1] // ROW)]
        if torch.count_nonzero(thin).item() > 0.2 * thin.numel():
            rows = thin
    rows = rows.cpu().contiguous()
    if rows.dtype in _AS_INTEGERS:
        rows = rows.view(_AS_INTEGERS[rows.dtype])
    return torch.mv(rows.long(), _weights(rows.shape[1], number))


def _weights(size: int, number: int) -> Tensor:
    have = len(_WEIGHTS[0]) if _WEIGHTS else 0
    if have < size + 17 * number:
        own = torch.Generator().manual_seed(20_021)
        wanted = max(4_096, 2 * size + 64)
        _WEIGHTS[:] = [torch.randint(1, 2**62, (wanted,), generator=own, dtype=torch.int64, device="cpu") | 1]
    return _WEIGHTS[0][17 * number : 17 * number + size]


def entropy(inputs: list[Tensor]) -> float:
    """Returns the binary logarithm of how many different examples there can be, 1000 for numbers that are not whole.

    Single numbers count as points of a grid: the x of a curve, with other noise in y when it is drawn again.
    """
    bits = 0.0
    for tensor in inputs[:4]:
        values = plain(tensor)
        if values is None or values.dim() < 1 or values.numel() == 0 or values.dtype.is_complex:
            continue
        some = sample(values)
        if values.is_floating_point() and bool((some != some.round()).any()):
            if values.numel() > len(values):
                return 1000.0
            bits += 10.0
            continue
        span = float(some.max()) - float(some.min()) + 1 if some.dtype != torch.bool else 2.0
        bits += math.log2(max(1.0, span)) * (values.numel() / len(values))
    return min(bits, 1000.0)


def continuous(inputs: list[Tensor]) -> bool:
    """Returns whether a batch is a table of measurements: in each column hardly two different examples share a value."""
    values = plain(inputs[0]) if len(inputs) == 1 else None
    if values is None or values.dim() != 2 or not values.is_floating_point() or values.shape[1] < 4:
        return False
    rows = torch.unique(values[:256, :64].float().cpu(), dim=0)
    distinct = 1 + (rows.sort(0).values.diff(dim=0) != 0).sum(0)
    return len(rows) >= 8 and bool((distinct >= 0.9 * len(rows)).all())


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


def dead_units(output: Any, channels: int = 0) -> float | None:
    """Returns the share of units (last dimension, or channels of an image) that are 0 for the whole batch.

    `channels` is their number where images were flattened to (N, channels * positions).
    """
    values = plain(output)
    if values is None or values.dim() < 2 or values.numel() == 0:
        return None
    channel = 1 if values.dim() == 4 else values.dim() - 1
    if values.dim() == 2 and 0 < channels < values.shape[1] and values.shape[1] % channels == 0:
        values, channel = values.reshape(len(values), channels, -1), 1
    # An output of a ReLU is not negative: a unit is silent if its largest value is 0.
    highest = values.amax([dim for dim in range(values.dim()) if dim != channel])
    return 1.0 - torch.count_nonzero(highest).item() / highest.numel()


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
    if group and all(
        entry is not None and entry.dtype == torch.float32 and entry.is_cpu for entry in readable
    ):
        return torch.stack(torch._foreach_norm(readable)).tolist()  # type: ignore[arg-type]
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
    (
        *("linear", "conv1d", "conv2d", "conv3d", "matmul", "mm", "addmm"),
        *("lstm", "gru", "rnn_tanh", "rnn_relu", "multi_head_attention_forward"),
    )
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
    table = values if images else values.reshape(-1, record.features)
    wide = -(-record.features // WIDTH)
    table = table[:: max(1, table.numel() // wide // SAMPLE), ::wide]
    # A row for each feature: NumPy reduces rows many times faster than columns.
    columns = table.transpose(0, 1).reshape(table.shape[1], -1)
    if columns.numel() > SAMPLE:
        columns = columns[:, :: _stride(columns.shape[1], max(1, SAMPLE // len(columns)))]
    with numpy.errstate(all="ignore"):
        _measure_rows_of_features(record, columns.float().cpu().contiguous().numpy())
    return True


def _measure_rows_of_features(record: Intake, rows: Any) -> None:
    """Fills in what there is to say of each feature; `rows` (features, values) float32."""
    low, high, size = rows.min(1), rows.max(1), numpy.abs(rows)
    record.low, record.high = low.tolist(), high.tolist()
    record.mean, record.std = rows.mean(1).tolist(), rows.std(1).tolist()
    middle = (size.shape[1] - 1) // 2
    size.partition(middle, axis=1)
    record.typical = size[:, middle].tolist()
    record.zeros = (rows == 0).mean(1).tolist()
    least, most = low.min(), high.max()
    record.ends = ((rows == least) | (rows == most)).mean(1).tolist()
    record.integral = bool((rows == rows.round()).all())
    if least >= 0 and 0 < most <= 1.001 / 255:
        steps = rows * 65_025
        whole = steps.round()
        record.twice = bool(numpy.abs(steps - whole).max() < 0.02 and (whole % 255 != 0).any())


def underflow(gradients: list[Tensor]) -> tuple[float, float, int]:
    """Returns how much of the gradients of weights float16 has lost: share of zeros, share of subnormal ones, count of all-zero.

    Rows and columns that are 0 throughout are left out: dead units, words that did not occur.
    """
    zeros = values = small = vanished = 0
    for gradient in gradients:
        some = plain(gradient)
        if some is None or some.dim() < 2 or not some.numel():
            continue
        some = some.flatten(1)[:1024, :4096].float()
        alive = some != 0
        part = some[alive.any(1)][:, alive.any(0)].abs()
        if not part.numel():
            vanished += 1
            continue
        count = int(torch.count_nonzero(part))
        values, zeros = values + part.numel(), zeros + part.numel() - count
        small += int(torch.count_nonzero(part < 6.1e-5)) - (part.numel() - count)
    return zeros / max(1, values), small / max(1, values - zeros), vanished


# -- integers --------------------------------------------------------------------------------------------------------

#: Operations whose result can be an integer tensor that has lost something.
WHOLE = frozenset(
    [
        "floordiv",
        "rfloordiv",
        "div",
        "to",
        "type",
        "type_as",
        "long",
        "int",
        "short",
        "byte",
        "char",
        "tensor",
        "as_tensor",
        "add",
        "sub",
        "rsub",
        "mul",
        "neg",
        "setitem",
    ]
)
_NARROW = (torch.uint8, torch.int8, torch.int16)


def scattered(index: Any) -> bool:
    """Returns whether an index picks different entries in an order that is not simply up or down.

    >>> scattered(torch.tensor([3, 1, 4, 0])), scattered([0, 1, 2, 3]), scattered([5, 5, 1, 2]), scattered(slice(0, 4))
    (True, False, False, False)
    """
    if isinstance(index, Tensor):
        values = plain(index)
        if values is None or values.dim() != 1 or values.dtype not in (torch.int64, torch.int32):
            return False
        some = values[:64].tolist()
    else:
        some = index if isinstance(index, list) else index.tolist() if hasattr(index, "tolist") else []
        some = some[:64] if isinstance(some, list) else []
    if len(some) < 4 or not all(type(entry) is int for entry in some) or len(set(some)) < len(some):
        return False
    up = sorted(some)
    return some not in (up, up[::-1])


def lost(name: str, args: tuple[Any, ...], out: Any, *, inplace: bool) -> float | None:
    """Returns the share of values that integer arithmetic changed: fractions or remainders cut off, overflow.

    None where nothing of the kind can happen. `args` are those of the call, `out` is its result.

    >>> x = torch.tensor([0, 100, 255], dtype=torch.uint8)
    >>> lost("floordiv", (x, 255), x // 255, inplace=False), lost("div", (x, 255), x / 255, inplace=False)
    (0.333..., None)
    >>> lost("sub", (x, 128), x - 128, inplace=False), lost("long", (x / 200,), (x / 200).long(), inplace=False)
    (0.666..., 0.666...)
    """
    result = plain(args[0] if name == "setitem" and args else out)
    if (
        result is None
        or result.dtype.is_floating_point
        or result.dtype.is_complex
        or result.dtype == torch.bool
    ):
        return None
    first = args[0] if args else None
    if name in ("tensor", "as_tensor") and not isinstance(first, Tensor):
        return _cut_off(first, result)
    if name == "setitem":
        first, name = (args[2] if len(args) > 2 else None), "to"
        if isinstance(first, float):
            return float(first != int(first)) if math.isfinite(first) else None
    given, other = plain(first), args[1] if len(args) > 1 else None
    if given is None or not given.numel():
        return None
    if given.is_floating_point():
        whole = sample(given)
        return (
            None if name in ("add", "sub", "rsub", "mul") else float((whole != whole.trunc()).float().mean())
        )
    if name == "rfloordiv":
        return _remainders_of(given, other)
    if name in ("floordiv", "div"):
        return _remainders(given, other) if not inplace else None
    if name in ("add", "sub", "rsub", "mul", "neg") and result.dtype in _NARROW:
        return _overflow(name, given, other, result, inplace=inplace)
    return None


def _cut_off(values: Any, result: Tensor) -> float | None:
    import numpy as np

    if (isinstance(values, (list, tuple)) and result.numel() > SAMPLE) or isinstance(values, (int, float)):
        return None
    table = np.asarray(values)
    if table.dtype.kind != "f" or not table.size:
        return None
    some = table.reshape(-1)[:: -(-table.size // SAMPLE)]
    return float((some != np.trunc(some)).mean())


def _remainders_of(divisor: Tensor, number: Any) -> float | None:
    """Returns the share of a whole number's quotients that floor division cuts."""
    if not isinstance(number, int) or isinstance(number, bool) or divisor.dtype == torch.bool:
        return None
    some = sample(divisor)
    some = some[some != 0].long()
    return (
        float((torch.full_like(some, number).remainder(some) != 0).float().mean()) if some.numel() else None
    )


def _remainders(given: Tensor, other: Any) -> float | None:
    divisor = plain(other) if isinstance(other, Tensor) else other
    if isinstance(divisor, Tensor):
        if divisor.numel() != 1:
            small = divisor.shape == given.shape or 1 in (given.numel(), divisor.dim())
            if not small or max(given.numel(), divisor.numel()) > SAMPLE or bool((divisor == 0).any()):
                return None
            try:
                return float((given.double() % divisor.double() != 0).double().mean())
            except RuntimeError:  # the shapes do not fit after all: the program's own affair
                return None
        divisor = divisor.item()
    if not isinstance(divisor, (int, float)) or not divisor:
        return None
    return float((sample(given).double() % divisor != 0).double().mean())


def _overflow(name: str, given: Tensor, other: Any, result: Tensor, *, inplace: bool) -> float | None:
    second: Any = plain(other) if isinstance(other, Tensor) else other
    if isinstance(second, Tensor):
        if second.is_floating_point() or (second.numel() != 1 and second.shape != given.shape):
            return None
        second = second.item() if second.numel() == 1 else sample(second).long()
    elif not isinstance(second, int) and name != "neg":
        return None
    some, came = sample(given).long(), sample(result).long()
    if some.shape != came.shape or not (given.is_contiguous() and result.is_contiguous()):
        return None
    if inplace:  # the operand is gone: what it must have been, within the type's range
        if name not in ("add", "sub"):
            return None
        ends = torch.iinfo(result.dtype)
        before = came - second if name == "add" else came + second
        return float(((before < ends.min) | (before > ends.max)).float().mean())
    right = {"add": lambda: some + second, "sub": lambda: some - second, "rsub": lambda: second - some,
             "mul": lambda: some * second, "neg": lambda: -some}[name]()  # fmt: skip
    return float((right != came).float().mean())


# -- losses ----------------------------------------------------------------------------------------------------------

CLASS_LOSSES = ("cross_entropy", "nll_loss", "multi_margin_loss")
BINARY_LOSSES = ("binary_cross_entropy", "binary_cross_entropy_with_logits", "multilabel_soft_margin_loss")
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
            head = values.reshape(-1)[:4096].cpu()
            some = (head if head.dtype != torch.bfloat16 else head.float()).numpy()
            if values.is_floating_point():
                distinct = numpy.unique(some)
                record.distinct, record.integral = len(distinct), bool((distinct == distinct.round()).all())
            else:
                record.distinct, record.integral = len(set(some.tolist())), True
            _measure_targets(record, some)
            if record.function in BINARY_LOSSES:
                _measure_binary(record, plain(prediction), values)
    readable, labels = plain(prediction), plain(target)
    if record.function == "kl_div" and readable is not None and readable.dim() and readable.numel():
        _measure_rows(record, readable)
    if (
        record.function in CLASS_LOSSES
        and readable is not None
        and readable.dim()
        and readable.is_floating_point()
    ):
        _measure_classes(record, readable, labels)


def _measure_binary(record: Loss, prediction: Tensor | None, target: Tensor) -> None:
    """Counts labels and answers where there is one output for each example, or for each pixel of one map."""
    if prediction is None or prediction.numel() != target.numel() or target.dim() < 1:
        return
    if not record.integral or record.distinct > 2 or not target.numel():
        return
    dense = target.numel() != len(target)
    if dense and not (_one_map(prediction) or _one_map(target)):
        return
    if dense and prediction.squeeze().shape != target.squeeze().shape:
        return
    every = -(-target.numel() // SAMPLE) | 1  # odd, so that it does not keep to some columns of an image
    labels, answers = target.reshape(-1)[::every] > 0.5, prediction.reshape(-1)[::every]
    yes = answers > (0.5 if record.function == "binary_cross_entropy" else 0.0)
    record.histogram = torch.bincount(labels.long().cpu(), minlength=2).tolist()
    record.predicted = torch.bincount(yes.long().cpu(), minlength=2).tolist()
    if not dense:
        record.labels = labels[:256].long().tolist()


def _one_map(values: Tensor) -> bool:
    """Returns whether the numbers of each example are one map, of a single class: (N, 1, H, W), (N, H, W), (N, 1, L)."""
    shape = values.shape
    return (len(shape) > 2 and shape[1] == 1) or (len(shape) == 3 and min(shape[1:]) >= 8)


def _measure_rows(record: Loss, prediction: Tensor) -> None:
    rows = prediction.reshape(-1, prediction.shape[-1])[: max(1, 4 * SAMPLE // prediction.shape[-1])]
    _measure_sums(record, rows.float().cpu().numpy())


def _measure_sums(record: Loss, rows: Any) -> None:
    """Writes the ends of the sums and of the logsumexp of the rows of an array."""
    with numpy.errstate(all="ignore"):
        most = rows.max(1)
        most[~numpy.isfinite(most)] = 0.0
        record.row_sum = _ends(rows.sum(1))
        record.row_logsumexp = _ends(numpy.log(numpy.exp(rows - most[:, None]).sum(1)) + most)


def _measure_targets(record: Loss, values: Any) -> None:
    if record.function in CLASS_LOSSES or record.target is None or record.target.finite < 1:
        return
    if record.integral and record.target.min >= 0 and record.target.max < 1000:
        record.counts = numpy.bincount(values.astype(numpy.int64)).tolist()
    if values.dtype.kind == "f":
        record.quantiles = tuple(
            numpy.quantile(values.astype(numpy.float32), [0.05, 0.25, 0.5, 0.75, 0.95]).tolist()
        )


def _measure_classes(record: Loss, prediction: Tensor, target: Tensor | None) -> None:
    channel = 1 if prediction.dim() > 1 else 0
    record.classes = classes = prediction.shape[channel]
    if not classes or prediction.numel() == 0:
        return
    rows = prediction.movedim(channel, -1).reshape(-1, classes)
    some = rows[: max(1, 4 * SAMPLE // classes)].float().cpu().numpy()
    _measure_sums(record, some)
    with numpy.errstate(all="ignore"):
        record.column_sum = _ends(some.sum(0))
    floor = some.min()
    record.floor_share = numpy.count_nonzero(some == floor) / some.size
    if classes <= 1000:
        record.predicted = numpy.bincount(some.argmax(1), minlength=classes).tolist()
    if target is None or target.is_floating_point() or target.dtype.is_complex or target.dtype == torch.bool:
        return
    every = target.reshape(-1).cpu().numpy()
    counted = every != record.options.get("ignore_index", -100)
    ids = every[counted]
    record.ignored = 1.0 - len(ids) / max(1, len(every))
    record.labels = every[:256].tolist()
    if not len(ids):
        return
    record.label_min, record.label_max = int(ids.min()), int(ids.max())
    if record.label_min < 0 or record.label_max >= classes:
        return
    if classes <= 1000:
        record.histogram = numpy.bincount(ids, minlength=classes).tolist()
    if len(every) == len(rows):
        (valid,) = numpy.nonzero(counted[: len(some)])
        if len(valid):
            record.true_floor_share = numpy.count_nonzero(some[valid, every[valid]] == floor) / len(valid)


def _ends(values: Any) -> tuple[float, float]:
    return float(values.min()), float(values.max())
