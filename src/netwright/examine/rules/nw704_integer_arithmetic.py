"""NW704: integer tensors do arithmetic where floats are meant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod
from typing import Any

from netwright.examine.observation import PASSIVE, REGRESSION_LOSSES, Observation, Op, Operand, Place, Stats
from netwright.examine.rules import evidence, percent, rewrite
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW704",
    slug="integer-arithmetic",
    level="error",
    by="forward",
    title="an integer tensor does arithmetic where floats are meant, and loses the values",
    what="Pixels, features, targets, class weights or a count of right answers are integers while they are divided, shifted or converted: "
    "fractions are cut off, remainders are dropped, or the small integer type overflows.",
    why="What is cut off is gone: 0..255 pixels // 255 are 0 almost everywhere, standardised values as integers are -1, 0 and 1, "
    "127 - 128 in uint8 is 255. The network trains on what is left, without an error message.",
    fix="Convert to float first, then compute: images.float() / 255. Keep integers for class ids, indices and masks.",
    example="images = images // 255           # wrong: 0 almost everywhere\n"
    "images = (images / 255).byte()   # wrong: the same\n"
    "images = images - 128            # wrong for uint8: wraps around\n"
    "images = images.float() / 255    # right",
    limits="Sees tensors, not NumPy arrays nor what a DataLoader's workers do, and follows the values to the network or to a "
    "regression loss. Silent on ids, lengths, masks that divide without remainder, rounding, and coarser levels of pixels "
    "on purpose (posterising, binarising).",
    explains=frozenset({"NW210", "NW512", "NW208", "NW502", "NW403", "NW806"}),
)
_CASTS = frozenset(
    {"to", "type", "type_as", "long", "int", "short", "byte", "char", "tensor", "as_tensor", "setitem"}
)
_ARITHMETIC = frozenset(
    {"add", "sub", "rsub", "mul", "div", "neg", "float", "double", "half", "bfloat16", *_CASTS}
)
_CRASHES = (
    r"could not infer output dtype. Input dtype must be either a floating point",
    r"same dtype, but got (?:Long|Int|Short|Byte|Char|unsigned char|long int|int|short|signed char) and (?:Float|float)",
    r"expected m1 and m2 to have the same dtype, but got: (?:long|int|unsigned char) != float",
    r"Input type \((?:unsigned char|signed char|long long|long|int|short|torch\.\w*(?:Long|Int|Byte|Short)Tensor)\) and (?:bias|weight) type",
    r"result type Float can't be cast to the desired output type (?:Long|Int|Short|Byte|Char)",
    r"Only Tensors of floating point and complex dtype can require gradients",
    r'"(?:addmm|mse|sigmoid|tanh|softmax|log_softmax|host_softmax|slow_conv|binary_cross_entropy|std)\w*" not implemented for '
    r"'(?:Long|Int|Short|Byte|Char)'",
)


def check(observation: Observation) -> Iterator[Evidence]:
    if observation.crash is not None and any(re.search(form, observation.crash.message) for form in _CRASHES):
        yield _crash(observation)
    losing = [op for op in observation.ops if op.options.get("lost", 0) >= 0.01 and op.stats is not None]
    if not losing:
        return
    told: set[Place | None] = set()
    for op in losing:
        if op.place in told:
            continue
        found = _counted(observation, op) or _weighs(observation, op) or _reaches(observation, op)
        if found:
            told.add(op.place)
            yield _evidence(observation, op, found)


# -- where the integers go ---------------------------------------------------------------------------------------------


def _counted(observation: Observation, op: Op) -> str:
    """Returns "metric" for a count of right answers // the number of examples, which is 0 until all are right."""
    if (
        op.name not in ("floordiv", "div")
        or op.shape != ()
        or op.stats is None
        or op.stats.max != 0
        or op.stats.min != 0
    ):
        return ""
    behind = list(observation.ancestors(op))
    compares = any(entry.name in ("eq", "ne") for entry in behind)
    answers = any(
        entry.module >= 0 or entry.name in ("argmax", "max", "round", "gt", "ge") for entry in behind
    )
    return "metric" if compares and answers else ""


def _weighs(observation: Observation, op: Op) -> str:
    """Returns "weight" if a quotient of counts is what a loss weighs its classes with, and one of the classes counts nothing."""
    if op.name not in ("floordiv", "rfloordiv", "div") or op.stats is None or op.stats.zero == 0:
        return ""
    given = next((entry.stats for entry in op.inputs if entry.stats is not None), None)
    if given is not None and op.name != "rfloordiv" and given.zero >= op.stats.zero:
        return ""  # these were 0 before
    for loss in observation.losses:
        weight = (
            observation.operand(observation.ops[loss.op], "weight", "pos_weight") if loss.op >= 0 else None
        )
        if weight is not None and op.index in _line(observation, weight):
            return "weight"
    return ""


