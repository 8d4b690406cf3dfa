"""NW403: most units of a ReLU layer output 0 for every example."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import PASSIVE, Layer, Observation, Op, Place
from netwright.examine.rules import NotObserved, evidence, percent
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW403",
    slug="dead-relu",
    level="warning",
    by="100",
    title="most units of a ReLU layer output 0 for every example",
    what="In two batches, apart in time, most units behind a ReLU were 0 for all examples of the batch.",
    why="A unit that is 0 for every example gets no gradient, so it cannot come back by itself. The layer works with the few "
    "units that are left, however wide it was made.",
    fix="Lower the learning rate if the units died during training; else look at the initial values (kaiming initialisation, "
    "biases near 0) and at the scale of the input. nn.LeakyReLU or nn.GELU keep a gradient for negative values.",
    example="nn.init.constant_(layer.bias, -5.0)     # wrong: pushes all units below 0\n"
    "nn.init.zeros_(layer.bias)              # right",
    limits="Counts a layer if 70 % or more of its units are silent in two batches at least five steps apart, the latest one "
    "included; batches of fewer than 8 examples or 32 values a unit do not count. Silent where the activations themselves are "
    "penalised or only the largest are kept (sparse by design), and on ReLUs in a loss.",
    explains=frozenset({"NW503", "NW512"}),
)
SHARE = 0.7
APART = 5


def check(observation: Observation) -> Iterator[Evidence]:
    probes: dict[tuple[int, int], list[Layer]] = {}
    for layer in observation.layers:
        if layer.dead is not None and layer.training and _large(observation, layer):
            probes.setdefault((layer.module, layer.before), []).append(layer)
    if not probes:
        raise NotObserved("no ReLU with batches of at least 8 examples was seen")
    for (uid, before), seen in probes.items():
        last = seen[-1]
        silent = [layer for layer in seen if layer.dead is not None and layer.dead >= SHARE]
        if last.dead is None or last.dead < SHARE or last.step - silent[0].step < APART:
            continue
        op = _operation(observation, uid, before)
        if op is None or not _after_layer(observation, op) or _sparse_by_design(observation, op):
            continue
        yield evidence(
            observation,
            op,
            seen={"silent_units": round(last.dead, 4), "at_step": last.step, "before": _course(seen)},
            expected={"silent_units": f"below {SHARE}"},
            also=_written(observation, op),
            step=silent[0].step,
            title=f"{percent(last.dead)} of the units behind {_name(observation, op)} are 0 for every example, "
            f"at step {silent[0].step} and still at step {last.step}",
            harm="measured",
        )


def _large(observation: Observation, layer: Layer) -> bool:
    shape = observation.ops[layer.before].shape if layer.before >= 0 else layer.shape
    total = 1
    for size in shape:
        total *= size
    channel = shape[1] if len(shape) == 4 else shape[-1] if shape else 1
    return len(shape) > 1 and shape[0] >= 8 and total >= 32 * channel


def _operation(observation: Observation, uid: int, before: int) -> Op | None:
    if before >= 0:
        return observation.ops[before]
    return next(
        (op for op in observation.ops if op.module == uid and op.name.startswith("relu") and op.grad), None
    )


def _after_layer(observation: Observation, op: Op) -> bool:
    """Returns whether a ReLU takes what a layer with weights, a norm or a residual sum gives."""
    made = observation.source(op.inputs[0]) if op.inputs else None
    return made is not None and (
        made.name.startswith(
            ("linear", "conv", "batch_norm", "layer_norm", "group_norm", "instance_norm", "addmm")
        )
        or made.name in ("add", "matmul")
    )


def _sparse_by_design(observation: Observation, op: Op) -> bool:
    """Returns whether the activations go into a penalty, or only the largest of them go on."""
    for entry in observation.ops[op.index + 1 :]:
        if entry.step > op.step + 1:
            break
        for operand in entry.inputs[:2]:
            made = observation.made(operand)
            while made is not None and made.name in PASSIVE and made.inputs and made.module != op.module:
                made = observation.made(made.inputs[0])
            if made is None or (made.module, made.name, made.place) != (op.module, op.name, op.place):
                continue
            if entry.name in ("topk", "kthvalue", "sort", "l1_loss") or (
                entry.module < 0 and entry.name in ("abs", "sum", "mean", "norm", "square", "pow")
            ):
                return True
    return False


def _written(observation: Observation, op: Op) -> list[Place | None]:
    """Returns the lines that gave the layer before a ReLU its first values."""
    made = observation.source(op.inputs[0])
    uids = (
        [operand.parameter for operand in made.inputs if operand.parameter >= 0] if made is not None else []
    )
    return [observation.parameters[uid].written for uid in uids]


def _course(seen: list[Layer]) -> list[list[float]]:
    chosen = seen if len(seen) <= 6 else [*seen[:3], *seen[-3:]]
    return [[layer.step, round(layer.dead or 0.0, 3)] for layer in chosen]


def _name(observation: Observation, op: Op) -> str:
    made = observation.source(op.inputs[0])
    name = observation.layer_name(made.module) if made is not None and made.module >= 0 else ""
    own = observation.layer_name(op.module)
    torch_layer = op.module >= 0 and observation.modules[op.module].cls.startswith("ReLU")
    return f"the ReLU {own}" if torch_layer and own else f"the ReLU after {name}" if name else "a ReLU"


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(256, 20), torch.randint(0, 4, (256,))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(20, 64)
        self.head = nn.Linear(64, 4)
        {init}

    def forward(self, x):
        return self.head(F.relu(self.hidden(x)))


network = Net()
optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
for step in range(30):
    optimizer.zero_grad()
    loss = F.cross_entropy(network(inputs), labels)
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{init}", "nn.init.constant_(self.hidden.bias, -4.0)")
good = _PROGRAM.replace("{init}", "nn.init.zeros_(self.hidden.bias)")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
activations = torch.randn(256, 20)


class SparseAutoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(20, 128), nn.Linear(128, 20)
        nn.init.constant_(self.encoder.bias, -3.0)

    def forward(self, x):
        code = F.relu(self.encoder(x))
        return self.decoder(code), code


network = SparseAutoencoder()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(30):
    optimizer.zero_grad()
    restored, code = network(activations)
    loss = F.mse_loss(restored, activations) + 1e-3 * code.abs().sum(1).mean()
    loss.backward()
    optimizer.step()
"""
