"""Losses that a program writes out itself (log-softmax and a choice of the true class, softplus, logsumexp): shared by rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from netwright.examine.observation import PASSIVE, Observation, Op, Operand, Place

#: Operations that hand on the terms of a loss, at most scaled, summed or averaged.
LINEAR = PASSIVE | {"neg", "mean", "sum", "add", "sub", "rsub", "mul", "div", "nanmean", "stack", "cat"}
#: Of these, the ones that count every term.
PLAIN = (PASSIVE - {"getitem", "masked_select", "index", "index_select"}) | {"neg", "mean", "sum"}
_LAYERS = frozenset(
    """linear matmul mm bmm baddbmm addmm bilinear lstm gru rnn_tanh rnn_relu multi_head_attention_forward
    scaled_dot_product_attention embedding layer_norm batch_norm group_norm""".split()  # noqa: SIM905
)
_BINARY = ("softplus", "logsigmoid")
_CLASSES = ("log_softmax", "logsumexp")


class Written(NamedTuple):
    """An operation of a loss written by hand that expects logits."""

    kind: str  #: classes, binary
    op: Op
    operand: Operand  #: the prediction
    name: str  #: for people: "the log-softmax of the loss"


class Uses:
    """Which operations took what an operation made."""

    def __init__(self, observation: Observation) -> None:
        self.observation = observation
        self._takers: dict[int, list[Op]] = {}
        for op in observation.ops:
            for made in {operand.op for operand in op.inputs}:
                if made >= 0:
                    self._takers.setdefault(made, []).append(op)
        self._losses = {record.op for record in observation.backwards if record.op >= 0}

    def of(self, op: Op) -> list[Op]:
        """Returns the operations of the same step that took the result of one."""
        return [taker for taker in self._takers.get(op.index, ()) if taker.step == op.step]

    def ends_in_loss(self, op: Op, names: frozenset[str] | None = None) -> bool:
        """Returns whether all that is made of a result in the graph is a loss (of only these operations, where named).

        False where a layer with weights or a product of matrices follows: then it is a part of the network.
        """
        reached, seen, queue = op.index in self._losses, {op.index}, [op]
        while queue:
            for taker in self.of(queue.pop()):
                if taker.index in seen or not taker.grad:
                    continue
                layer = taker.name in _LAYERS or taker.name.startswith("conv")
                weighed = any(operand.source == "parameter" for operand in taker.inputs)
                if layer or (weighed and taker.name not in ("add", "mul", "sub", "div")):
                    return False
                if names is not None and taker.name not in names:
                    return False
                reached = reached or taker.index in self._losses
                seen.add(taker.index)
                queue.append(taker)
        return reached


def written(observation: Observation) -> Iterator[Written]:
    """Yields the places of losses written by hand at which logits are expected, with the operand that is taken for them."""
    found = [
        op for op in observation.ops if op.name in _BINARY + _CLASSES and op.grad and op.inputs and op.shape
    ]
    if not found:
        return
    uses = Uses(observation)
    for op in found:
        operand = op.inputs[0]
        normalises = op.name == "log_softmax" or (
            op.name == "logsumexp" and _normalises(observation, uses, op)
        )
        if normalises and uses.ends_in_loss(op):
            yield Written("classes", op, operand, "the loss's log-softmax")
        elif op.name == "logsigmoid" and uses.ends_in_loss(op):
            yield Written("binary", op, _unsigned(observation, operand), "the loss's log-sigmoid")
        elif op.name == "softplus" and uses.ends_in_loss(op, LINEAR):
            yield Written("binary", op, _unsigned(observation, operand), "the loss's softplus")


def _unsigned(observation: Observation, operand: Operand) -> Operand:
    """Returns the operand before its sign was changed (also by a target of -1 and 1)."""
    op = observation.made(operand)
    while op is not None and op.inputs and (op.name in PASSIVE or op.name == "neg"):
        if op.name == "neg":
            return op.inputs[0]
        op = observation.made(op.inputs[0])
    return operand


def _normalises(observation: Observation, uses: Uses, op: Op) -> bool:
    """Returns whether a logsumexp is subtracted from the numbers it was taken of, or from some of them."""
    whole = op.inputs[0].op
    for taker in uses.of(op):
        while taker.name in PASSIVE and uses.of(taker):
            taker = uses.of(taker)[0]
        if taker.name not in ("sub", "rsub") or len(taker.inputs) != 2:
            continue
        for operand in taker.inputs:
            made = observation.made(operand)
            while made is not None and made.inputs and (made.name in PASSIVE or made.name == "gather"):
                if made.index == whole:
                    break
                made = observation.made(made.inputs[0])
            if operand.op == whole or (made is not None and made.index == whole):
                return True
    return False


def softmax_dim(observation: Observation, op: Op | None) -> int | None:
    """Returns the dimension over which an operation is a softmax, also one written as exp over its sum; else None."""
    if op is None or not op.grad:
        return None
    if op.name == "softmax":
        dim = op.options.get("dim")
    elif op.name == "div" and len(op.inputs) == 2:
        above, below = observation.made(op.inputs[0]), observation.made(op.inputs[1])
        while below is not None and below.name in ("add", "clamp", "clamp_min", "unsqueeze") and below.inputs:
            below = observation.made(below.inputs[0])
        if above is None or below is None or above.name != "exp" or below.name != "sum" or not below.inputs:
            return None
        if below.inputs[0].op != above.index:
            return None
        dim = below.options.get("dim")
        dim = dim[0] if isinstance(dim, list) and len(dim) == 1 else dim
    else:
        return None
    if not isinstance(dim, int) or isinstance(dim, bool) or not op.shape:
        return None
    return dim % len(op.shape)


def chosen(observation: Observation, op: Op) -> tuple[Operand, Operand] | None:
    """Returns (scores, class ids) where an operation takes one score of each row: gather, or x[arange(n), ids]; else None."""
    if not op.inputs or len(op.inputs[0].shape) != 2:
        return None
    scores, rows = op.inputs[0], op.inputs[0].shape[0]
    if op.name == "gather" and len(op.inputs) == 2 and op.options.get("dim") in (1, -1):
        ids = op.inputs[1]
        return (scores, ids) if ids.shape == (rows, 1) else None
    if op.name == "getitem" and len(op.inputs) == 3 and not op.options:
        made = observation.made(op.inputs[1])
        ids = op.inputs[2]
        if ids.shape == (rows,) and made is not None and made.name == "arange":
            return scores, ids
    return None


def call_line(observation: Observation, op: Op) -> Place | None:
    """Returns the line at which a loss got its arguments: the call of the function that writes it out, or the loss itself.

    It is written out where it is used if the same function calls backward.
    """
    trains = {record.place.function for record in observation.backwards if record.place is not None}
    if op.place is None or op.caller is None or op.place.function in {"<module>", *trains}:
        return op.place
    if op.module < 0:
        return op.caller
    before = [entry for entry in observation.forwards if entry.step == op.step and entry.order < op.order]
    return before[-1].place if before else op.place