def _reaches(observation: Observation, op: Op) -> str:
    """Returns "input" or "target" if what the operation left of its values is what the network or a loss gets."""
    given = next((entry.stats for entry in op.inputs if entry.stats is not None), None)
    for intake in observation.intakes:
        if intake.op >= 0 and intake.op < len(observation.ops):
            line = _line(observation, observation.ops[intake.op].inputs[intake.operand])
            if op.index in line:
                if _spoiled(op, given, between=line[op.index]):
                    return "input"
                continue
        if intake.integral and _same(op, intake.shape, intake.stats) and _spoiled(op, given, between=False):
            return "input"
    for loss in observation.losses:
        if loss.function not in REGRESSION_LOSSES:
            continue
        target = observation.operand(observation.ops[loss.op], "target") if loss.op >= 0 else None
        line = _line(observation, target) if target is not None else {}
        if op.index in line:
            if _spoiled(op, given, between=line[op.index]):
                return "target"
        elif (
            loss.integral and _same(op, loss.target_shape, loss.target) and _spoiled(op, given, between=False)
        ):
            return "target"
    return ""


def _line(observation: Observation, operand: Operand) -> dict[int, bool]:
    """Returns the operations that values went through, and whether arithmetic stands between each and the end."""
    found: dict[int, bool] = {}
    op, between = observation.made(operand), False
    while (
        op is not None
        and op.index not in found
        and (op.name in PASSIVE or op.name in _ARITHMETIC or op.name in ("floordiv", "rfloordiv"))
    ):
        found[op.index] = between
        tensors = [entry for entry in op.inputs if entry.position != "other" or entry is op.inputs[0]]
        if len([entry for entry in op.inputs if entry.shape]) > 1 and op.name not in ("type_as", "setitem"):
            break  # of two tensors: a mask, perhaps
        between = between or op.name in ("add", "sub", "rsub", "mul", "div", "neg", "floordiv")
        op = observation.made(tensors[0]) if tensors else None
    return found


def _same(op: Op, shape: tuple[int, ...], numbers: Stats | None) -> bool:
    """Returns whether data are, by their shape and range, examples out of what an operation made."""
    if op.module >= 0 or op.stats is None or numbers is None or len(op.shape) < 1 or op.stats.size < 64:
        return False
    if op.options.get("fetched"):  # one example, made by a dataset while a loader asked for it
        inside = numbers.min <= op.stats.min and op.stats.max <= numbers.max
        return bool(inside and shape and prod(op.shape) == prod(shape[1:]))
    mine = op.shape if op.name != "setitem" or not op.inputs else op.inputs[0].shape
    if len(mine) < 1 or not shape or prod(mine[1:]) != prod(shape[1:]) or mine[0] < shape[0]:
        return False
    return op.stats.min <= numbers.min and numbers.max <= op.stats.max


# -- whether it is a fault ---------------------------------------------------------------------------------------------


def _spoiled(op: Op, given: Stats | None, *, between: bool) -> bool:
    """Returns whether an operation destroyed its values; coarser levels on purpose are none."""
    result = op.stats
    if result is None or result.size < 2:
        return False
    if op.name in ("floordiv", "div"):
        divisor = _divisor(op)
        largest = None if given is None else max(abs(given.min), abs(given.max))
        return (
            divisor is not None
            and largest is not None
            and 2 < largest <= abs(divisor)
            and result.max - result.min <= 1
        )
    if op.name in ("add", "sub", "rsub", "mul", "neg"):
        return True  # overflow
    share = op.options.get("lost", 0)
    if given is None:  # made from a list or an array
        return bool(not between and share > 0.3 and result.max - result.min <= 1)
    if given.min >= -1 and given.max <= 1:
        return result.max - result.min <= 1 and share >= 0.02 and given.std > 0
    standardised = given.min < 0 < given.max and 0.2 < given.std < 3 and abs(given.mean) < 1
    return bool(not between and standardised and share > 0.5)


def _divisor(op: Op) -> float | None:
    value: Any = op.options.get("other")
    return float(value) if isinstance(value, (int, float)) else None


# -- what is said ------------------------------------------------------------------------------------------------------


