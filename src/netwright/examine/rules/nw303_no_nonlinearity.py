"""NW303: two linear maps in a row with nothing between."""

from __future__ import annotations

import re
from collections.abc import Iterator

from netwright.examine.observation import Observation, Op
from netwright.examine.rules import NotObserved, evidence, rewrite
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW303",
    slug="no-nonlinearity",
    level="warning",
    by="backward",
    title="two linear layers in a row with no activation between them",
    what="The output of a linear or convolutional layer goes straight into the next one.",
    why="Two linear maps in a row are one linear map: the first layer adds parameters and time, but the network can express "
    "nothing that it could not without it.",
    fix="Put an activation between the two layers (nn.ReLU(), nn.GELU(), ...), or leave one of them out.",
    example="nn.Sequential(nn.Linear(20, 64), nn.Linear(64, 3))               # wrong\n"
    "nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 3))    # right",
    limits="Looks through dropout and flattening only. Silent where the inner layer is a bottleneck (low rank, autoencoders, LoRA) "
    "or has no bias, where its output is used elsewhere too, on depthwise, pointwise, strip and patch convolutions, on projections "
    "that are then split into heads, on frozen weights, and between networks (a generator and its discriminator).",
    explains=frozenset({"NW512"}),
)
_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "conv_transpose")
_LINEAR = ("linear", *_CONVOLUTIONS)
_BETWEEN = frozenset(
    """dropout alpha_dropout flatten view reshape squeeze unsqueeze contiguous clone to identity float type ravel""".split()  # noqa: SIM905
)
_SPLITS = frozenset(
    ["view", "reshape", "unflatten", "chunk", "split", "tensor_split", "unbind", "getitem", "unfold"]
)


def check(observation: Observation) -> Iterator[Evidence]:
    if not observation.backwards:
        raise NotObserved("no backward was seen")
    if not any(op.name in _LINEAR for op in observation.ops):
        raise NotObserved("no linear or convolutional layer was seen")
    consumers: dict[int, list[Op]] = {}
    first_step = [op for op in observation.ops if op.step <= 1]
    for op in first_step:
        for index in {operand.op for operand in op.inputs if operand.op >= 0}:
            consumers.setdefault(index, []).append(op)
    shared = _looked_up(observation)
    for op in first_step:
        if op.name not in _LINEAR or not op.grad or op.module < 0 or not op.grad_enabled:
            continue
        inner = _linear_before(observation, op, consumers)
        if inner is None or not _redundant(observation, inner, op, shared):
            continue
        if not _one_network(observation, inner, op) or _split_up(op, consumers):
            continue
        yield _evidence(observation, inner, op)


def _linear_before(observation: Observation, op: Op, consumers: dict[int, list[Op]]) -> Op | None:
    """Returns the linear operation whose result an operation takes, if nothing else takes it and nothing lies between."""
    inner, user = observation.made(op.inputs[0]), op
    passed: list[Op] = []
    while inner is not None:
        if len(consumers.get(inner.index, ())) != 1 or consumers[inner.index][0] is not user:
            return None
        if inner.name in _LINEAR:
            break
        if inner.name not in _BETWEEN or not inner.inputs:
            return None
        passed.append(inner)
        user, inner = inner, observation.made(inner.inputs[0])
    if inner is None or not inner.shape or not _always_alike(observation, inner, consumers):
        return None
    if inner.name == "linear":
        # Another last dimension: reshaped into heads, or the next layer works along another axis.
        return (
            inner
            if op.name == "linear" and all(entry.shape[-1:] == inner.shape[-1:] for entry in passed)
            else None
        )
    if op.name == "linear":  # the whole map of each example goes into the linear layer
        flat = len(inner.shape) > 2 and op.inputs[0].shape == (inner.shape[0], _product(inner.shape[1:]))
        return inner if flat else None
    return inner if not [entry for entry in passed if "dropout" not in entry.name] else None


def _always_alike(observation: Observation, inner: Op, consumers: dict[int, list[Op]]) -> bool:
    """Returns whether all calls of a layer hand their results to the same kind of operation."""
    followers = {
        tuple(sorted(entry.name for entry in consumers.get(op.index, ())))
        for op in observation.ops
        if op.module == inner.module and op.name == inner.name and op.step == inner.step and op.grad
    }
    return len(followers) == 1