def _evidence(observation: Observation, op: Op, kind: str) -> Evidence:
    result = op.stats
    assert result is not None
    share = float(op.options["lost"])
    given = next((entry.stats for entry in op.inputs if entry.stats is not None), None)
    seen: dict[str, Any] = {"dtype": op.dtype, "changed_share": round(share, 4)}
    if given is not None:
        seen["range_before"] = f"{given.min:.4g} to {given.max:.4g}"
    seen["range_after"] = f"{result.min:g} to {result.max:g}"
    what = {"input": "the network's input", "target": "the loss's target"}.get(kind, "")
    of = "an example" if op.options.get("fetched") else "it"
    if kind == "weight":
        title = f"integer division makes {percent(result.zero)} of the loss's weights 0: these classes are not trained on at all"
    elif kind == "metric":
        title = "a count of right answers is divided by // and gives 0: the score is an integer"
    elif op.name in ("floordiv", "div"):
        title = f"integer division leaves {what} with nothing but {_values(result)}: {percent(result.zero)} of {of} is 0"
    elif op.name in ("add", "sub", "rsub", "mul", "neg"):
        title = f"{op.dtype} overflows in {what}: {percent(share)} of the values wrapped around"
    else:
        title = (
            f"{what} is cut to whole numbers ({op.dtype}): {percent(share)} of the values lose their fraction"
        )
    return evidence(
        observation,
        op.place,
        layer=op.module,
        seen=seen,
        expected={"dtype": "float32", "changed_share": 0.0},
        step=op.step,
        title=title,
        diff=rewrite(op.place, _mended) if op.name in ("floordiv", "rfloordiv") else "",
        harm="measured",
    )


def _values(result: Stats) -> str:
    return f"{result.min:g}" if result.min == result.max else f"{result.min:g} and {result.max:g}"


def _mended(line: str) -> str | None:
    return line.replace("//", "/") if line.count("//") == 1 and "#" not in line.partition("//")[0] else None


def _crash(observation: Observation) -> Evidence:
    crash = observation.crash
    assert crash is not None
    return evidence(
        observation,
        crash.place,
        layer=crash.module,
        seen={"exception": f"{crash.kind}: {' '.join(crash.message.split())[:160]}"},
        expected={"dtype": "float32"},
        step=observation.step_count,
        title="an integer tensor comes where only floats can be used, and the program ends with an exception",
        harm="measured",
    )


_PROGRAM = """
import torch
from torch import nn

torch.manual_seed(0)
images = torch.randint(0, 256, (256, 1, 8, 8), dtype=torch.uint8)
labels = (images.float().mean((1, 2, 3)) > 127).long()
images = {scaled}
network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 2))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for epoch in range(2):
    for start in range(0, 256, 64):
        loss = nn.functional.cross_entropy(network(images[start : start + 64].float()), labels[start : start + 64])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
"""
bad = _PROGRAM.replace("{scaled}", "images // 255")
good = _PROGRAM.replace("{scaled}", "images / 255")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
ids = torch.randint(1, 200, (96, 12))
masks = torch.randint(0, 2, (96, 12), dtype=torch.uint8) * 255
pixels = torch.randint(0, 256, (96, 12), dtype=torch.uint8)
scores = torch.randn(96, 3)
coarse = ids // 10  # families of words
keep = masks // 255
posterised = (pixels // 64).float() / 3
binary = (pixels / 255 + 0.5).int().float()
labels = scores.argmax(1) // 2
lengths = (ids != 0).sum(1) // 2
ages = torch.rand(96) * 80


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.families = nn.Embedding(200, 8), nn.Embedding(20, 8)
        self.head, self.age = nn.Linear(8 + 24, 3), nn.Linear(32, 1)

    def forward(self, ids, coarse, keep, pixels):
        words = (self.words(ids) + self.families(coarse)) * keep.unsqueeze(2).float()
        both = torch.cat([words.mean(1), pixels], 1)
        return self.head(both), self.age(both).squeeze(1)


network = Net()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for epoch in range(3):
    for start in range(0, 96, 32):
        part = slice(start, start + 32)
        logits, age = network(ids[part], coarse[part], keep[part], torch.cat([posterised[part], binary[part]], 1))
        loss = F.cross_entropy(logits, labels[part]) + F.mse_loss(age, ages[part].long().float()) / 1000
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        right = (network(ids, coarse, keep, torch.cat([posterised, binary], 1))[0].argmax(1) == labels).sum()
        print(epoch, right.item() / len(labels), (lengths // 1).sum().item())
"""