def _redundant(observation: Observation, inner: Op, outer: Op, shared: set[int]) -> bool:
    weights = [observation.operand(op, "weight") for op in (inner, outer)]
    if any(entry is None or not entry.grad or entry.source != "parameter" for entry in weights):
        return False
    if any(entry is not None and entry.parameter in shared for entry in weights):
        return False
    if observation.operand(inner, "bias") is None:
        return False
    shapes = [entry.shape for entry in weights if entry is not None]
    if inner.name == "linear":
        # Fewer units between than on both sides: a matrix of low rank, which one layer could not be.
        (between, received), (gave, _) = shapes
        return between >= min(received, gave)
    for op, shape in zip((inner, outer), shapes):
        if op.name not in _CONVOLUTIONS:
            continue
        kernel = shape[2:]
        transposed = op.name == "conv_transpose"
        grouped = not transposed and op.inputs[0].shape[1] != shape[1]
        if grouped or len(set(kernel)) > 1 or max(kernel, default=1) == 1 or transposed:
            return False
        if _patches(op, kernel):
            return False
    if outer.name in _CONVOLUTIONS:
        return shapes[0][0] >= min(shapes[0][1], shapes[1][0])
    return True


def _patches(op: Op, kernel: tuple[int, ...]) -> bool:
    """Returns whether a convolution cuts an image into patches: its stride is its kernel."""
    before, after = op.inputs[0].shape[2:], op.shape[2:]
    return all(size >= 2 and new == old // size for size, old, new in zip(kernel, before, after))


def _looked_up(observation: Observation) -> set[int]:
    """Returns the parameters that are used as embeddings: their linear layer is the same table again."""
    return {
        operand.parameter
        for op in observation.ops
        if op.name.startswith("embedding")
        for operand in op.inputs
        if operand.parameter >= 0
    }


def _one_network(observation: Observation, inner: Op, outer: Op) -> bool:
    one, other = observation.modules[inner.module], observation.modules[outer.module]
    if one.root != other.root or one.uid == other.uid or inner.module < 0:
        return False
    first, second = one.name.rpartition(".")[0], other.name.rpartition(".")[0]
    return first == second or _inside(first, second) or _inside(second, first)


def _inside(name: str, outer: str) -> bool:
    return not outer or name.startswith(f"{outer}.")


def _split_up(op: Op, consumers: dict[int, list[Op]]) -> bool:
    """Returns whether a result is cut into heads, gates or parts."""
    following = consumers.get(op.index, ())
    return any(
        entry.name in _SPLITS
        and (entry.name != "getitem" or entry.inputs[0].shape[-1:] != entry.shape[-1:])
        and entry.shape[-1:] not in (op.shape[-1:], (1,), ())
        and len(entry.shape) >= len(op.shape)
        for entry in following
    ) or any(
        entry.name in ("scaled_dot_product_attention", "multi_head_attention_forward") for entry in following
    )


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def _evidence(observation: Observation, inner: Op, outer: Op) -> Evidence:
    names = [observation.layer_name(op.module) for op in (inner, outer)]
    place, following = observation.where(inner), observation.where(outer)
    sequence = place is not None and following is not None and place.line != following.line

    def insert(line: str) -> str | None:
        call = re.fullmatch(r"(\s*)(?:nn\.)?(?:Linear|Conv[123]d)\(.*\),\s*", line)
        return f"{line.rstrip()} nn.ReLU()," if call and sequence else None

    return evidence(
        observation,
        inner,
        seen={"activations_between": 0, "first": names[0], "second": names[1]},
        expected={"activations_between": 1},
        title=f"nothing between {names[0] or inner.name} and {names[1] or outer.name}: two linear maps in a row are one",
        diff=rewrite(place, insert),
    )


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs = torch.randn(128, 20)
labels = (inputs[:, 0] * inputs[:, 1] > 0).long()
network = nn.Sequential(
    nn.Linear(20, 32),{between}
    nn.Dropout(0.1),
    nn.Linear(32, 2),
)
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(5):
    optimizer.zero_grad()
    loss = F.cross_entropy(network(inputs), labels)
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{between}", "")
good = _PROGRAM.replace("{between}", "\n    nn.ReLU(),")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(64, 10, 20), torch.randint(0, 4, (64,))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.qkv, self.out = nn.Linear(20, 32), nn.Linear(32, 96), nn.Linear(32, 32)
        self.down, self.up = nn.Linear(32, 4), nn.Linear(4, 32)
        self.mean, self.log_var = nn.Linear(32, 8), nn.Linear(32, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        q, k, v = self.qkv(self.embed(x)).view(-1, 10, 3, 4, 8).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(-1, 10, 32)
        x = F.gelu(self.out(mixed)).mean(1)
        x = x + self.up(self.down(x))
        mean, log_var = self.mean(x), self.log_var(x)
        return self.head(mean + torch.randn_like(mean) * (0.5 * log_var).exp())


network = Net()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(5):
    optimizer.zero_grad()
    loss = F.cross_entropy(network(inputs), labels)
    loss.backward()
    optimizer.step()
"""
